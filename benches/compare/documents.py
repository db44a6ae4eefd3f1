"""Reading JSON over the wire, Staffa beside DuckDB on the same documents in one run.

    python benches/compare/documents.py --program target/release/staffa [--rows 1000000] [--hot 5]

DuckDB has the documents in a table of its own, as type JSON; Staffa in a jsonb column. Runs alternate, answers are compared.
"""
import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
# This file's own folder would hide the module json, which it is called as.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import json
import math
import time

import duckdb
import psycopg

import server

# What is asked, as PostgreSQL says it and as DuckDB does.
QUERIES = {
    "sum of a number": ("select sum((j ->> 'a')::int) from d", "select sum((j ->> 'a')::int) from d"),
    "last of twelve keys": ("select count(*) from d where j ->> 'l' = 'x7'", "select count(*) from d where j ->> 'l' = 'x7'"),
    "path of three steps": (
        "select sum((j -> 'nested' -> 'list' ->> 1)::int) from d",
        "select sum((j -> 'nested' -> 'list' ->> 1)::int) from d",
    ),
    "group by a text": (
        "select j ->> 'k', count(*) from d group by 1 order by 1",
        "select j ->> 'k', count(*) from d group by 1 order by 1",
    ),
    "elements of an array": (
        "select sum(e::int) from d, jsonb_array_elements_text(j -> 'nested' -> 'list') as t(e)",
        "select sum(e::int) from (select unnest((j -> 'nested' -> 'list') ->> '$[*]') as e from d)",
    ),
    "contains": (
        """select count(*) from d where j @> '{"k": "k3"}'""",
        """select count(*) from d where json_contains(j, '{"k": "k3"}')""",
    ),
}


def document(n):
    filler = {key: f"{key}{n % 10}" for key in "bcdefgh"}
    return json.dumps(
        {"a": n, **filler, "k": f"k{n % 17}", "nested": {"list": [n % 5, n % 7, n % 11], "note": "a note of some length"}, "l": f"x{n % 13}"}
    )


def timed(run):
    begun = time.perf_counter()
    result = run()
    return time.perf_counter() - begun, result


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--program", required=True)
    p.add_argument("--rows", type=int, default=1_000_000)
    p.add_argument("--hot", type=int, default=5)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    a = p.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "documents.csv"
        with open(documents, "w") as file:
            for n in range(a.rows):
                file.write('"' + document(n).replace('"', '""') + '"\n')
        duck = duckdb.connect()
        duck.execute(f"set threads={a.threads}")
        duck.execute(
            f"create table d as select j::json as j from read_csv('{documents}', header = false, columns = {{'j': 'varchar'}}, quote = '\"', escape = '\"', delim = '|')"
        )
        arguments = ["serve", "--data", f"{folder}/data", "--threads", str(a.threads)]
        with server.measured(a.program, *arguments) as running, psycopg.connect(running.url, autocommit=True) as connection:
            connection.execute("create table d (j jsonb)")
            with connection.cursor() as cursor, cursor.copy("copy d from stdin (format csv)") as copy, open(documents, "rb") as file:
                while block := file.read(1 << 20):
                    copy.write(block)
            print("| query | Staffa, ms | DuckDB, ms | ratio |\n|---|---:|---:|---:|")
            ratios = []
            for name, (ours, theirs) in QUERIES.items():
                by_staffa = lambda: connection.execute(ours).fetchall()
                by_duckdb = lambda: duck.execute(theirs).fetchall()
                wrong = [tuple(map(str, row)) for row in by_staffa()] != [tuple(map(str, row)) for row in by_duckdb()]
                bad += wrong
                runs = [(timed(by_staffa)[0], timed(by_duckdb)[0]) for _ in range(a.hot)]
                mine, other = (min(column) for column in zip(*runs))
                ratios.append(mine / other)
                note = " (answers differ)" if wrong else ""
                print(f"| {name}{note} | {mine * 1e3:.1f} | {other * 1e3:.1f} | {mine / other:.2f} |", flush=True)
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            print(f"| geometric mean of ratios | | | **{mean:.2f}** |")
            print(f"\n{a.rows} rows, {a.threads} threads, best of {a.hot}; server's peak memory {running.peak_bytes() >> 20} MiB; {bad} answers differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
