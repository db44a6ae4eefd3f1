//! Who gets in, and what they may do: logins of roles, and each statement with and without each privilege, by both protocols.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::support::{Server, serve};
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
    "create policy p on s.t using (true)",
    "alter policy p on s.t using (true)",
    "alter policy p on s.t rename to q",
    "drop policy p on s.t",
    "comment on policy p on s.t is 'x'",
    "alter table s.t enable row level security",
    "alter table s.t disable row level security",
    "alter table s.t no force row level security",
    "create masking policy m with (a int) using (a)",
    "alter masking policy m using (a)",
    "drop masking policy m",
    "attach masking policy m on s.t(a) to public",
    "detach masking policy m on s.t(a) from public",
    "create schema new authorization holder",
    "alter role tester bypassrls",
    "select * from pg_hba_file_rules",
    "select * from staffa.audit",
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

#[tokio::test]
async fn rules_of_logins_decide_in_order() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("hba.conf");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write(
        "# who comes in\nlocal all all trust\nhost all eve all reject\nhost inner_one +crew 127.0.0.1/32 scram-sha-256\n\
         host staffa admin,ann 127.0.0.1 255.255.255.255 md5\nhostssl all all all scram-sha-256\n",
    );
    let flags = ["--hba-file", path.to_str().unwrap()];
    let server = Server::start_on(folder.path(), &flags, &[PASSWORD]);
    let admin = login(&server, "admin", "correct horse").await.unwrap();
    admin
        .batch_execute(
            "create role crew; create user ann password 'x'; create user bob password 'x' in role crew;
             create user eve password 'x'",
        )
        .await
        .unwrap();
    admin.batch_execute("create database inner_one").await.unwrap();
    let into = async |user: &str, database: &str| {
        let mut config = server.configuration();
        config.user(user).password("x").dbname(database);
        match config.connect(NoTls).await {
            Ok(_) => String::new(),
            Err(error) => {
                let error = error.as_db_error().unwrap();
                format!("{}: {}", error.code().code(), error.message())
            }
        }
    };
    let none = |user: &str, database: &str| {
        format!(
            "28000: no pg_hba.conf entry for host \"127.0.0.1\", user \"{user}\", database \"{database}\", no encryption"
        )
    };
    assert_eq!(into("ann", "staffa").await, "");
    assert_eq!(into("ann", "inner_one").await, none("ann", "inner_one"));
    assert_eq!(into("bob", "inner_one").await, "");
    assert_eq!(into("bob", "staffa").await, none("bob", "staffa"));
    assert_eq!(into("nobody", "staffa").await, none("nobody", "staffa"));
    assert_eq!(
        into("eve", "staffa").await,
        "28000: pg_hba.conf rejects connection for host \"127.0.0.1\", user \"eve\", database \"staffa\", no encryption"
    );
    let rows = admin
        .query(
            "select line_number, type, array_to_string(user_name, ','), address, netmask, auth_method, error from pg_hba_file_rules",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 5);
    let text = |row: usize, column: usize| rows[row].get::<_, Option<&str>>(column).unwrap_or("-").to_owned();
    assert_eq!(rows[3].get::<_, i32>(0), 5);
    let shown: Vec<String> = (1..7).map(|column| text(3, column)).collect();
    assert_eq!(
        shown,
        [
            "host",
            "admin,ann",
            "127.0.0.1",
            "255.255.255.255",
            "scram-sha-256",
            "-"
        ]
    );
    // A change holds at once; a mistake changes nothing, and is shown.
    write("host all all 127.0.0.1/32 scram-sha-256\n");
    assert_eq!(into("eve", "staffa").await, "");
    write("host all all 127.0.0.1/32 password\nhost all all all reject\n");
    assert_eq!(into("eve", "staffa").await, "");
    let wrong = admin
        .query_one("select error from pg_hba_file_rules where error is not null", &[])
        .await
        .unwrap();
    assert_eq!(
        wrong.get::<_, &str>(0),
        "authentication method \"password\" is not supported"
    );
    let mut config = server.configuration();
    config.user("eve").password("x");
    let (eve, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    for hidden in ["pg_hba_file_rules", "staffa.audit"] {
        let refused = eve.query(&format!("select * from {hidden}"), &[]).await.unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{hidden}");
    }
    // A server does not start with a mistake.
    let other = tempfile::TempDir::new().unwrap();
    let refused = Server::try_start(other.path(), &serve(other.path(), &flags), &[PASSWORD]);
    let told = refused.err().unwrap();
    assert!(told.contains("hba.conf:1: authentication method"), "{told}");
}

