//! Who gets in, and what they may do: logins of roles, and each statement with and without each privilege, by both protocols.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::support::Server;
use crate::wire::Wire;

const PASSWORD: (&str, &str) = ("STAFFA_ADMIN_PASSWORD", "correct horse");

async fn login(server: &Server, user: &str, password: &str) -> Result<Client, (String, String)> {
    let mut config = server.configuration();
    config.user(user).password(password);
    match config.connect(NoTls).await {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            Ok(client)
        }
        Err(error) => {
            let error = error.as_db_error().expect("the server says why");
            Err((error.code().code().to_owned(), error.message().to_owned()))
        }
    }
}

#[tokio::test]
async fn logins() {
    let server = Server::start_with(&["--auth", "scram"], &[PASSWORD]);
    let admin = login(&server, "admin", "correct horse").await.unwrap();
    admin.batch_execute("create database inner_one").await.unwrap();
    admin
        .batch_execute(
            "create user ann password 'anns secret' connection limit 1;
             create role nologin password 'x';
             create user expired password 'x' valid until '2020-01-01';
             create user lasting password 'x' valid until 'infinity';
             create user nopass;
             create user outside password 'x';
             create role lead superuser login password 'x';
             revoke connect on database inner_one from public;
             alter role ann set application_name = 'of ann';
             alter role ann set nonsense.x = 'y'",
        )
        .await
        .unwrap();
    let code = |result: Result<Client, (String, String)>| result.err().unwrap();
    let wrong = |user: &str| {
        let message = format!("password authentication failed for user \"{user}\"");
        ("28P01".to_owned(), message)
    };
    assert_eq!(code(login(&server, "ann", "other").await), wrong("ann"));
    assert_eq!(code(login(&server, "expired", "x").await), wrong("expired"));
    assert_eq!(code(login(&server, "nopass", "").await), wrong("nopass"));
    let refused = code(login(&server, "nologin", "x").await);
    assert_eq!(
        refused,
        (
            "28000".to_owned(),
            "role \"nologin\" is not permitted to log in".to_owned()
        )
    );
    login(&server, "lasting", "x").await.unwrap();

    let ann = login(&server, "ann", "anns secret").await.unwrap();
    let row = ann.query_one(
        "select current_user::text, current_setting('application_name'), current_setting('is_superuser')",
        &[],
    );
    let row = row.await.unwrap();
    assert_eq!(
        (row.get::<_, &str>(0), row.get::<_, &str>(1), row.get::<_, &str>(2)),
        ("ann", "of ann", "off")
    );
    let refused = code(login(&server, "ann", "anns secret").await);
    assert_eq!(
        refused,
        ("53300".to_owned(), "too many connections for role \"ann\"".to_owned())
    );

    // What others do is not shown, nor stopped.
    let shown = ann
        .query("select query from pg_stat_activity where usename = 'admin'", &[])
        .await
        .unwrap();
    assert!(
        shown
            .iter()
            .all(|row| row.get::<_, &str>(0) == "<insufficient privilege>")
    );
    let stops = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'admin'";
    assert_eq!(
        ann.query(stops, &[]).await.unwrap_err().code(),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE)
    );

    // A password changes, and is shown nowhere.
    ann.batch_execute("alter role ann password 'hidden horse'")
        .await
        .unwrap();
    let queries = admin.query("select query from pg_stat_activity", &[]).await.unwrap();
    assert!(queries.iter().all(|row| !row.get::<_, &str>(0).contains("horse")));
    drop(ann);
    let mut tries = 0;
    while let Err((code, _)) = login(&server, "ann", "hidden horse").await {
        // The session before is being ended.
        assert_eq!(code, "53300");
        tries += 1;
        assert!(tries < 100);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(!server.log().contains("hidden horse") && !server.log().contains("anns secret"));

    let mut config = server.configuration();
    config.user("outside").password("x").dbname("inner_one");
    let error = config.connect(NoTls).await.err().unwrap();
    assert_eq!(error.as_db_error().unwrap().code(), &SqlState::INSUFFICIENT_PRIVILEGE);
    let mut config = server.configuration();
    config.user("lead").password("x").dbname("inner_one");
    assert!(config.connect(NoTls).await.is_ok());
}

