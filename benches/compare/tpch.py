"""TPC-H over the wire, Staffa beside DuckDB on the same Parquet files in one run.

    python benches/compare/tpch.py --program target/release/staffa [--scale 1] [--hot 5] [--queries q01,q05] [--csv FILE]

The runs of the two engines alternate, so that whatever else the machine does falls on both. Times are of the whole
statement with all rows fetched by the client; DuckDB runs inside this process, Staffa answers over a socket. What counts
is the ratio of the best runs; every answer is compared first.
"""
import argparse
import csv
import math
import os
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import duckdb
import psycopg
from pyiceberg.catalog.sql import SqlCatalog

import server
import tpch


def duckdb_on(data, threads):
    """DuckDB with a view a table over the very files the warehouse's current snapshot names."""
    catalog = SqlCatalog("staffa", uri=f"sqlite:///{data}/catalog.db", init_catalog_tables="false")
    connection = duckdb.connect()
    connection.execute(f"set threads={threads}")
    for table in tpch.TABLES:
        files = [task.file.file_path.removeprefix("file://") for task in catalog.load_table(("public", table)).scan().plan_files()]
        connection.execute(f"create view {table} as select * from read_parquet({files!r}, hive_partitioning = false)")
    return connection


def timed(run):
    begun = time.perf_counter()
    result = run()
    return time.perf_counter() - begun, result


def cells(rows):
    return [[tpch.cell(value) for value in row] for row in rows]


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--program", required=True)
    p.add_argument("--scale", type=float, default=1)
    p.add_argument("--hot", type=int, default=5)
    p.add_argument("--queries", default="")
    p.add_argument("--csv")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    a = p.parse_args()
    data = tpch.cache(f"demo-{a.scale:g}")
    results, bad = [], 0
    with server.measured(a.program, "demo", "--scale", f"{a.scale:g}", "--data", str(data), "--threads", str(a.threads)) as running:
        duck = duckdb_on(data, a.threads)
        with psycopg.connect(running.url, autocommit=True) as connection:
            for name, sql in tpch.queries(a.scale).items():
                if a.queries and name not in a.queries.split(","):
                    continue
                by_staffa = lambda: connection.cursor(binary=True).execute(sql).fetchall()
                by_duckdb = lambda: duck.execute(sql).fetchall()
                try:
                    (cold, mine), (_, other) = timed(by_staffa), timed(by_duckdb)
                    wrong = tpch.difference(cells(other), cells(mine))
                    runs = [(timed(by_staffa)[0], timed(by_duckdb)[0]) for _ in range(a.hot)]
                except psycopg.Error as error:
                    wrong, runs, cold = str(error), [], math.nan
                bad += wrong is not None
                if runs:
                    results.append((name, cold, *(min(column) for column in zip(*runs))))
                print(f"{name}: {wrong or 'same answer'}", file=sys.stderr, flush=True)
        peak = running.peak_bytes()
    print(f"| query | Staffa first, ms | Staffa, ms | DuckDB {duckdb.__version__}, ms | ratio |\n|---|---:|---:|---:|---:|")
    for name, cold, mine, other in results:
        print(f"| {name} | {cold * 1e3:.1f} | {mine * 1e3:.1f} | {other * 1e3:.1f} | {mine / other:.2f} |")
    if results:
        ratio = geometric_mean([mine / other for _, _, mine, other in results])
        total = sum(row[2] for row in results), sum(row[3] for row in results)
        print(f"| geometric mean of ratios, totals | | {total[0] * 1e3:.0f} | {total[1] * 1e3:.0f} | **{ratio:.2f}** |")
    print(f"\nscale {a.scale:g}, {a.threads} threads, best of {a.hot}; server's peak memory {peak >> 20} MiB; {bad} answers wrong")
    if a.csv:
        with open(a.csv, "w", newline="") as file:
            csv.writer(file).writerows([("query", "staffa_first_s", "staffa_s", "duckdb_s"), *results])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
