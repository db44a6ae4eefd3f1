//! What row policies hide and masks replace does not come out: hundreds of statements of roles that they bind, by each protocol and
//! each door, and no byte of the server's answers has the words that only hidden rows and masked columns have.

use crate::rest::ask;
use crate::support::Server;
use crate::wire::{ErrorFields, Reply, Wire};

/// In rows that a policy hides.
const HIDDEN: &str = "CANARYROW";
/// In a column that is masked.
const MASKED: &str = "CANARYCARD";
/// A number that only hidden rows have, and what one must not learn of them.
const NUMBER: &str = "918273645";

fn prepare(admin: &mut Wire) {
    let mut run = |sql: &str| {
        let reply = admin.simple(sql);
        assert_eq!(reply.code(), "", "{sql}: {:?}", reply.error);
    };
    run("create role holder; create user ann; create schema s;
         alter schema s owner to holder; grant usage, create on schema s to ann;
         create table s.t (id int primary key, who text, word text, n int, card text, at timestamp default now());
         create table s.mine (id int primary key, word text)");
    run(&format!(
        "insert into s.t (id, who, word, n, card) select g, case when g % 10 = 0 then 'ann' else 'other' end,
           case when g % 10 = 0 then 'open' || g else '{HIDDEN}' || g end, case when g % 10 = 0 then g else {NUMBER} end,
           '{MASKED}' || g from generate_series(1, 200) g"
    ));
    run("alter table s.t owner to holder;
         alter table s.t enable row level security;
         alter table s.t force row level security;
         create policy own on s.t using (who = current_user);
         create masking policy card with (c text) using ('shown');
         attach masking policy card on s.t(card) to public;
         insert into s.mine values (1, 'a');
         create view s.v as select * from s.t;
         alter view s.v owner to holder;
         create materialized view s.m as select count(*) as c from s.mine;
         grant all on s.t, s.v, s.mine to ann");
    run("analyze");
}

/// Every way to write and to read values that this knows, over each of these columns.
fn attempts() -> Vec<String> {
    let mut all = Vec::new();
    let expressions = [
        "word",
        "card",
        "n",
        "n::text",
        "(card || word)::int",
        "upper(word)",
        "1 / (n - 918273645)",
        "card::int",
        "word::date",
        "left(card, 10)",
        "md5(card)",
        "to_jsonb(t)::text",
        "row_to_json(t)::text",
        "length(card)",
        "(t).card",
        "coalesce(card, word)",
        "case when n > 1000 then word else card end",
        "encode(card::bytea, 'hex')",
        "array[card, word]::text",
        "format('%s %s', card, word)",
        "regexp_replace(word, 'x', 'y')",
        "jsonb_build_object('a', card, 'b', word)::text",
    ];
    for expression in expressions {
        all.push(format!("select {expression} from s.t t"));
        all.push(format!("select {expression} from s.t t where id between 1 and 9"));
        all.push(format!("select max({expression}::text) from s.t t"));
        all.push(format!("select string_agg({expression}::text, ',') from s.t t"));
        all.push(format!("select * from s.t t order by {expression} limit 300"));
        all.push(format!(
            "select count(*), {expression} from s.t t group by {expression}"
        ));
    }
    let conditions = [
        "n = 918273645",
        "n > 900000000",
        "word like 'CANARY%'",
        "card like 'CANARY%'",
        "1 / (n - 918273645) > 0",
        "card::int > 0",
        "word::int > 0",
        "word::date > now()",
        "who <> 'ann'",
        "not (who = 'ann')",
        "who = 'ann' or true",
        "id in (1, 2, 3)",
        "exists (select 1 from s.t u where u.who <> 'ann' and u.id = t.id)",
        "id in (select id from s.t where who <> 'ann')",
        "(select max(n) from s.t) > 900000000",
        "length(card) > 5",
        "substr(card, 1, 1) = 'C'",
        "n is distinct from id",
        "coalesce(nullif(word, 'x')::int, 0) = 0",
        "card <> 'shown'",
        "to_number(word, '999') > 0",
        "(word || card)::boolean",
        "jsonb_path_exists(to_jsonb(t), '$.n ? (@ > 900000000)')",
    ];
    for condition in conditions {
        all.push(format!("select * from s.t t where {condition}"));
        all.push(format!(
            "select v.* from s.v t join s.v v on v.id = t.id where {condition}"
        ));
        all.push(format!("explain select * from s.t t where {condition}"));
        all.push(format!("explain analyze select * from s.t t where {condition}"));
        all.push(format!(
            "explain (analyze, verbose, format json) select * from s.t t where {condition}"
        ));
        all.push(format!("delete from s.t t where {condition} returning *"));
        all.push(format!(
            "update s.t t set word = word || card where {condition} returning *"
        ));
        all.push(format!(
            "update s.t t set n = n + 1 where {condition} returning word, card, n"
        ));
        all.push(format!(
            "create temp table stolen as select * from s.t t where {condition}; select * from stolen; drop table stolen"
        ));
        all.push(format!(
            "insert into s.mine select id + 1000, word || card from s.t t where {condition} returning *"
        ));
    }
    let others = [
        "table s.t",
        "table s.v",
        "select * from s.t tablesample system (100)",
        "copy s.t to stdout",
        "copy (select * from s.t) to stdout",
        "copy s.t to stdout (format binary)",
        "copy (select * from s.v) to stdout (format csv)",
        "select * from s.t for system_time as of now()",
        "select * from s.t for update",
        "select * from s.t for share",
        "select * from staffa.snapshots('s.t')",
        "select * from staffa.files('s.t')",
        "select * from staffa.manifests('s.t')",
        "select * from staffa.partitions('s.t')",
        "select * from staffa.history('s.t')",
        "select * from staffa.refs('s.t')",
        "select * from staffa.table_changes('s.t', 0)",
        "create table s.c clone s.t",
        "create table s.c (like s.t including all); table s.c",
        "merge into s.mine m using s.t t on m.id = t.id when matched then update set word = t.word when not matched then insert values (t.id, t.card || t.word) returning *",
        "merge into s.t t using (select generate_series(1, 200)) x(id) on t.id = x.id when matched then update set word = t.card || t.word returning t.*",
        "merge into s.t t using (select generate_series(1, 200)) x(id) on t.id = x.id when matched then delete returning t.*",
        "insert into s.t (id, who) select g, 'ann' from generate_series(1, 200) g on conflict (id) do update set word = s.t.word || s.t.card returning *",
        "insert into s.t (id, who) values (1, 'ann') on conflict (id) do nothing returning *",
        "insert into s.t (id, who) values (1, 'ann') on conflict (id) do update set n = 1 / (s.t.n - 918273645) returning *",
        "insert into s.t (id, who, word) values (1, 'other', 'x') returning *",
        "with recursive r(id, w) as (select id, word || card from s.t union select id + 1, w from r where id < 3) select * from r",
        "select lag(word) over (order by id), lead(card) over (order by id), first_value(n) over (order by n desc) from s.t",
        "select t.*, u.* from s.t t full join s.t u on t.id = u.id + 1",
        "select * from s.t natural join s.v",
        "select * from s.t, lateral (select card || word) x",
        "select * from (select * from s.t offset 0) x where card like 'C%'",
        "select * from s.t union all select * from s.v",
        "select * from s.t except select * from s.v",
        "values ((select max(word) from s.t))",
        "select (select card from s.t where id = 1), (select max(n) from s.t)",
        "select any_value(card), mode() within group (order by word) from s.t",
        "select percentile_disc(1) within group (order by n) from s.t",
        "select array_agg(t) from s.t t",
        "select json_agg(t) from s.t t",
        "prepare p as select * from s.t; execute p; execute p; deallocate p",
        "prepare p(int) as select * from s.t where id = $1; execute p(1); execute p(2); execute p(3); deallocate p",
        "begin; declare c cursor for select * from s.t; fetch all from c; rollback",
        "begin; declare c scroll cursor with hold for table s.t; fetch last from c; rollback",
        "set row_security = off; select * from s.t",
        "set session row_security to off; table s.v",
        "set role holder; table s.t",
        "set session authorization admin; table s.t",
        "alter table s.t disable row level security",
        "alter table s.t no force row level security",
        "drop policy own on s.t",
        "alter policy own on s.t using (true)",
        "create policy more on s.t using (true)",
        "detach masking policy card on s.t(card) from public",
        "alter masking policy card using (c)",
        "drop masking policy card",
        "create masking policy open with (c text) using (c)",
        "attach masking policy card on s.mine(word) to public",
        "alter table s.t owner to ann",
        "alter table s.t rename column card to c",
        "alter table s.t add column x text generated always as (card) stored",
        "alter table s.t alter column card type int using card::int",
        "alter table s.t add constraint x check (card::int > 0)",
        "alter table s.t add constraint x check (n < 1000)",
        "alter table s.t alter column word set not null",
        "create index on s.t ((1 / (n - 918273645)))",
        "alter role ann bypassrls",
        "alter role ann superuser",
        "grant holder to ann",
        "create view s.w as select * from s.t; select * from s.w; drop view s.w",
        "create materialized view s.mv as select * from s.t; select * from s.mv; drop materialized view s.mv",
        "create table s.n as table s.t; table s.n; drop table s.n",
        "select * into temp stolen from s.t; table stolen; drop table stolen",
        "select * from pg_stats where tablename = 't'",
        "select * from pg_stats_ext",
        "select * from pg_statistic",
        "select * from pg_hba_file_rules",
        "select * from pg_authid",
        "select * from pg_shadow",
        "select * from staffa.audit",
        "select query from pg_stat_activity where usename <> 'ann'",
        "analyze s.t",
        "vacuum s.t",
        "optimize s.t",
        "truncate s.mine; table s.mine",
        "update s.t set id = id",
        "update s.t set who = 'other'",
        "update s.mine m set word = t.card || t.word from s.t t where m.id < 5 returning m.*",
        "delete from s.mine m using s.t t where t.n = 918273645 returning *",
        "comment on table s.t is 'x'",
        "undrop table s.t",
        "select has_table_privilege('holder', 's.t', 'select'), row_security_active('s.t')",
        "lock table s.t; table s.t",
        "update s.t set word = null where card::int = 1",
        "select * from s.t where ctid is not null",
        "select tableoid, * from s.t",
        "select pg_catalog.query_to_xml('select * from s.t', true, true, '')",
        "select * from dblink('', 'select 1') as x(a int)",
        "select pg_read_file('/etc/passwd')",
        "copy s.mine from '/etc/passwd'",
        "copy s.t to '/tmp/stolen'",
        "copy s.mine from program 'id'",
        "select * from '/etc/passwd'",
        "select * from read_parquet('x')",
        "rollback table s.t to version 1",
    ];
    all.extend(others.map(str::to_owned));
    all
}

/// All that a reply has: rows, messages, everything.
fn bytes_of(reply: &Reply) -> String {
    let said = |error: &Option<ErrorFields>| format!("{error:?}");
    let messages: Vec<String> = reply
        .messages
        .iter()
        .map(|message| String::from_utf8_lossy(&message.body).into_owned())
        .collect();
    format!("{:?} {} {}", reply.text(), said(&reply.error), messages.join(" "))
}

#[test]
fn hidden_rows_and_masked_columns_stay_hidden() {
    let server = Server::start();
    let mut admin = server.connect();
    prepare(&mut admin);
    let seen = admin.simple("select count(*) from s.t where n = 918273645 and card like 'CANARYCARD%'");
    assert_eq!(seen.value(), "180");
    let attempts = attempts();
    let mut tried = 0;
    for user in ["ann", "holder"] {
        admin.simple("alter role holder login");
        let mut wire = Wire::connect(server.address(), user, "staffa").unwrap();
        for sql in &attempts {
            // The owner is asked by one of the protocols: there is only so much time.
            for extended in [false, true].into_iter().take(if user == "ann" { 2 } else { 1 }) {
                // What the statement says itself is no secret.
                let reply = match extended {
                    true => wire.extended(sql, &[]),
                    false => wire.simple(sql),
                };
                let said = bytes_of(&reply);
                for secret in [HIDDEN, MASKED, NUMBER] {
                    assert!(
                        !said.contains(secret) || sql.contains(secret),
                        "{user} (extended: {extended}) sees {secret} by {sql}: {said}"
                    );
                }
                // Whether a hidden row makes an expression fail tells that it is there.
                assert_ne!(
                    reply.code(),
                    "22012",
                    "{user} (extended: {extended}): {sql}: {:?}",
                    reply.error
                );
                tried += 1;
                if wire.status != b'I' {
                    wire.simple("rollback");
                }
                if ["set ", "prepare ", "begin"].iter().any(|word| sql.starts_with(word)) {
                    wire.simple("reset role; reset session authorization; reset row_security; deallocate all");
                }
            }
        }
        // Nothing of it was changed either.
        let kept =
            admin.simple("select count(*) from s.t where n = 918273645 and card like 'CANARYCARD%' and who = 'other'");
        assert_eq!(kept.value(), "180", "after {user}");
    }
    assert!(tried >= 300, "{tried} attempts");
    println!("{tried} attempts");
}

/// Places that no statement of a client may reach, as they would be written: `{}` is the folder of a file with a secret in it.
const PLACES: &[&str] = &[
    "{}/secret.csv",
    "{}/secret.parquet",
    "file://{}/secret.csv",
    "file:///{}/secret.parquet",
    "FILE://{}/secret.csv",
    "file://localhost{}/secret.csv",
    "{}/../{name}/secret.csv",
    "{}/./secret.csv",
    "{}//secret.csv",
    "{}/link.csv",
    "{}/*.csv",
    "{}",
    "{}/",
    "/proc/self/environ",
    "/etc/passwd",
    "../../../../../../../../etc/passwd",
    "~/.ssh/id_rsa",
    "http://169.254.169.254/latest/meta-data/",
    "https://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://127.0.0.1:{port}/secret.csv",
    "http://[::1]:{port}/secret.csv",
    "http://0x7f000001:{port}/",
    "s3://127.0.0.1:{port}/secret.csv",
    "s3://secret/secret.parquet",
    "gs://secret/secret.parquet",
    "az://secret/secret.parquet",
    "hdfs://secret/x",
    "ftp://127.0.0.1:{port}/x",
    "data:text/csv,a",
    "memory:///x",
];

/// Statements that would read or write there.
const REACHES: &[&str] = &[
    "select * from '{place}'",
    "select * from read_parquet('{place}')",
    "select * from read_csv('{place}')",
    "copy t from '{place}'",
    "copy t to '{place}'",
    "copy (select 1) to '{place}' with (format csv)",
    "create external table stolen (a text) stored as csv location '{place}'",
    "create external table stolen stored as parquet location '{place}'",
    "create foreign table stolen (a text) server s options (filename '{place}')",
    "create table stolen (a int) with (location = '{place}')",
    "alter table t set (location = '{place}')",
    "insert into t select * from '{place}'",
    "select pg_read_file('{place}')",
    "select lo_import('{place}')",
    "copy t from program 'cat {place}'",
    "create tablespace stolen location '{place}'",
    "load '{place}'",
];

#[test]
fn clients_reach_no_place_of_the_server() {
    const SECRET: &str = "CANARYFILE";
    let folder = tempfile::TempDir::new().unwrap();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    for name in ["secret.csv", "secret.parquet"] {
        std::fs::write(outside.join(name), format!("a\n{SECRET}\n")).unwrap();
    }
    std::os::unix::fs::symlink(outside.join("secret.csv"), outside.join("link.csv")).unwrap();
    // Who connects is heard.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = Server::start_on(folder.path(), &["--auth", "trust"], &[]);
    let mut admin = server.connect();
    assert_eq!(
        admin
            .simple("create table t (a text); create user ann; grant all on t to ann")
            .code(),
        ""
    );
    let mut tried = 0;
    for user in ["admin", "ann"] {
        let mut wire = Wire::connect(server.address(), user, "staffa").unwrap();
        for place in PLACES {
            let place = place
                .replace("{name}", "outside")
                .replace("{}", outside.to_str().unwrap())
                .replace("{port}", &port);
            for reach in REACHES {
                let sql = reach.replace("{place}", &place);
                for extended in [false, true] {
                    let reply = match extended {
                        true => wire.extended(&sql, &[]),
                        false => wire.simple(&sql),
                    };
                    assert_ne!(reply.code(), "", "{user} (extended: {extended}) may {sql}");
                    assert!(!bytes_of(&reply).contains(SECRET), "{user} reads by {sql}");
                    tried += 1;
                }
            }
        }
    }
    assert!(listener.accept().is_err(), "somebody connected");
    for name in ["secret.csv", "secret.parquet"] {
        assert_eq!(
            std::fs::read_to_string(outside.join(name)).unwrap(),
            format!("a\n{SECRET}\n")
        );
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 3);
    assert!(tried >= 100);
    println!("{tried} attempts");
}

/// What the REST catalog can be asked, with and without a body.
const REQUESTS: &[&str] = &[
    "GET /v1/config",
    "GET /v1/{p}/namespaces",
    "POST /v1/{p}/namespaces",
    "GET /v1/{p}/namespaces/public",
    "HEAD /v1/{p}/namespaces/public",
    "DELETE /v1/{p}/namespaces/public",
    "POST /v1/{p}/namespaces/public/properties",
    "GET /v1/{p}/namespaces/public/tables",
    "POST /v1/{p}/namespaces/public/tables",
    "POST /v1/{p}/namespaces/public/register",
    "GET /v1/{p}/namespaces/public/tables/t",
    "HEAD /v1/{p}/namespaces/public/tables/t",
    "POST /v1/{p}/namespaces/public/tables/t",
    "DELETE /v1/{p}/namespaces/public/tables/t",
    "POST /v1/{p}/namespaces/public/tables/t/metrics",
    "POST /v1/{p}/tables/rename",
    "POST /v1/{p}/transactions/commit",
    "GET /v1/{p}/namespaces/public/views",
    "GET /v1/{p}/namespaces/public/views/v",
    "DELETE /v1/{p}/namespaces/public/views/v",
    "POST /v1/{p}/views/rename",
];

#[test]
fn the_rest_catalog_is_closed_to_all_but_superusers_and_where_rules_say_so() {
    let folder = tempfile::TempDir::new().unwrap();
    let hba = folder.path().join("hba.conf");
    std::fs::write(&hba, "host all all 127.0.0.1/32 trust\n").unwrap();
    let flags = [
        "--rest",
        "127.0.0.1:0",
        "--maintenance=false",
        "--hba-file",
        hba.to_str().unwrap(),
    ];
    let server = Server::start_on(folder.path(), &flags, &[("STAFFA_ADMIN_PASSWORD", "one")]);
    let mut admin = server.connect();
    let made = admin.simple(
        "create user ann superuser password 'two'; create role owner superuser login password 'three'; create table t (a text); alter table t owner to owner;
         create view v as select * from t; grant all on t, v to ann; create policy none on t to ann using (false);
         alter table t enable row level security; insert into t values ('CANARYROW')",
    );
    assert_eq!(made.code(), "", "{:?}", made.error);
    let token = |user: &str, secret: &str| {
        let form = format!("grant_type=client_credentials&client_id={user}&client_secret={secret}");
        let head = "POST /v1/oauth/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded";
        let answer = ask(&server.rest(), head, &form);
        let token = answer
            .split("\"access_token\":\"")
            .nth(1)
            .map(|rest| rest.split('"').next().unwrap().to_owned());
        token.unwrap_or_default()
    };
    let status = |request: &str, headers: &str, body: &str| {
        let answer = ask(&server.rest(), &format!("{request} HTTP/1.1\r\nHost: x{headers}"), body);
        assert!(!answer.contains("CANARYROW"), "{request}: {answer}");
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let bearer = |token: &str| format!("\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}");
    let (ann, owner, lead) = (token("ann", "two"), token("owner", "three"), token("admin", "one"));
    let fallen = admin.simple("alter role ann nosuperuser; alter role owner nosuperuser");
    assert_eq!(fallen.code(), "", "{:?}", fallen.error);
    for (user, secret) in [("ann", "one"), ("ann", "two"), ("owner", "three")] {
        assert_eq!(token(user, secret), "", "{user}");
    }
    let mut tried = 0;
    for request in REQUESTS {
        let request = request.replace("{p}", "staffa");
        for body in ["", "{}"] {
            for (headers, wanted) in [
                (String::new(), "401"),
                ("\r\nAuthorization: Basic YW5uOnR3bw==".to_owned(), "401"),
                (bearer("x.y"), "401"),
                (bearer(&ann), "403"),
                (bearer(&owner), "403"),
            ] {
                assert_eq!(status(&request, &headers, body), wanted, "{request} with {headers}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 200, "{tried} attempts");
    let listed = |token: &str| status("GET /v1/staffa/namespaces", &bearer(token), "");
    assert_eq!(listed(&lead), "200");
    // Lines for all databases are for this door, too.
    std::fs::write(
        &hba,
        "host staffa all 127.0.0.1/32 trust\nhost all ann 127.0.0.1/32 trust\n",
    )
    .unwrap();
    assert_eq!(listed(&lead), "403");
    assert_eq!(token("admin", "one"), "", "a token that would be good for nothing");
    std::fs::write(&hba, "host all admin 127.0.0.1/32 scram-sha-256\n").unwrap();
    assert_eq!(listed(&lead), "200");
    // They decide in the place of --auth here, too.
    let other = tempfile::TempDir::new().unwrap();
    let flags: Vec<&str> = flags.iter().copied().chain(["--auth", "trust"]).collect();
    let open = Server::start_on(other.path(), &flags, &[("STAFFA_ADMIN_PASSWORD", "one")]);
    let answer = ask(&open.rest(), "GET /v1/config HTTP/1.1\r\nHost: localhost", "");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
