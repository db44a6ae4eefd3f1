"""pyiceberg, DuckDB and SQL sessions write to one table of a server at the same time; then every row must be there once.

    python rest_writers.py --rest http://HOST:PORT --url postgresql://admin@HOST:PORT/staffa [--seconds 20]

Each writer inserts ids of its own and deletes some of them again, and retries what the catalog refused because another
was faster. Exit status 1 when a row is lost, doubled, or was not acknowledged.
"""
import argparse
import multiprocessing
import random
import sys
import time

TABLE = "public.shared"
ROWS = 5  # of an insert


def is_conflict(error):
    text = f"{type(error).__name__} {error}"
    return any(word in text for word in ("CommitFailed", "409", "Conflict", "could not serialize", "Requirement failed", "ValidationException"))


class Writer:
    """One client. `insert` and `delete` are tried until the catalog takes them."""

    def __init__(self, number, a):
        self.number, self.a = number, a
        self.conflicts, self.next, self.alive = 0, number * 1_000_000, set()

    def run(self):
        stop_at = time.monotonic() + self.a.seconds
        commits = 0
        chance = random.Random(self.number)
        while time.monotonic() < stop_at:
            ids = list(range(self.next, self.next + ROWS))
            self.next += ROWS
            self.retried(self.insert, ids)
            self.alive.update(ids)
            commits += 1
            if commits % 3 == 0:
                gone = chance.choice(sorted(self.alive))
                self.retried(self.delete, gone)
                self.alive.discard(gone)
                commits += 1
        return type(self).__name__, commits, self.conflicts, sorted(self.alive)

    def retried(self, act, what):
        for attempt in range(500):
            try:
                return act(what)
            except Exception as error:
                if not is_conflict(error):
                    raise
                self.conflicts += 1
                time.sleep(random.random() * min(0.05 * (attempt + 1), 0.5))
        raise SystemExit(f"{type(self).__name__} never got its turn")


class Sql(Writer):
    def __init__(self, number, a):
        super().__init__(number, a)
        import psycopg
        self.connection = psycopg.connect(a.url, autocommit=True)

    def insert(self, ids):
        self.connection.execute(f"insert into {TABLE} values " + ", ".join(f"({i}, {self.number})" for i in ids))

    def delete(self, id):
        self.connection.execute(f"delete from {TABLE} where id = {id}")


class Pyiceberg(Writer):
    def __init__(self, number, a):
        super().__init__(number, a)
        from engines import pyiceberg_on
        self.catalog = pyiceberg_on(a.rest, a.password)

    def insert(self, ids):
        import pyarrow as pa
        rows = pa.table({"id": pa.array(ids, pa.int64()), "writer": pa.array([self.number] * len(ids), pa.int32())})
        self.catalog.load_table(TABLE).append(rows)

    def delete(self, id):
        self.catalog.load_table(TABLE).delete(f"id = {id}")


class Duckdb(Writer):
    def __init__(self, number, a):
        super().__init__(number, a)
        from engines import duckdb_on
        self.connection = duckdb_on(a.rest, a.password)

    def insert(self, ids):
        self.connection.execute(f"insert into ice.{TABLE} values " + ", ".join(f"({i}, {self.number})" for i in ids))

    def delete(self, id):
        self.connection.execute(f"delete from ice.{TABLE} where id = {id}")


def work(job):
    kind, number, a = job
    return globals()[kind](number, a).run()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rest", required=True)
    p.add_argument("--url", required=True)
    p.add_argument("--password")
    p.add_argument("--seconds", type=float, default=20)
    a = p.parse_args()
    import psycopg
    server = psycopg.connect(a.url, autocommit=True)
    server.execute(f"create table {TABLE} (id bigint, writer int)")
    jobs = [(kind, number + 1, a) for number, kind in enumerate(["Sql", "Sql", "Pyiceberg", "Pyiceberg", "Duckdb"])]
    with multiprocessing.get_context("spawn").Pool(len(jobs)) as pool:
        results = pool.map(work, jobs, chunksize=1)
    wanted, bad = [], 0
    for kind, commits, conflicts, alive in results:
        print(f"{kind}: {commits} commits, {conflicts} refused and tried again, {len(alive)} rows left")
        wanted.extend(alive)
        bad += commits == 0
    wanted.sort()
    from engines import duckdb_on, pyiceberg_on
    seen = {
        "the server": [row[0] for row in server.execute(f"select id from {TABLE} order by id").fetchall()],
        "duckdb": [row[0] for row in duckdb_on(a.rest, a.password).execute(f"select id from ice.{TABLE} order by id").fetchall()],
        "pyiceberg": sorted(pyiceberg_on(a.rest, a.password).load_table(TABLE).scan().to_arrow()["id"].to_pylist()),
    }
    for engine, ids in seen.items():
        if ids != wanted:
            bad += 1
            lost, more = sorted(set(wanted) - set(ids)), sorted(set(ids) - set(wanted))
            print(f"{engine}: {len(ids)} rows, wanted {len(wanted)}; lost {lost[:10]}, unexpected {more[:10]}, doubled {len(ids) - len(set(ids))}")
    print(f"{len(wanted)} rows, {bad} wrong")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
