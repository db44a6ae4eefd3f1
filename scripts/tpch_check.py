"""TPC-H at scale 1: all 22 answers equal DuckDB's, through psql, through psycopg with server-side prepared statements and
binary results, and through JDBC.

    python scripts/tpch_check.py --program target/release/staffa [--scale 1] [--queries q01,q05]
    python scripts/tpch_check.py --url postgresql://admin@127.0.0.1:5432/staffa ...     # a server with the demo's tables

DuckDB reads files of another generator program; they and the demo's data are kept in the user's cache folder.
"""
import argparse
import csv
import io
import subprocess
import sys
import time
from pathlib import Path

import psycopg

import server
import tpch

DRIVER = "/usr/share/java/postgresql.jar"


def by_psql(url, sql):
    command = ["psql", "-X", "--csv", "-t", "-P", "null=NULL", "-d", url, "-v", "ON_ERROR_STOP=1", "-c", sql]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(out.stderr.strip())
    return [[cell.rstrip(" ") for cell in row] for row in csv.reader(io.StringIO(out.stdout))]


def by_psycopg(connection, sql):
    with connection.cursor(binary=True) as cursor:
        return [[tpch.cell(v) for v in row] for row in cursor.execute(sql, prepare=True).fetchall()]


def by_jdbc(url, sql):
    place = psycopg.conninfo.conninfo_to_dict(url)
    jdbc = f"jdbc:postgresql://{place['host']}:{place['port']}/{place['dbname']}?user={place['user']}"
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", DRIVER, str(Path(__file__).with_name("JdbcQuery.java")), jdbc]
    out = subprocess.run(command, input=sql, capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(out.stderr.strip())
    return [row.split("\n") for row in out.stdout.split("\n\n")[:-1]]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--program")
    where.add_argument("--url")
    p.add_argument("--scale", type=float, default=1)
    p.add_argument("--queries", default="")
    a = p.parse_args()
    if a.url:
        return check(a, a.url)
    with server.running(a.program, "demo", "--scale", f"{a.scale:g}", "--data", str(tpch.cache(f"demo-{a.scale:g}"))) as running:
        return check(a, running.url)


def check(a, url):
    duck = tpch.duckdb_connection(tpch.generate(a.scale, tpch.cache(f"tpch-{a.scale:g}")))
    connection = psycopg.connect(url, autocommit=True)
    bad = 0
    for name, sql in tpch.queries(a.scale).items():
        if a.queries and name not in a.queries.split(","):
            continue
        wanted = [[tpch.cell(v) for v in row] for row in duck.execute(sql).fetchall()]
        doors = {"psql": lambda: by_psql(url, sql), "psycopg": lambda: by_psycopg(connection, sql), "jdbc": lambda: by_jdbc(url, sql)}
        for door, run in doors.items():
            begun = time.perf_counter()
            try:
                wrong = tpch.difference(wanted, run())
            except (psycopg.Error, RuntimeError) as error:
                wrong = str(error)
            bad += wrong is not None
            print(f"{name} {door:8} {time.perf_counter() - begun:7.3f} s  {len(wanted)} rows  {wrong or 'ok'}", flush=True)
    print(f"{bad} wrong" if bad else "all answers equal DuckDB's")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