#[tokio::test]
async fn what_is_done_is_audited() {
    let folder = tempfile::TempDir::new().unwrap();
    let flags = [
        "--password-min-length",
        "8",
        "--audit",
        "all",
        "--audit-file-size",
        "4KiB",
        "--audit-files",
        "3",
    ];
    let server = Server::start_on(folder.path(), &flags, &[PASSWORD]);
    let admin = login(&server, "admin", "correct horse").await.unwrap();
    admin
        .batch_execute(
            "create user ann password 'whispered 1'; create table kept (a int); insert into kept values (1); grant select on kept to ann",
        )
        .await
        .unwrap();
    for (password, told) in [
        ("short1", "password is too short"),
        ("annannann1", "password must not contain user name"),
        ("lettersonly", "password must contain both letters and nonletters"),
    ] {
        let refused = admin
            .batch_execute(&format!("alter role ann password '{password}'"))
            .await;
        assert_eq!(refused.unwrap_err().as_db_error().unwrap().message(), told);
    }
    let ann = login(&server, "ann", "whispered 1").await.unwrap();
    assert!(login(&server, "ann", "shouted").await.is_err());
    ann.query("select a from kept", &[]).await.unwrap();
    ann.execute("delete from kept", &[]).await.unwrap_err();
    ann.simple_query("drop table kept").await.unwrap_err();
    let rows = admin
        .query(
            "select event, \"user\", coalesce(statement, ''), ok, coalesce(error, ''), client is not null, time > now() - interval '1 hour'
             from staffa.audit order by time",
            &[],
        )
        .await
        .unwrap();
    let events: Vec<(String, String, String, bool, String)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)))
        .collect();
    assert!(rows.iter().all(|row| row.get::<_, bool>(5) && row.get::<_, bool>(6)));
    let has = |event: &str, user: &str, statement: &str, ok: bool, error: &str| {
        let wanted = (
            event.to_owned(),
            user.to_owned(),
            statement.to_owned(),
            ok,
            error.to_owned(),
        );
        assert!(events.contains(&wanted), "{wanted:?} in {events:#?}");
    };
    has("login", "admin", "", true, "");
    has("login", "ann", "", true, "");
    has(
        "login",
        "ann",
        "",
        false,
        "password authentication failed for user \"ann\"",
    );
    has("role", "admin", "CREATE ROLE", true, "");
    has("ddl", "admin", "create table kept (a int)", true, "");
    has("write", "admin", "insert into kept values (1)", true, "");
    has("role", "admin", "grant select on kept to ann", true, "");
    has("read", "ann", "select a from kept", true, "");
    has(
        "denied",
        "ann",
        "delete from kept",
        false,
        "permission denied for table kept",
    );
    has("denied", "ann", "drop table kept", false, "must be owner of table kept");
    // Files are closed at their size, the oldest go, and no password is in them.
    for number in 0..100 {
        admin
            .batch_execute(&format!("select {number} as a_number_of_some_length_to_fill_the_files"))
            .await
            .unwrap();
    }
    let directory = server.data().join("audit");
    let mut names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.3"]
    );
    for name in names {
        let text = std::fs::read_to_string(directory.join(name)).unwrap();
        assert!(!text.contains("whispered") && text.lines().count() > 3, "{text}");
    }
}
