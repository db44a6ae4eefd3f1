"""Short queries of dashboards over the wire, Staffa beside DuckDB in one run: one client, many clients, many beside a long query.

    python benches/compare/dashboards.py --program target/release/staffa [--clients 16] [--seconds 10] [--repeat 300]

Both engines have the same rows in tables of their own: 10,000 facts, 500 names, and a million rows for the long query. Staffa answers over
a socket and gets prepared statements, DuckDB is called through its Python interface inside the process of the clients. In all three parts
every client is a thread of this program, so what Python costs is in both figures. A new value is asked for each time: no answer is known.
"""
import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import duckdb
import psycopg

import server

FACTS, NAMES, LONG = 10_000, 500, 1_000_000
TABLES = (
    f"create table names as select n::int as id, 'name ' || n as name, (n % 7)::int as region from generate_series(1, {NAMES}) as t(n)",
    f"create table facts as select n::int as id, (n * 7919 % {NAMES} + 1)::int as name_id, (n % 100)::int as g, "
    f"(n % 9973)::double precision / 7 as v, date '2024-01-01' + (n % 365)::int as d from generate_series(1, {FACTS}) as t(n)",
    f"create table events as select n::int as id, (n::bigint * 2654435761 % 1000003)::bigint as k, 'key ' || (n % 1013) as s "
    f"from generate_series(1, {LONG}) as t(n)",
)
# What a tile of a dashboard asks; $1 is another number each time.
QUERIES = {
    "a row by its key": "select id, g, v, d from facts where id = $1",
    "sums by group": "select g, count(*) as n, sum(v) as v, max(d) as d from facts where id > $1 group by g order by g",
    "top ten of a join": "select n.name, sum(f.v) as v from facts f join names n on n.id = f.name_id where n.region = $1 % 7 and f.g < 50 "
    "group by n.name order by v desc, n.name limit 10",
    "days of a month": "select date_trunc('month', d) as m, count(*) as n, avg(v) as v from facts where g = $1 % 100 group by 1 order by 1",
}
LONG_QUERY = "select a.k % 1000 as g, count(*), sum(b.k), count(distinct a.s) from events a join events b on a.k = b.k + 1 group by 1 order by 1"


class Staffa:
    def __init__(self, url):
        self.url = url

    def client(self):
        connection = psycopg.connect(self.url, autocommit=True, prepare_threshold=0)
        cursor = connection.cursor(binary=True)
        asked = {sql: sql.replace("%", "%%").replace("$1", "%(p)s::int") for sql in QUERIES.values()}
        return lambda sql, *values: cursor.execute(asked.get(sql, sql), {"p": values[0]} if values else None).fetchall()


class Duck:
    def __init__(self, connection):
        self.connection = connection

    def client(self):
        cursor = self.connection.cursor()
        return lambda sql, *values: cursor.execute(sql, list(values)).fetchall()


def latencies(run, sql, repeat):
    times = []
    for n in range(repeat + 10):
        begun = time.perf_counter()
        run(sql, n)
        times.append((time.perf_counter() - begun) * 1000)
    return sorted(times[10:])


def crowd(engine, clients, seconds, beside=None):
    """Queries a second of many clients, and their latencies in ms; `beside` is a query one more client repeats meanwhile."""
    stop, times, failed, long_runs = threading.Event(), [[] for _ in range(clients)], [], []

    def guarded(work):
        def run():
            try:
                work()
            except Exception as error:  # a thread's error would be lost
                failed.append(error)
                stop.set()
        return run

    def short(mine, number):
        run, n = engine.client(), number
        while not stop.is_set():
            for sql in QUERIES.values():
                begun = time.perf_counter()
                run(sql, n)
                mine.append((time.perf_counter() - begun) * 1000)
                n += clients

    def long():
        run = engine.client()
        while not stop.is_set():
            run(beside)
            long_runs.append(1)

    work = [guarded(lambda mine=mine, number=number: short(mine, number)) for number, mine in enumerate(times)]
    threads = [threading.Thread(target=each) for each in work + ([guarded(long)] if beside else [])]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    lasted = time.perf_counter() - begun
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    every = sorted(value for mine in times for value in mine)
    return len(every) / lasted, every, len(long_runs)


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def rounded(rows):
    return [[round(float(v), 6) if isinstance(v, float) else str(v)[:10] if hasattr(v, "year") else v for v in row] for row in rows]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--program", required=True)
    p.add_argument("--clients", type=int, default=16)
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--repeat", type=int, default=300)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder, server.measured(
        a.program, "serve", "--data", f"{folder}/data", "--threads", str(a.threads)
    ) as running:
        connection = duckdb.connect()
        connection.execute(f"set threads={a.threads}")
        with psycopg.connect(running.url, autocommit=True) as setup:
            for statement in TABLES:
                setup.execute(statement)
                connection.execute(statement)
        engines = {"Staffa": Staffa(running.url), "DuckDB": Duck(connection)}
        ours, theirs = (engine.client() for engine in engines.values())
        for name, sql in QUERIES.items():
            mine, other = rounded(ours(sql, 5)), rounded(theirs(sql, 5))
            if mine != other:
                sys.exit(f"{name}: {mine[:3]} is not {other[:3]}")
        print("One client, ms (median, p99):\n\n| query | Staffa | DuckDB | ratio of medians |\n|---|---:|---:|---:|")
        for name, sql in QUERIES.items():
            mine, other = latencies(ours, sql, a.repeat), latencies(theirs, sql, a.repeat)
            both = [f"{statistics.median(times):.2f}, {percentile(times, 0.99):.2f}" for times in (mine, other)]
            print(f"| {name} | {both[0]} | {both[1]} | {statistics.median(mine) / statistics.median(other):.2f} |", flush=True)
        print(f"\n{a.clients} clients, {a.seconds:g} s:\n\n| engine | beside | queries a second | median, ms | p99, ms |\n|---|---|---:|---:|---:|")
        for beside in (None, LONG_QUERY):
            for name, engine in engines.items():
                rate, times, runs = crowd(engine, a.clients, a.seconds, beside)
                what = f"a long query ({runs} times)" if beside else "nothing"
                print(f"| {name} | {what} | {rate:.0f} | {statistics.median(times):.1f} | {percentile(times, 0.99):.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