/// A role is told apart from others only by what it was granted: each statement needs just these privileges.
const MATRIX: &[(&str, &[&str])] = &[
    ("select * from s.t", &["select on s.t"]),
    ("table s.t", &["select on s.t"]),
    ("select count(*) from s.t", &["select on s.t"]),
    ("select a from s.t where b = 'x'", &["select on s.t"]),
    ("select 1 where exists (select from s.t)", &["select on s.t"]),
    ("select (select max(a) from s.t)", &["select on s.t"]),
    ("with x as (select a from s.t) select * from x", &["select on s.t"]),
    ("select a from s.t union select 1", &["select on s.t"]),
    (
        "select x.a from (values (1)) v(a) left join s.t x on x.a = v.a",
        &["select on s.t"],
    ),
    ("explain select a from s.t", &["select on s.t"]),
    ("explain analyze select a from s.t", &["select on s.t"]),
    ("declare c cursor for select a from s.t", &["select on s.t"]),
    ("create temp table x as select a from s.t", &["select on s.t"]),
    ("create temp table x (like s.t)", &["select on s.t"]),
    ("select * from staffa.snapshots('s.t')", &["select on s.t"]),
    ("select * from staffa.files('s.t')", &["select on s.t"]),
    ("select * from s.v", &["select on s.v"]),
    ("insert into s.t values (9, 'z')", &["insert on s.t"]),
    ("insert into s.t (a) values (9)", &["insert on s.t"]),
    ("insert into s.t select 1, 'z'", &["insert on s.t"]),
    (
        "insert into s.t values (9, 'z') returning a",
        &["insert on s.t", "select on s.t"],
    ),
    (
        "with x as (insert into s.t values (9, 'z') returning a) select * from x",
        &["insert on s.t", "select on s.t"],
    ),
    ("update s.t set b = 'q'", &["update on s.t"]),
    ("update s.t set b = b || 'q'", &["update on s.t", "select on s.t"]),
    (
        "update s.t set b = 'q' where a = 1",
        &["update on s.t", "select on s.t"],
    ),
    (
        "update s.t set b = 'q' returning a",
        &["update on s.t", "select on s.t"],
    ),
    ("delete from s.t", &["delete on s.t"]),
    ("delete from s.t where a = 1", &["delete on s.t", "select on s.t"]),
    (
        "delete from s.t using (values (1)) v(x) where a = v.x",
        &["delete on s.t", "select on s.t"],
    ),
    (
        "merge into s.t using (values (1)) v(x) on a = x when matched then delete",
        &["delete on s.t", "select on s.t"],
    ),
    (
        "merge into s.t using (values (1)) v(x) on a = x when matched then update set b = 'm' when not matched then insert values (x, 'n')",
        &["update on s.t", "insert on s.t", "select on s.t"],
    ),
    ("truncate s.t", &["truncate on s.t"]),
    ("create table s.new (a int)", &["create on schema s"]),
    ("create table s.new as select 1 as a", &["create on schema s"]),
    ("create view s.new as select 1 as a", &["create on schema s"]),
    ("create sequence s.new", &["create on schema s"]),
    (
        "create table s.new (a int references s.t (a))",
        &["create on schema s", "references on s.t"],
    ),
    ("select nextval('s.q')", &["usage on sequence s.q"]),
    ("select setval('s.q', 7)", &["update on sequence s.q"]),
    ("select last_value from s.q", &["select on sequence s.q"]),
    ("create schema new", &["create on database staffa"]),
];

/// What only an owner may do, and what only a superuser.
const NEVER: &[&str] = &[
    "alter table s.t add column c int",
    "alter table s.t rename to u",
    "alter table s.t owner to tester",
    "alter table s.t drop column b",
    "drop table s.t",
    "drop view s.v",
    "drop sequence s.q",
    "drop schema s cascade",
    "alter schema s rename to r",
    "alter sequence s.q restart",
    "create or replace view s.v as select 2 as a",
    "comment on table s.t is 'x'",
    "create role x",
    "create role x superuser",
    "alter role tester superuser",
    "alter role admin password 'x'",
    "drop role holder",
    "grant holder to tester",
    "set role holder",
    "set session authorization admin",
    "reassign owned by holder to tester",
    "drop owned by holder",
    "alter default privileges for role holder grant select on tables to tester",
    "create database x",
    "select rolpassword from pg_authid",
    "select passwd from pg_shadow",
    "undrop table s.gone",
    "rollback table s.t to version 1",
];

#[test]
fn statements_need_their_privileges_and_no_others() {
    let server = Server::start();
    let mut admin = server.connect();
    let run = |wire: &mut Wire, sql: &str| {
        let reply = wire.simple(sql);
        assert_eq!(reply.code(), "", "{sql}: {:?}", reply.error);
    };
    run(
        &mut admin,
        "create role holder; create user tester; create schema s; create table s.t (a int primary key, b text);
         insert into s.t values (1, 'x'); create view s.v as select a from s.t; create sequence s.q;
         create table s.gone (a int); drop table s.gone; grant usage on schema s to tester",
    );
    let mut tester = Wire::connect(server.address(), "tester", "staffa").unwrap();
    let mut tried = |extended: bool, sql: &str| {
        run(&mut tester, "begin");
        let reply = match extended {
            true => tester.extended(sql, &[]),
            false => tester.simple(sql),
        };
        let code = reply.code().to_owned();
        run(&mut tester, "rollback");
        code
    };
    for (sql, needs) in MATRIX {
        for extended in [false, true] {
            // With all of them but one, and with all of them.
            for left_out in (0..needs.len()).map(Some).chain([None]) {
                let granted: Vec<&&str> = needs
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| Some(*at) != left_out)
                    .map(|(_, it)| it)
                    .collect();
                for privilege in &granted {
                    run(&mut admin, &format!("grant {privilege} to tester"));
                }
                let expected = if left_out.is_some() { "42501" } else { "" };
                assert_eq!(
                    tried(extended, sql),
                    expected,
                    "{sql} with {granted:?} (extended: {extended})"
                );
                for privilege in &granted {
                    run(&mut admin, &format!("revoke {privilege} from tester"));
                }
            }
        }
    }
    run(
        &mut admin,
        "grant all on s.t, s.v to tester; grant all on s.q to tester",
    );
    for sql in NEVER {
        for extended in [false, true] {
            assert_eq!(tried(extended, sql), "42501", "{sql} (extended: {extended})");
        }
    }
    // Without the schema, nothing in it.
    run(&mut admin, "revoke usage on schema s from tester");
    for (sql, _) in MATRIX.iter().filter(|(sql, _)| sql.contains("s.t")) {
        assert_eq!(tried(false, sql), "42501", "{sql} without the schema");
    }
}
