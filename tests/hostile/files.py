"""Damaged files: each read of them is an answer or an error that names the file, soon, and the server goes on.

    python tests/hostile/files.py --program target/release/staffa --seed 1 --count 10000

A few tables are written with everything a table can have: partitions, position deletes, deletion vectors, lists, several manifests.
One file is then damaged in a copy of its table: data, deletes, deletion vectors, manifests, manifest lists, metadata. The copies are
entered into the catalog database as other engines would, and read. Every tenth number is a damaged COPY stream (text, CSV, binary)
instead. `--first i --count 1` is number i again, but for the identifiers in its files; `--keep FOLDER` keeps the files that failed.
"""
import argparse
import collections
import json
import random
import re
import shutil
import sqlite3
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import psycopg  # noqa: E402

import server  # noqa: E402

# Copies that one server reads before the next one starts: they are on disk together.
BATCH = 500
SECONDS_MAX = 20
GROWTH_BYTES_MAX = 512 << 20
TOLD_MAX = 20
TABLES = (
    "create table vectors (id int, grp int, t text, n numeric(12,2), ts timestamp, f float8, l int[], u uuid, b bytea) with (format_version = 3)",
    "insert into vectors select i, i % 3, 'v' || i, i * 1.5, timestamp '2024-01-01' + i * interval '1 hour', i / 3.0, array[i, null], "
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'x' from generate_series(1, 300) as g(i)",
    "delete from vectors where id % 10 = 0",
    "create table deletes (id int, grp int, t text, d date) partition by (grp)",
    "insert into deletes select i, i % 2, 'v' || i, date '2024-01-01' + i from generate_series(1, 200) as g(i)",
    "delete from deletes where id % 10 = 0",
    "create table long (id bigint not null, t text, v varchar(10), j jsonb, tz timestamptz) sorted by (id)",
    "insert into long select i, repeat(chr(97 + i % 26), i % 50), 'x' || i % 7, '{\"a\": [1, 2]}', now() from generate_series(1, 20000) as g(i)",
)
READS = ("select * from {}", "select count(*), min(id), max(t) from {} where id between 5 and 150", "select t, count(*) from {} group by t order by 1 limit 3")
NUMBERS = ("-1", "0", "1", "2147483648", "9223372036854775807", "-9223372036854775808", "1e400", "null", '"x"', "[]", "{}", "true")
COPY_COLUMNS = "(a int, b text, c numeric(10,2), d date, e int[], f jsonb)"
COPIES = {
    "text": b"1\tone\t1.50\t2024-01-01\t{1,2}\t{\"a\": 1}\n2\t\\N\t\\N\t\\N\t\\N\t\\N\n3\tt\\thr\\x41\t-1\t2024-02-29\t{}\t[]\n",
    "csv": b'1,"o,""ne",1.50,2024-01-01,"{1,2}","{""a"": 1}"\n2,,,,,\n3,"line\nbreak",-1,2024-02-29,{},[]\n',
    "binary": b"PGCOPY\n\xff\r\n\0" + bytes(8)
    + b"\0\6\0\0\0\4\0\0\0\1\0\0\0\3one\0\0\0\x0c\0\2\0\0\0\0\0\2\0\1\x13\x88\0\0\0\4\0\0\x22\x3d"
    + b"\0\0\0\x1c\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\1\0\0\0\1\0\0\0\4\0\0\0\7\0\0\0\3\x01[]\xff\xff",
}


