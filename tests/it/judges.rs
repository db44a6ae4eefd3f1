//! Other engines read what Staffa wrote: pyiceberg and Polars through the catalog database, DuckDB through the metadata files,
//! ClickHouse (chDB) from the tables' folders.

use crate::support::{Server, python};

pub const ENGINES: &str = "pyiceberg,duckdb,polars,chdb";

/// Tables with every type, every transform, several commits, and names that need quoting.
const TABLES: [&str; 28] = [
    "create table plain (i int, t text)",
    "insert into plain select i, 'row ' || i::text from generate_series(1, 1000) as g(i)",
    "insert into plain values (null, null), (-1, '')",
    "create table kinds (b bool, s smallint, i int, l bigint, f real, d double precision, n numeric(10,2), w numeric(38,10), \
     t text, v varchar(10), c char(4), y bytea, da date, ti time, ts timestamp, tz timestamptz, u uuid, j json, jb jsonb)",
    "insert into kinds values (true, -5, 2147483647, -9223372036854775808, 1.5, 0.1, -12345678.90, 1234567890123456789012345678.0123456789, \
     'text', 'varchar', 'ch', '\\x00ff', '2024-02-29', '13:14:15.678901', '1969-12-31 23:59:59.999999', '2024-01-01 00:00:00+02', \
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"a\": 1}', '{\"b\": 2}'), \
     (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)",
    "insert into kinds (f, d, t) values ('NaN', 'NaN', 'nan'), ('Infinity', '-Infinity', 'infinite')",
    "create table lists (id int, v int[], t text[])",
    "insert into lists values (1, array[1, 2, null], array['a']), (2, array[]::int[], null), (3, null, array[]::text[])",
    "create table parted (id bigint not null, ts timestamp, d date, n int, s text) \
     partition by (day(ts), bucket(8, id), month(d), truncate(100, n), truncate(3, s)) sorted by (id)",
    "insert into parted select i, to_timestamp(1704067200 + i * 25200)::timestamp, date '2023-11-01' + i, i * 13, \
     chr(97 + i % 5) || 'bcdef' from generate_series(1, 60) as g(i)",
    "insert into parted values (-1, null, null, null, null), (-2, '1950-06-01 01:02:03', '1950-06-01', -350, 'ü€𝄞x')",
    "create table by_value (y date, h timestamp, b text) partition by (year(y), hour(h), b)",
    "insert into by_value values ('1969-12-31', '1969-12-31 23:30:00', 'a/b=c %'), ('2024-05-05', '2024-05-05 05:05:05', ''), (null, null, null)",
    "create table changed (id int not null, grp int, name text, at timestamp) partition by (truncate(10, grp)) sorted by (id)",
    "insert into changed select i, i % 40, 'n' || i, to_timestamp(1704067200 + i * 3600)::timestamp from generate_series(1, 2000) as g(i)",
    "delete from changed where id % 7 = 0 or grp between 20 and 29",
    "update changed set name = name || '!', grp = grp + 5, at = null where id % 11 = 0",
    "merge into changed using (select i, 'm' || i as m from generate_series(1990, 2010) as g(i)) s on s.i = changed.id \
     when matched and s.i % 2 = 0 then delete when matched then update set name = s.m when not matched then insert values (s.i, 1, s.m)",
    "delete from changed where id in (1, 2, 3)",
    "create table vectors (id int, grp int, name text) partition by (grp) with (format_version = 3)",
    "insert into vectors select i, i % 3, 'v' || i from generate_series(1, 3000) as g(i)",
    "delete from vectors where id % 10 = 0",
    "update vectors set name = 'changed' where id % 25 = 1",
    "create table raised as select i as id, 'r' || i as name from generate_series(1, 1000) as g(i)",
    "delete from raised where id % 10 = 0",
    "alter table raised set (\"format-version\" = 3)",
    "delete from raised where id % 7 = 0",
    "create table \"Odd Näme\" as select 1 as \"Col A\", 'x' as \"select\"",
];

#[test]
fn other_engines_read_every_table() {
    let mut server = Server::start();
    let mut wire = server.connect();
    for sql in TABLES {
        let reply = wire.simple(sql);
        assert!(reply.error.is_none(), "{sql}: {}", reply.error.unwrap());
    }
    let data = server.data().to_str().unwrap().to_owned();
    let text = python(
        "judges/read_tables.py",
        &["--data", &data, "--url", &server.url("staffa"), "--engines", ENGINES],
    );
    println!("{text}");
    // Polars and ClickHouse read no replaced or no deletion vectors: the two tables of format version 3 are not theirs.
    let read = "pyiceberg read 9, duckdb read 9, polars read 7, chdb read 7\n9 tables";
    assert!(text.contains(read), "{text}");
    server.assert_well();
}

/// Rows that another engine deleted are gone, whichever way it says so, and deletes of ours come on top.
#[test]
fn deletes_of_other_engines_are_read() {
    let mut server = Server::start();
    let mut wire = server.connect();
    for table in ["by_position", "by_value"] {
        for sql in [
            format!("create table {table} (day date, id int, t text) partition by (day)"),
            format!(
                "insert into {table} select date '2024-01-01' + i % 2, i, 't' || i from generate_series(0, 9) as g(i)"
            ),
            format!(
                "insert into {table} select date '2024-01-01' + i % 2, i, 't' || i from generate_series(10, 19) as g(i)"
            ),
            format!("insert into {table} values ('2024-01-02', null, 'null')"),
        ] {
            let reply = wire.simple(&sql);
            assert!(reply.error.is_none(), "{sql}: {}", reply.error.unwrap());
        }
    }
    let data = server.data().to_str().unwrap().to_owned();
    python("judges/write_deletes.py", &["--data", &data]);
    for (table, left) in [("by_position", "19|180|1"), ("by_value", "19|185|0")] {
        let counted = format!("select count(*) || '|' || sum(id) || '|' || min(id) from {table}");
        assert_eq!(wire.simple(&counted).value(), left, "{table}");
    }
    for sql in [
        "insert into by_value values ('2024-01-02', 5, 'newer than the delete')",
        "delete from by_value where id = 7",
        "delete from by_position where id in (12, 13)",
        "update by_position set t = 'again' where id = 14",
    ] {
        let reply = wire.simple(sql);
        assert!(reply.error.is_none(), "{sql}: {}", reply.error.unwrap());
    }
    for (table, left) in [("by_position", "17|155|1"), ("by_value", "19|183|0")] {
        let counted = format!("select count(*) || '|' || sum(id) || '|' || min(id) from {table}");
        assert_eq!(wire.simple(&counted).value(), left, "{table}");
    }
    // pyiceberg cannot read equality deletes, and Polars no position deletes of several data files in one.
    assert!(wire.simple("drop table by_value").error.is_none());
    let text = python(
        "judges/read_tables.py",
        &[
            "--data",
            &data,
            "--url",
            &server.url("staffa"),
            "--engines",
            "pyiceberg,duckdb,chdb",
        ],
    );
    assert!(text.contains("1 tables"), "{text}");
    server.assert_well();
}
