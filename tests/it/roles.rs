//! Who gets in, and what they may do: logins of roles, and each statement with and without each privilege, by both protocols.

use std::io::{Read, Write};
use std::net::TcpStream;

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
    ("copy s.t to stdout", &["select on s.t"]),
    ("copy s.t (a) to stdout (format binary)", &["select on s.t"]),
    ("copy (select a from s.t) to stdout (format csv)", &["select on s.t"]),
    ("with x as (select a from s.t) select * from x, x y", &["select on s.t"]),
    (
        "with x as materialized (select a from s.t) select 1 from x",
        &["select on s.t"],
    ),
    (
        "select v.x, l.a from (values (1)) v(x), lateral (select a from s.t where a = v.x) l",
        &["select on s.t"],
    ),
    (
        "declare c scroll cursor for select a from s.t where b = 'x'",
        &["select on s.t"],
    ),
    (
        "select pg_sleep(0)",
        &["execute on function pg_sleep(double precision)"],
    ),
    (
        "select * from pg_sleep(0)",
        &["execute on function pg_sleep(double precision)"],
    ),
    (
        "insert into s.t select 5, 'z' from pg_sleep(0)",
        &["execute on function pg_sleep(double precision)", "insert on s.t"],
    ),
    ("lock table s.t in access share mode", &["select on s.t"]),
    (
        "insert into s.t values (1, 'z') on conflict (a) do nothing",
        &["insert on s.t", "select on s.t"],
    ),
    (
        "insert into s.t values (1, 'z') on conflict (a) do update set b = 'q'",
        &["insert on s.t", "select on s.t", "update on s.t"],
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
         create table s.gone (a int); drop table s.gone; grant usage on schema s to tester;
         revoke execute on function pg_sleep(double precision) from public",
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

/// What asks for all there is of a table, of which a role is shown some rows and some columns' masks.
const DOORS: &[&str] = &[
    "select * from m.t",
    "table m.t",
    "select secret, twice, n from m.t",
    "select max(secret), min(secret), string_agg(secret, ','), array_agg(secret), json_agg(secret), json_agg(t), max(twice), sum(n), avg(n) from m.t",
    "select t from m.t",
    "select row_to_json(t) from m.t",
    "select to_jsonb(t) from m.t",
    "select t::text from m.t",
    "select (t).secret from m.t",
    "select count(*), secret from m.t group by secret",
    "select distinct on (grp) secret, note from m.t order by grp, note",
    "select secret, lag(secret) over (order by id), first_value(note) over (order by id) from m.t",
    "select * from m.t where secret = 'x'",
    "select id from m.t where secret like '%9%' limit 3",
    "select secret from m.t where cast(secret as int) = 1",
    "select secret from m.t where 1/(n-7777) > 0",
    "select note from m.t where note::int = 1",
    "select note from m.t where 1 / (grp - 2) > 5",
    "select * from m.t a join m.t b on a.secret = b.secret",
    "select * from m.other o, lateral (select * from m.t where m.t.secret = o.secret) x",
    "select o.*, (select max(secret) from m.t where t.id = o.id) from m.other o",
    "with x as (select * from m.t), y as (select * from x a join x b using (id)) select * from y union all select * from y",
    "with x as materialized (select secret, n, note from m.t) select a.secret, b.note from x a, x b",
    "with recursive r as (select id, secret, note from m.t where id = 1 union all select t.id, t.secret, t.note from m.t join r on t.id = r.id + 4) select * from r",
    "select * from m.v",
    "select secret from m.v where note like '%2%'",
    "select * from m.t for update",
    "insert into m.free select id, secret from m.t returning *",
    "insert into m.free select n, note from m.t returning *",
    "insert into m.t (id, grp, secret, n, note) values (1, 1, 'x', 1, 'y') on conflict (id) do update set d = 'x' returning *",
    "insert into m.t (id, grp, secret, n, note) values (2, 1, 'x', 1, 'y') on conflict (id) do update set d = 'x' returning *",
    "insert into m.t (id, grp, secret, n, note) values (1, 1, 'x', 1, 'y') on conflict (id) do update set d = t.secret, note = t.twice returning *",
    "insert into m.t (id, grp, secret, n, note) values (5, 1, 'x', 1, 'y') on conflict (id) do update set note = excluded.secret || t.secret returning note, d",
    "insert into m.t (id, grp, secret, n, note) values (5, 1, 'x', 1, 'y') on conflict (id) do update set n = t.n + 1000000 returning *",
    "insert into m.t (id, grp, secret, n, note) values (2, 1, 'x', 1, 'y') on conflict (id) do nothing returning *",
    "insert into m.t (id, grp, secret, n, note) values (100, 1, 'x', 9999999, 'y')",
    "insert into m.t (id, grp, secret, n, note) values (100, 2, 'x', 1, 'y')",
    "insert into m.t (id, grp, secret, n) values (100, 1, 'x', 1)",
    "insert into m.t (id, grp, secret, n, note) select id + 100, grp, secret, 99999999, note from m.t",
    "update m.t set n = n + 99999999",
    "update m.t set n = 99999999",
    "update m.t set n = 99999999 where id = 1 returning *",
    "update m.t set note = null where id = 1",
    "update m.t set grp = 2 where id = 1",
    "update m.t set note = secret returning *",
    "update m.t set note = twice returning *",
    "update m.t set d = secret where secret = 'x' returning *",
    "update m.t set d = n::text returning d",
    "update m.t set id = 'x' || secret",
    "update m.t set d = o.secret from m.other o where o.id = t.id returning *",
    "update m.t set d = o.secret from m.other o where o.secret = t.secret returning *",
    "update m.free set x = (select max(secret) from m.t) returning *",
    "delete from m.t returning *",
    "delete from m.t where secret = 'x' returning *",
    "delete from m.t using m.other o where o.secret = t.secret returning *",
    "merge into m.free f using m.t t on f.id = t.id when not matched then insert values (t.id, t.secret)",
    "merge into m.t using (values (1)) v(x) on id = x when matched then update set n = 99999999",
    "merge into m.t using (values (1)) v(x) on id = x when matched then update set note = secret",
    "merge into m.t using (values (2)) v(x) on id = x when matched then update set note = 'z' when not matched then insert (id, grp, secret, n, note) values (2, 1, 'a', 1, 'b')",
    "merge into m.t using m.other o on t.secret = o.secret when matched then update set note = o.secret",
    "create table m.c as select * from m.t",
    "create temp table c as select secret, n, note from m.t; select * from c",
    "create temp table c2 as table m.v; select * from c2",
    "create materialized view m.mv as select * from m.t; select * from m.mv",
    "create view m.w as select secret, note from m.t; select * from m.w",
    "create temp table l (like m.t including all); insert into l select id, grp, secret from m.t; select * from l",
    "create table m.cl clone m.t",
    "alter table m.free add column y text default (select secret from m.t limit 1)",
    "explain select * from m.t where secret = 'x'",
    "explain verbose select * from m.t where note = '9'",
    "explain (analyze, verbose, format json) select * from m.t where n = 15554",
    "explain analyze select * from m.t",
    "explain analyze update m.t set note = secret",
    "declare c cursor with hold for select * from m.t; fetch all from c",
    "declare c2 scroll cursor for select secret, note from m.t; fetch last from c2; fetch absolute 2 from c2",
    "prepare q(int) as select * from m.t where id > $1; execute q(0); execute q(1)",
    "prepare q2 as update m.t set d = secret returning *; execute q2",
    "select * from pg_stats",
    "select * from pg_statistic",
    "select * from staffa.snapshots('m.t')",
    "select * from staffa.files('m.t')",
    "select * from staffa.partitions('m.t')",
    "select * from staffa.manifests('m.t')",
    "select * from staffa.columns('m.t')",
    "select * from staffa.cache",
    "select * from m.t for system_time as of now()",
    "select * from m.t at (version => 1)",
    "select * from m.t version as of 1",
    "select * from staffa.changes('m.t', 0)",
    "select * from m.t at (snapshot => 1)",
    "select pg_get_viewdef('m.v'::regclass)",
    "select pg_get_expr(polqual, polrelid) from pg_policy",
    "select * from staffa.masking_policies",
    "select exists (select from m.t where secret = 'x'), exists (select from m.t where note = '9')",
    "select secret collate \"C\" from m.t order by secret",
    "select id from m.t order by n desc limit 1",
    "select percentile_disc(0.5) within group (order by secret), mode() within group (order by n) from m.t",
    "select coalesce(secret, note) from m.t",
    "select case when secret = 'x' then 'is ' || secret else note end from m.t",
    "select * from (values (1)) v(x) left join m.t on t.id = v.x + 1",
    "select * from m.t natural join m.other",
    "select * from m.t tablesample bernoulli (100)",
    "select unnest(array_agg(secret)) from m.t",
    "select * from jsonb_to_recordset((select jsonb_agg(t) from m.t)) as x(secret text, n numeric, note text)",
    "select xmin, ctid, tableoid, * from m.t",
    "select set_config('a.b', (select max(secret) from m.t), false), current_setting('a.b', true)",
    "select * from generate_series(1, (select max(n)::int from m.t))",
    "select pg_notify('x', (select max(secret) from m.t))",
    "select * exclude (id) from m.t",
    "select * replace (secret || note as secret) from m.t",
    "select secret, note from m.t qualify row_number() over (order by note) < 50",
    "lock table m.t; select * from m.t",
    "truncate m.t; select 1",
    "optimize m.t",
    "comment on column m.t.secret is 'x'",
    "create index on m.t ((secret || note))",
    "alter table m.t add constraint cc check (secret <> 'x')",
    "alter table m.t alter column secret type int using secret::int",
    "create policy p2 on m.t using (true)",
    "analyze m.t; select * from pg_stats",
    "with x as (delete from m.t returning *) select * from x",
    "with x as (update m.t set note = secret returning *), y as (select * from x) select * from x, y",
    "with x as (insert into m.free select id, secret from m.t returning *) select * from x",
    "copy m.t to stdout",
    "copy m.t to stdout (format csv, header)",
    "copy m.t to stdout (format binary)",
    "copy (select * from m.t) to stdout",
    "copy (select * from m.v) to stdout (format binary)",
    "copy m.t (secret, n) to stdout",
    "copy (delete from m.t returning *) to stdout",
    "copy (update m.t set d = 'q' returning secret, n) to stdout",
];

/// A hidden row or a masked value is not in any message the server sends, whatever asks for it: rows, errors, plans, statistics, copies.
#[test]
fn what_is_hidden_comes_out_of_no_door() {
    // Some statements are refused for tables with generated columns.
    check_doors("generated always as (secret || '!') stored", "", 1);
    check_doors("", "update m.t set twice = secret || '!';", 2);
}

fn check_doors(twice: &str, fill: &str, rounds: usize) {
    let server = Server::start();
    let mut admin = server.connect();
    let run = |wire: &mut Wire, sql: &str| {
        let reply = wire.simple(sql);
        assert_eq!(reply.code(), "", "{sql}: {:?}", reply.error);
    };
    run(
        &mut admin,
        &format!(
            "create role bound login; create schema m; grant usage, create on schema m to bound;
         create table m.t (id int primary key, grp int, secret text, twice text {twice},
             d text default 'plain', n numeric check (n < 1000000), note text not null);
         insert into m.t (id, grp, secret, n, note)
             select i, i % 4, 'canary' || i, 707070 + i / 100.0, case when i % 4 = 1 then 'seen' else 'canary' end || i from generate_series(1, 40) g(i);
         {fill} create table m.free (id int, x text); create table m.other (id int, secret text);
         insert into m.other select i, 'canary' || i from generate_series(1, 5) g(i);
         grant all on m.t, m.free, m.other to bound;
         create policy own on m.t using (grp = 1) with check (grp = 1); alter table m.t enable row level security;
         create masking policy stars with (x text) using ('***'); create masking policy zero with (x numeric) using (0);
         attach masking policy stars on m.t(secret) to bound; attach masking policy stars on m.t(twice) to bound;
         attach masking policy zero on m.t(n) to bound; attach masking policy stars on m.other(secret) to bound;
         create view m.v as select * from m.t; alter view m.v owner to bound; analyze m.t"
        ),
    );
    let mut bound = Wire::connect(server.address(), "bound", "staffa").unwrap();
    // Once more when plans and answers of somebody who sees all are kept.
    for round in 1..=rounds {
        let mut answered = 0;
        for sql in DOORS {
            for extended in [false, true] {
                run(&mut bound, "begin");
                let reply = match extended {
                    true => bound.extended(sql, &[]),
                    false => bound.simple(sql),
                };
                answered += usize::from(reply.error.is_none());
                for message in &reply.messages {
                    let shown = String::from_utf8_lossy(&message.body);
                    assert!(
                        !shown.contains("canary") && !shown.contains("707070"),
                        "{sql} (extended: {extended}): {shown}"
                    );
                }
                assert_ne!(reply.code(), "XX000", "{sql}: {:?}", reply.error);
                run(&mut bound, "rollback");
            }
        }
        assert!(answered > DOORS.len(), "{answered} were answered");
        for sql in DOORS.iter().filter(|_| round < rounds) {
            for _ in 0..2 {
                run(&mut admin, "begin");
                admin.simple(sql);
                run(&mut admin, "rollback");
            }
        }
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

/// Who has not shown a password takes no place of those who have one.
#[tokio::test]
async fn strangers_do_not_fill_the_server() {
    let folder = tempfile::TempDir::new().unwrap();
    let server = Server::start_on(folder.path(), &["--max-connections", "3"], &[PASSWORD]);
    let silent: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut socket = TcpStream::connect(server.address()).unwrap();
            let body = b"\0\x03\0\0user\0admin\0database\0staffa\0\0";
            let length = u32::try_from(body.len() + 4).unwrap();
            socket.write_all(&[&length.to_be_bytes()[..], body].concat()).unwrap();
            let mut asked = [0];
            socket.read_exact(&mut asked).unwrap();
            assert_eq!(asked, *b"R", "it is asked for its password");
            socket
        })
        .collect();
    login(&server, "admin", "correct horse").await.unwrap();
    drop(silent);
}

/// `CONNECTION LIMIT` holds also for those who come at the same moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limit_of_connections_holds_for_a_crowd() {
    let server = Server::start();
    let admin = login(&server, "admin", "").await.unwrap();
    admin
        .batch_execute("create role few login connection limit 3")
        .await
        .unwrap();
    for _ in 0..10 {
        let mut config = server.configuration();
        config.user("few");
        let crowd: Vec<_> = (0..40)
            .map(|_| {
                let config = config.clone();
                tokio::spawn(async move { config.connect(NoTls).await })
            })
            .collect();
        let mut inside = Vec::new();
        for one in crowd {
            match one.await.unwrap() {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    inside.push(client);
                }
                Err(error) => assert_eq!(error.code(), Some(&SqlState::TOO_MANY_CONNECTIONS)),
            }
        }
        assert_eq!(inside.len(), 3);
        drop(inside);
        let none = "select count(*) from pg_stat_activity where usename = 'few'";
        while admin.query_one(none, &[]).await.unwrap().get::<_, i64>(0) > 0 {}
    }
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