def damaged(r, content):
    """The bytes with something wrong."""
    content = bytearray(content)
    how = r.random()
    # Footers are at the end, headers at the beginning: where most is decided.
    place = lambda: min(len(content) - 1, int(len(content) * r.choice((r.random(), r.random() ** 4, 1 - r.random() ** 4))))
    if not content or how < 0.02:
        return r.randbytes(r.randint(0, 300))
    if how < 0.45:
        for _ in range(r.choice((1, 1, 1, 2, 4, 16))):
            content[place()] = r.choice((r.randint(0, 255), 0, 255, 127, 128))
    elif how < 0.6:
        one = place()
        content[one] ^= 1 << r.randint(0, 7)
    elif how < 0.7:
        del content[place():]
    elif how < 0.8:
        begin = place()
        del content[begin : begin + r.choice((1, 2, 4, 64))]
    elif how < 0.9:
        begin = place()
        content[begin:begin] = r.choice((r.randbytes(r.randint(1, 8)), bytes(8), b"\xff" * 8, bytes(content[:64])))
    else:
        begin = place()
        size = r.choice((4, 8, 32))
        content[begin : begin + size] = r.choice((bytes(size), b"\xff" * size, b"\x7f" + b"\xff" * (size - 1)))
    return bytes(content)


def damaged_json(r, content):
    """Still JSON, but for one value."""
    if r.random() < 0.3:
        return damaged(r, content)
    text = content.decode()
    values = list(re.finditer(r'(?<=:)\s*("[^"]*"|-?\d+|true|false|null|\[[^\]\[]*\]|\{[^{}]*\})', text))
    chosen = r.choice(values)
    if r.random() < 0.3:
        key = text.rfind('"', 0, text.rfind('"', 0, chosen.start()))
        return (text[:key] + '"x"' + text[chosen.start() - 1 :]).encode()
    return (text[: chosen.start(1)] + r.choice(NUMBERS) + text[chosen.end(1) :]).encode()


class Tables:
    """The tables as they were written, to be copied."""

    def __init__(self, data):
        self.data = data
        with sqlite3.connect(data / "catalog.db") as database:
            rows = database.execute("select table_name, metadata_location from iceberg_tables where table_name in ('vectors', 'deletes', 'long')")
            self.metadata = sorted(rows.fetchall())

    def copy_damaged(self, seed, number):
        """The name of the new table, its pointer, and the file that is wrong."""
        r = random.Random(f"{seed} {number}")
        name, location = r.choice(self.metadata)
        folder = Path(location.removeprefix("file://")).parents[1]
        old = folder.name.rpartition("-")[2]
        new = uuid.UUID(int=r.getrandbits(128)).hex
        dashed = lambda hexadecimal: str(uuid.UUID(hexadecimal)).encode()
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        # Older metadata and lists are read by few statements.
        current = [path for path in files if path.suffix != ".json" or str(path) in location]
        kind = r.choice(sorted({path.suffix for path in current}))
        victim = r.choice([path for path in current if path.suffix == kind])
        target = folder.with_name(folder.name.replace(old, new))
        for path in files:
            content = path.read_bytes().replace(old.encode(), new.encode()).replace(dashed(old), dashed(new))
            if path == victim:
                content = damaged_json(r, content) if kind == ".json" else damaged(r, content)
            copied = target / path.relative_to(folder)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(content)
        return f"t{number}", location.replace(old, new), target / victim.relative_to(folder)

    def enter(self, copies):
        with sqlite3.connect(self.data / "catalog.db") as database:
            for name, location, _ in copies:
                database.execute("insert into iceberg_tables values ('staffa', 'public', ?, ?, null, 'TABLE')", (name, location))

    def forget(self, copies):
        with sqlite3.connect(self.data / "catalog.db") as database:
            for name, _, victim in copies:
                database.execute("delete from iceberg_tables where table_name = ?", (name,))
                shutil.rmtree(victim.parents[len(victim.parts) - 1 - victim.parts.index("public") - 2])


