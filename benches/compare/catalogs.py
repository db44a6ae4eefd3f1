"""What clients ask the system catalogs, with many tables, beside PostgreSQL in one run.

    python benches/compare/catalogs.py --program target/release/staffa [--tables 1000] [--columns 10]

Every question is asked three times: for the first time by this server, once more, and after a commit to one of the tables. The last
must not cost what the first does: a commit costs what it changed.
"""
import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import psycopg

import oracle
import server

QUESTIONS = {
    "one relation by name": "select 'm1'::regclass::oid",
    "pg_class": "select * from pg_catalog.pg_class",
    "pg_attribute": "select * from pg_catalog.pg_attribute",
    "names and types of columns": "select c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) "
    "from pg_catalog.pg_class c join pg_catalog.pg_attribute a on a.attrelid = c.oid "
    "where c.relkind = 'r' and a.attnum > 0 and pg_catalog.pg_table_is_visible(c.oid)",
    "information_schema.columns": "select * from information_schema.columns",
    "sizes": "select relname, pg_catalog.pg_total_relation_size(oid) from pg_catalog.pg_class where relkind = 'r'",
}


def milliseconds(connection, question):
    begun = time.perf_counter()
    rows = connection.execute(question).fetchall()
    return (time.perf_counter() - begun) * 1000, len(rows)


def fill(connection, tables, columns):
    names = ", ".join(f"column_{number} {('int', 'text', 'numeric(12,2)')[number % 3]}" for number in range(columns))
    with connection.transaction():
        for number in range(tables):
            connection.execute(f"create table m{number} ({names})")


def times(connection, question):
    first, rows = milliseconds(connection, question)
    again = min(milliseconds(connection, question)[0] for _ in range(5))
    connection.execute("insert into m1 (column_0) values (1)")
    changed, _ = milliseconds(connection, question)
    return rows, first, again, changed


def measured(program, place, tables, columns):
    with server.measured(program, "serve", "--data", place) as staffa:
        with psycopg.connect(staffa.url, autocommit=True) as connection:
            fill(connection, tables, columns)
    for name, question in QUESTIONS.items():
        # Nothing is known yet.
        with server.measured(program, "serve", "--data", place) as staffa:
            with psycopg.connect(staffa.url, autocommit=True) as connection:
                connection.execute("select 1")
                yield name, times(connection, question)


def rival(url, tables, columns):
    with psycopg.connect(url, autocommit=True) as connection:
        fill(connection, tables, columns)
        return {name: times(connection, question) for name, question in QUESTIONS.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--columns", type=int, default=10)
    a = parser.parse_args()
    with oracle.postgres(fsync=True) as postgres:
        beside = rival(postgres.url(), a.tables, a.columns)
    print(f"{a.tables} tables of {a.columns} columns, milliseconds: first, again, after a commit")
    with tempfile.TemporaryDirectory() as place:
        for name, found in measured(a.program, f"{place}/data", a.tables, a.columns):
            for who, (rows, *shown) in (("Staffa", found), ("PostgreSQL", beside[name])):
                print(f"{name:28} {who:10} {rows:7} rows " + " ".join(f"{value:9.1f}" for value in shown), flush=True)


if __name__ == "__main__":
    main()
