"""Loading speed: COPY of lineitem as CSV into Staffa, DuckDB and PostgreSQL.

    python benches/compare/load.py --program target/release/staffa [--scale 1] [--repeat 2]

Staffa and PostgreSQL get the file through COPY FROM STDIN over a socket, DuckDB reads the file itself into a database
file. Every load commits; the best of the repetitions counts.
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

import oracle
import server
import tpch

COLUMNS = """l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber integer, l_quantity numeric(15,2),
 l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag varchar, l_linestatus varchar,
 l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct varchar, l_shipmode varchar, l_comment varchar"""


def over_the_wire(url, file, clause=""):
    """Seconds of one COPY, and the rows there afterwards."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop table if exists lineitem")
        connection.execute(f"create table lineitem ({COLUMNS}){clause}")
        begun = time.perf_counter()
        with connection.cursor().copy("copy lineitem from stdin (format csv, header)") as copy, open(file, "rb") as source:
            while part := source.read(1 << 20):
                copy.write(part)
        took = time.perf_counter() - begun
        return took, connection.execute("select count(*) from lineitem").fetchone()[0]


def by_duckdb(file):
    with tempfile.TemporaryDirectory() as place:
        connection = duckdb.connect(f"{place}/d.duckdb")
        connection.execute(f"create table lineitem ({COLUMNS})")
        begun = time.perf_counter()
        connection.execute(f"copy lineitem from '{file}' (format csv, header)")
        connection.execute("checkpoint")
        took = time.perf_counter() - begun
        return took, connection.execute("select count(*) from lineitem").fetchone()[0]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--program", required=True)
    p.add_argument("--scale", type=float, default=1)
    p.add_argument("--repeat", type=int, default=2)
    a = p.parse_args()
    file = tpch.generate(a.scale, tpch.cache(f"tpch-csv-{a.scale:g}"), "csv") / "lineitem.csv"
    size, place = file.stat().st_size, tempfile.mkdtemp(prefix="staffa-load-")
    best = {}
    try:
        with server.measured(a.program, "serve", "--data", f"{place}/data") as staffa, oracle.postgres() as postgres:
            ways = {
                "DuckDB": lambda: by_duckdb(file),
                "PostgreSQL": lambda: over_the_wire(postgres.url(), file),
                "Staffa": lambda: over_the_wire(staffa.url, file),
                "Staffa, by month": lambda: over_the_wire(staffa.url, file, " partition by (month(l_shipdate))"),
            }
            for _ in range(a.repeat):
                for name, load in ways.items():
                    took, rows = load()
                    best[name] = min(best.get(name, (took, rows)), (took, rows))
            peak = staffa.peak_bytes()
    finally:
        shutil.rmtree(place)
    print(f"lineitem at scale {a.scale:g}: {size >> 20} MiB of CSV; best of {a.repeat}; server's peak memory {peak >> 20} MiB\n")
    print("| engine | s | MB/s | rows/s | of DuckDB's time |\n|---|---:|---:|---:|---:|")
    for name, (took, rows) in best.items():
        print(f"| {name} | {took:.2f} | {size / took / 1e6:.0f} | {rows / took:,.0f} | {took / best['DuckDB'][0]:.2f} |")
    same = len({rows for _, rows in best.values()}) == 1
    print("" if same else f"\nthe row counts differ: {best}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
