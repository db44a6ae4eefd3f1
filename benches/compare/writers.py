"""Many small writers: commits per second beside PostgreSQL in one run, transfers between tables, and what 10,000 commits leave.

    python benches/compare/writers.py --program target/release/staffa [--seconds 20] [--writers 16] [--commits 10000]

Every INSERT is a transaction of one row, by as many connections as there are writers; PostgreSQL runs with fsync, as Staffa
does. The transfers move money between rows of two tables in one transaction; only 40001 may fail, and the sum stays.
"""
import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import psycopg

import oracle
import server


def at_once(url, writers, work):
    """Runs `work(connection, writer, outcomes)` on a connection each; counts what it reports: outcomes["done"], SQLSTATEs."""
    outcomes, lock, ready = Counter(), threading.Lock(), threading.Barrier(writers + 1)

    def run(writer):
        own = Counter()
        with psycopg.connect(url, autocommit=True) as connection:
            ready.wait()
            work(connection, writer, own)
        with lock:
            outcomes.update(own)

    threads = [threading.Thread(target=run, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    ready.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun, outcomes


def until(seconds):
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() < end


def attempt(outcomes, run):
    try:
        run()
        outcomes["done"] += 1
    except psycopg.Error as error:
        outcomes[error.sqlstate or "lost"] += 1


def inserts(url, writers, more):
    """One-row INSERTs for as long as `more()`."""
    def work(connection, writer, outcomes):
        while more():
            attempt(outcomes, lambda: connection.execute("insert into events values (%s, %s, now())", (writer, outcomes["done"])))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop table if exists events")
        connection.execute("create table events (writer int, n bigint, at timestamptz)")
        took, outcomes = at_once(url, writers, work)
        there = connection.execute("select count(*) from events").fetchone()[0]
    return took, outcomes, there


def changes(url, writers, seconds):
    """UPDATEs of rows of one's own in one table."""
    more = until(seconds)

    def work(connection, writer, outcomes):
        while more():
            attempt(outcomes, lambda: connection.execute("update own set n = n + 1 where id %% %s = %s", (writers, writer)))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop table if exists own")
        connection.execute("create table own (id int, n int)")
        connection.execute("insert into own select i, 0 from generate_series(0, 159) as g(i)")
        took, outcomes = at_once(url, writers, work)
        total = connection.execute("select sum(n) from own").fetchone()[0]
    return took, outcomes, total == outcomes["done"] * 160 // writers


def transfers(url, writers, seconds):
    """Money from a row of one table to a row of the other; readers look at the sum meanwhile."""
    more, accounts, torn = until(seconds), 40, []
    total = "select (select sum(money) from here) + (select sum(money) from there)"

    def work(connection, writer, outcomes):
        drawn = random.Random(writer)
        while more():
            if writer == 0:
                if (found := connection.execute(total).fetchone()[0]) != 2 * accounts * 100:
                    torn.append(found)
                continue
            one, other, amount = drawn.randrange(accounts), drawn.randrange(accounts), drawn.randrange(1, 10)

            def transfer():
                with connection.transaction():
                    connection.execute("update here set money = money - %s where id = %s", (amount, one))
                    connection.execute("update there set money = money + %s where id = %s", (amount, other))
            attempt(outcomes, transfer)
    with psycopg.connect(url, autocommit=True) as connection:
        for table in ("here", "there"):
            connection.execute(f"drop table if exists {table}")
            connection.execute(f"create table {table} (id int, money bigint)")
            connection.execute(f"insert into {table} select i, 100 from generate_series(0, {accounts - 1}) as g(i)")
        took, outcomes = at_once(url, writers, work)
        left = connection.execute(total).fetchone()[0]
    return took, outcomes, not torn and left == 2 * accounts * 100


def best(connection, query, times=7):
    def once():
        begun = time.perf_counter()
        connection.execute(query).fetchall()
        return time.perf_counter() - begun
    return min(once() for _ in range(times))


def after_many(url, writers, commits):
    """Live files after that many commits, and a full scan beside one of a fresh copy; upkeep is on."""
    left, lock = [commits], threading.Lock()

    def more():
        with lock:
            left[0] -= 1
            return left[0] >= 0
    took, outcomes, there = inserts(url, writers, more)
    with psycopg.connect(url, autocommit=True) as connection:
        files = lambda: connection.execute("select count(*) from staffa.files('events')").fetchone()[0]
        at_the_end = files()
        end = time.monotonic() + 60
        while files() > 20 and time.monotonic() < end:
            time.sleep(1)
        connection.execute("drop table if exists fresh")
        connection.execute("create table fresh as select * from events")
        scan = "select count(*), min(n), max(n), max(at), sum(writer) from "
        return took, outcomes, there, at_the_end, files(), best(connection, scan + "events"), best(connection, scan + "fresh")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--program", required=True)
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--writers", type=int, default=16)
    p.add_argument("--commits", type=int, default=10_000)
    a = p.parse_args()
    place, right = tempfile.mkdtemp(prefix="staffa-writers-"), True
    with server.measured(a.program, "serve", "--data", f"{place}/data") as staffa, oracle.postgres(fsync=True) as postgres:
        print(f"{a.writers} writers, {a.seconds:g} s each, {os.cpu_count()} cores\n\n| work | Staffa, per s | PostgreSQL, per s | failed in Staffa |\n|---|---:|---:|---|")
        for name, work in {
            "INSERT of a row": lambda url: inserts(url, a.writers, until(a.seconds)),
            "UPDATE of own rows": lambda url: changes(url, a.writers, a.seconds),
            "transfer between two tables": lambda url: transfers(url, a.writers, a.seconds),
        }.items():
            (took, mine, well), (other_took, other, _) = work(staffa.url), work(postgres.url())
            failed = {state: count for state, count in mine.items() if state != "done"}
            allowed = {"40001"} if name.startswith("transfer") else set()
            sound = (well == mine["done"] if name.startswith("INSERT") else well) and set(failed) <= allowed
            right = right and sound
            print(f"| {name} | {mine['done'] / took:.0f} | {other['done'] / other_took:.0f} | {failed or 'none'}{'' if sound else ' WRONG'} |", flush=True)
        took, outcomes, there, then, now, scan, fresh = after_many(staffa.url, a.writers, a.commits)
        right = right and there == outcomes["done"] == a.commits
        print(f"\n{a.commits:,} one-row commits in {took:.0f} s, {there:,} rows; live files {then} at the end and {now} a little later; "
              f"scan {scan * 1e3:.1f} ms, of a fresh copy {fresh * 1e3:.1f} ms ({scan / fresh:.2f})")
        print(f"server's peak memory {staffa.peak_bytes() >> 20} MiB")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
