"""DELETE and MERGE in a large table, Staffa beside DuckDB's own tables in one run.

    python benches/compare/changes.py --program target/release/staffa [--scale 10] [--repeat 2]

lineitem of TPC-H (60 million rows at scale 10), partitioned by month in Staffa and with the same rows in a DuckDB
database file. Each repetition changes a fresh copy: a CLONE in Staffa, a copy of the database file for DuckDB. DELETE takes every
hundredth row at random and is set beside a scan of the key columns; MERGE brings 100,000 rows, half of them
of keys that are there. What both tables hold afterwards is compared.
"""
import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import duckdb
import psycopg
from pyiceberg.catalog.sql import SqlCatalog

import server
import tpch

# A cheap hash of the key that both engines compute alike; one row in a hundred, scattered over all files.
DRAWN = "(l_orderkey * 7919 + l_linenumber * 104729) % 10007 < 100"
DELETE = f"delete from {{table}} where {DRAWN}"
SCAN = "select sum(l_orderkey), sum(l_linenumber) from {table}"
FIND = f"select count(*) from {{table}} where {DRAWN}"
# Of the drawn keys those of every step-th order: half stay as they are, half get a line number that is free.
SOURCE = f"""create table changes as select l_orderkey, case when l_orderkey % 2 = 0 then l_linenumber else l_linenumber + 100 end as l_linenumber,
 l_partkey, l_suppkey, l_shipdate from {{table}} where {DRAWN} order by l_orderkey, l_linenumber limit {{rows}}"""
MERGE = """merge into {table} t using changes c on t.l_orderkey = c.l_orderkey and t.l_linenumber = c.l_linenumber
 when matched then update set l_quantity = t.l_quantity + 1, l_comment = 'changed'
 when not matched then insert (l_orderkey, l_linenumber, l_partkey, l_suppkey, l_quantity, l_extendedprice, l_discount, l_tax,
  l_returnflag, l_linestatus, l_shipdate, l_commitdate, l_receiptdate, l_shipinstruct, l_shipmode, l_comment)
 values (c.l_orderkey, c.l_linenumber, c.l_partkey, c.l_suppkey, 1, 1, 0, 0, 'N', 'O', c.l_shipdate, c.l_shipdate, c.l_shipdate, 'NONE', 'AIR', 'new')"""
STATE = "select count(*), sum(l_orderkey), sum(l_quantity), count(case when l_comment in ('changed', 'new') then 1 end) from {table}"


def timed(run, *arguments):
    begun = time.perf_counter()
    result = run(*arguments)
    return time.perf_counter() - begun, result


def state(run, table):
    return [int(value) for value in run(STATE.format(table=table)).fetchone()]


def in_staffa(connection, table, statement):
    """Seconds of a statement on a clone, and what the clone holds then."""
    connection.execute("drop table if exists copy")
    connection.execute(f"create table copy clone {table}")
    took, _ = timed(connection.execute, statement.format(table="copy"))
    return took, state(connection.execute, "copy")


def in_duckdb(place, statement):
    """The same on a copy of the database file; the checkpoint is part of it, as Staffa's files are."""
    shutil.copy(f"{place}/base.duckdb", f"{place}/copy.duckdb")
    connection = duckdb.connect(f"{place}/copy.duckdb")

    def change():
        connection.execute(statement.format(table="lineitem"))
        connection.execute("checkpoint")

    took, _ = timed(change)
    found = state(connection.execute, "lineitem")
    connection.close()
    Path(f"{place}/copy.duckdb").unlink()
    return took, found


def fill_duckdb(place, data, rows):
    catalog = SqlCatalog("staffa", uri=f"sqlite:///{data}/catalog.db", init_catalog_tables="false")
    files = [task.file.file_path.removeprefix("file://") for task in catalog.load_table(("public", "lineitem")).scan().plan_files()]
    connection = duckdb.connect(f"{place}/base.duckdb")
    connection.execute(f"create table lineitem as select * from read_parquet({files!r}, hive_partitioning = false)")
    connection.execute(SOURCE.format(table="lineitem", rows=rows))
    connection.close()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--program", required=True)
    p.add_argument("--scale", type=float, default=10)
    p.add_argument("--rows", type=int, default=100_000, help="rows that MERGE brings")
    p.add_argument("--repeat", type=int, default=2)
    a = p.parse_args()
    data, place = tpch.cache(f"demo-{a.scale:g}"), tempfile.mkdtemp(prefix="staffa-changes-")
    best, same = {}, True
    try:
        with server.measured(a.program, "demo", "--scale", f"{a.scale:g}", "--data", str(data)) as staffa:
            fill_duckdb(place, data, a.rows)
            with psycopg.connect(staffa.url, autocommit=True) as connection:
                total = connection.execute("select count(*) from lineitem").fetchone()[0]
                connection.execute("drop table if exists changes")
                connection.execute(SOURCE.format(table="lineitem", rows=a.rows))
                for _ in range(a.repeat):
                    for name, query in {"scan of the keys": SCAN, "finding the rows": FIND}.items():
                        took, _ = timed(lambda: connection.execute(query.format(table="lineitem")).fetchall())
                        best[name, "Staffa"] = min(best.get((name, "Staffa"), took), took)
                    for name, statement in {"DELETE": DELETE, "MERGE": MERGE}.items():
                        (mine, left), (other, expected) = in_staffa(connection, "lineitem", statement), in_duckdb(place, statement)
                        same = same and left == expected
                        print(f"{name}: {mine:.2f} s and {other:.2f} s; " + ("same rows" if left == expected else f"{left} but {expected}"), file=sys.stderr)
                        best[name, "Staffa"] = min(best.get((name, "Staffa"), mine), mine)
                        best[name, "DuckDB"] = min(best.get((name, "DuckDB"), other), other)
                for table in ("copy", "changes"):
                    connection.execute(f"drop table {table}")
            peak = staffa.peak_bytes()
    finally:
        shutil.rmtree(place)
    scan = best["scan of the keys", "Staffa"]
    print(f"lineitem at scale {a.scale:g}: {total:,} rows; best of {a.repeat}; server's peak memory {peak >> 20} MiB\n")
    print("| statement | Staffa, s | of the scan | DuckDB's tables, s | ratio |\n|---|---:|---:|---:|---:|")
    for name in ("scan of the keys", "finding the rows", "DELETE", "MERGE"):
        mine, other = best[name, "Staffa"], best.get((name, "DuckDB"))
        print(f"| {name} | {mine:.2f} | {mine / scan:.2f} | " + (f"{other:.2f} | {mine / other:.2f} |" if other else "| |"))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