class Checks:
    def __init__(self, keep):
        self.keep = keep
        self.outcomes = collections.Counter()
        self.failures = []

    def read(self, connection, name, victim):
        for read in READS:
            begun = time.monotonic()
            try:
                connection.execute(read.format(name)).fetchall()
                outcome = "answered"
            except psycopg.Error as error:
                outcome = self.judged(error, name, victim)
                if connection.closed:
                    return False
            except (ValueError, OverflowError):
                # A value of the damaged file that Python has not, such as the year 100000.
                outcome = "answered"
            self.outcomes[outcome] += 1
            if time.monotonic() - begun > SECONDS_MAX:
                self.fail(victim, f"{name} ({victim}): {read} took {time.monotonic() - begun:.0f} s")
        return True

    def judged(self, error, name, victim):
        told = " ".join(str(part) for part in (error.diag.message_primary, error.diag.message_detail, error.diag.message_hint, error.diag.context))
        if isinstance(error, psycopg.DataError) and error.sqlstate is None:
            return "answered"  # with a value that Python has not, such as the year 100000
        # Another name of a column, another type of it: the damaged file is a good one of another table.
        is_answer = error.sqlstate and error.sqlstate.startswith(("22", "42703", "42883"))
        if error.sqlstate is None or error.sqlstate.startswith(("XX000", "57P")):
            self.fail(victim, f"{name} ({victim}): {error.sqlstate} {told}")
        elif "/warehouse/" not in told and not is_answer:
            self.fail(victim, f"{name} ({victim}): no file in {error.sqlstate} {told}")
        return error.sqlstate or "lost"

    def fail(self, victim, why):
        self.failures.append(why)
        if self.keep:
            self.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(victim, self.keep)

    def copy(self, connection, seed, number):
        r = random.Random(f"{seed} {number}")
        shape = r.choice(sorted(COPIES))
        stream = damaged(r, COPIES[shape])
        try:
            with connection.cursor().copy(f"copy copied from stdin (format {shape})") as copy:
                copy.write(stream)
            self.outcomes["copied"] += 1
        except psycopg.Error as error:
            self.outcomes[f"copy {error.sqlstate}"] += 1
            if error.sqlstate is None or not error.sqlstate.startswith(("22", "54", "08P01", "42804")):
                self.failures.append(f"copy {number}: {error.sqlstate} {error}")


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024


def read_batch(arguments, tables, numbers, checks):
    copies = [tables.copy_damaged(arguments.seed, number) for number in numbers if number % 10]
    tables.enter(copies)
    with server.running(arguments.program, "serve", "--data", tables.data, "--maintenance=false") as staffa:
        connect = lambda: psycopg.connect(staffa.url, autocommit=True, options=f"-c statement_timeout={SECONDS_MAX}s")
        connection, before = connect(), resident_bytes(staffa.pid)
        for name, _, victim in copies:
            if not checks.read(connection, name, victim):
                connection = connect()
        for number in numbers:
            if number % 10 == 0:
                checks.copy(connection, arguments.seed, number)
        if connection.execute("select count(*) from vectors").fetchone()[0] != 270:
            checks.failures.append("a whole table reads otherwise")
        growth = resident_bytes(staffa.pid) - before
        if growth > GROWTH_BYTES_MAX:
            checks.failures.append(f"resident memory grew by {growth >> 20} MiB")
        if "panicked at" in staffa.log():
            panics = re.findall(r"panicked at [^\n]*\n?[^\n]*", staffa.log())
            checks.failures.append(f"{len(panics)} panics: " + "; ".join(sorted(set(panics))[:5]))
    tables.forget(copies)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/staffa")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    checks, numbers = Checks(arguments.keep), range(arguments.first, arguments.first + arguments.count)
    with tempfile.TemporaryDirectory() as data:
        with server.running(arguments.program, "serve", "--data", data, "--maintenance=false") as staffa:
            with psycopg.connect(staffa.url, autocommit=True) as connection:
                for statement in (*TABLES, f"create table copied {COPY_COLUMNS}"):
                    connection.execute(statement)
        tables = Tables(Path(data))
        for first in range(0, len(numbers), BATCH):
            read_batch(arguments, tables, numbers[first : first + BATCH], checks)
    print(f"{len(numbers)} files of seed {arguments.seed}: {json.dumps(dict(checks.outcomes.most_common()))}, {len(checks.failures)} failures")
    # One of those that differ in numbers and names only.
    alike = {re.sub(r"\(/[^)]*\)|\"[^\"]*\"|\d+", "", failure): failure for failure in reversed(checks.failures)}
    sys.exit("\n".join(list(alike.values())[:TOLD_MAX]) if alike else 0)


if __name__ == "__main__":
    main()
