"""Malformed protocol sessions over a real socket: the server goes on, panics nowhere and keeps no memory of them.

    python tests/hostile/sessions.py --program target/release/staffa --seed 1 --count 100000

Session number i of a seed is always the same (`--first i --count 1`). Each is a conversation that a driver might have, damaged in one
or several ways: cut off, bytes changed, lengths that lie, messages in another order, twice or not at all, before and after the login,
garbage, TLS and cancel requests where they do not belong, COPY in the middle. Some hang up, some wait for the answer.
"""
import argparse
import random
import socket
import struct
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import psycopg  # noqa: E402

import server  # noqa: E402

THREADS = 4
# What all sessions together may leave behind, after the first ones have warmed the server up.
GROWTH_BYTES_MAX = 50 << 20
WARM_SHARE = 0.2
# A server that says nothing for so long, with the session still open, waits for more: that is its right.
SILENCE_SECONDS = 0.02
PROTOCOL, SSL, GSS, CANCEL = 196608, 80877103, 80877104, 80877102
LENGTHS = (0, 1, 3, 4, 5, 7, 8, 255, 65535, 1 << 24, 1 << 30, (1 << 31) - 1, -1, -4, -(1 << 31))
COUNTS = (0, 1, 2, 255, 32767, -1, -32768)

TEXTS = (
    "select 1", "select $1::int, $2::text", "select * from t", "insert into t values ($1, $2)", "begin", "commit", "rollback",
    "copy t from stdin", "copy t to stdout", "copy t from stdin (format csv)", "copy t from stdin (format binary)",
    "declare c cursor for select * from t", "fetch 2 from c", "select 1/0", "selec", "", ";", "select 1; select 2; select 1/0; select 3",
    "prepare p as select $1::int", "execute p(1)", "savepoint s", "set statement_timeout = 1000", "select repeat('x', 10000)",
    "select 'é', '\\x00'::bytea, null", "select generate_series(1, 100)", "\udcff\udcfe", "select '\udcff'", "discard all",
)
NAMES = ("", "s", "p", "c", "x" * 70, "\udcff", "S\t1")


def bytes_of(text):
    return text.encode("utf-8", "surrogateescape")


def cstring(text):
    return bytes_of(text) + b"\0"


def frame(tag, body):
    return tag + struct.pack("!i", len(body) + 4) + body


class Session:
    """The messages of one session, all made of one random number generator."""

    def __init__(self, seed, number):
        self.random = random.Random(f"{seed} {number}")

    def chance(self, share):
        return self.random.random() < share

    def pick(self, choices):
        return self.random.choice(choices)

    def garbage(self, most=64):
        return self.random.randbytes(self.random.randint(0, most))

    def count(self, true):
        return struct.pack("!h", self.pick(COUNTS) if self.chance(0.1) else true)

    def value(self):
        if self.chance(0.15):
            return struct.pack("!i", self.pick(LENGTHS))
        value = self.pick((b"1", b"", b"abc", b"\0\0\0\1", b"\xff\xfe", b"2024-01-01", b"{1,2}", self.garbage()))
        return struct.pack("!i", len(value)) + value

    def startup(self):
        parameters = {"user": "admin", "database": "staffa"}
        if self.chance(0.2):
            parameters[self.pick(("options", "client_encoding", "datestyle", "replication", "_pq_.x", "\udcff", "a" * 300))] = self.pick(
                ("-c work_mem=1", "LATIN1", "\udcff", "", "x" * 5000, "-c \\", "database")
            )
        body = b"".join(cstring(name) + cstring(value) for name, value in parameters.items()) + b"\0"
        version = self.pick((0, 1 << 16, 2 << 16, PROTOCOL + 2, 4 << 16, -1)) if self.chance(0.05) else PROTOCOL
        return struct.pack("!ii", len(body) + 8, version) + body

    def request(self, code):
        return struct.pack("!ii", 8, code)

    def cancel(self):
        key = self.random.randbytes(self.pick((4, 4, 4, 0, 3, 8, 32, 300)))
        return struct.pack("!iii", 12 + len(key), CANCEL, self.random.randint(0, 100)) + key

    def query(self):
        return frame(b"Q", cstring(self.pick(TEXTS)))

    def parse(self):
        types = [self.pick((0, 23, 25, 1700, 705, 99999999, -1)) for _ in range(self.random.randint(0, 3))]
        body = b"".join(struct.pack("!i", ty) for ty in types)
        return frame(b"P", cstring(self.pick(NAMES)) + cstring(self.pick(TEXTS)) + self.count(len(types)) + body)

    def bind(self):
        formats = [self.pick((0, 1, 2, -1)) for _ in range(self.random.randint(0, 2))]
        values = [self.value() for _ in range(self.random.randint(0, 3))]
        shorts = b"".join(struct.pack("!h", one) for one in formats)
        head = cstring(self.pick(NAMES)) + cstring(self.pick(NAMES)) + self.count(len(formats)) + shorts
        return frame(b"B", head + self.count(len(values)) + b"".join(values) + self.count(len(formats)) + shorts)

    def describe(self):
        return frame(self.pick((b"D", b"C")), self.pick((b"S", b"P", b"X", b"")) + cstring(self.pick(NAMES)))

    def execute(self):
        rows = self.pick((0, 0, 1, 2, -1, 1 << 30, -(1 << 31)))
        return frame(b"E", cstring(self.pick(NAMES)) + struct.pack("!i", rows))

    def copy(self):
        data = self.pick((b"1\ta\n", b"\\.\n", b"x\n", b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\2", b"\xff\xff", self.garbage(), b""))
        return self.pick((frame(b"d", data), frame(b"d", data), frame(b"c", b""), frame(b"f", cstring("no more"))))

    def password(self):
        return frame(b"p", self.pick((cstring("secret"), cstring("SCRAM-SHA-256") + struct.pack("!i", 5) + b"n,,n=", self.garbage())))

    def other(self):
        return frame(bytes([self.random.randint(0, 255)]), self.garbage())

    def call(self):
        """The function call nobody uses."""
        return frame(b"F", struct.pack("!i", 1) + self.count(0) + self.count(0) + self.count(0))

    def messages(self):
        makers = (self.query, self.parse, self.bind, self.describe, self.execute, self.copy, self.password, self.other, self.call)
        weights = (6, 6, 6, 3, 6, 4, 1, 1, 1)
        for _ in range(self.random.randint(0, 10)):
            yield self.random.choices(makers, weights)[0]()
            if self.chance(0.4):
                yield self.pick((frame(b"S", b""), frame(b"H", b"")))

    def damaged(self, message):
        bytes_now = bytearray(message)
        for _ in range(self.random.randint(1, 3)):
            if not bytes_now:
                break
            place = self.random.randrange(len(bytes_now))
            how = self.random.random()
            if how < 0.3:
                bytes_now[place] = self.random.randint(0, 255)
            elif how < 0.5:
                del bytes_now[place:]
            elif how < 0.75 and len(bytes_now) >= 5:
                bytes_now[1:5] = struct.pack("!i", self.pick(LENGTHS))
            elif how < 0.85:
                bytes_now[place:place] = self.garbage()
            else:
                del bytes_now[place : place + self.random.randint(1, 8)]
        return bytes(bytes_now)

    def parts(self):
        """What is sent, piece by piece."""
        before = []
        if self.chance(0.15):
            before.append(self.pick((self.request(SSL), self.request(GSS), self.request(SSL) + self.garbage(), self.cancel())))
        if not self.chance(0.1):
            before.append(self.startup())
        sent = before + list(self.messages())
        if self.chance(0.1):
            self.random.shuffle(sent)
        if self.chance(0.05):
            sent.append(frame(b"Q", b"x" * 200_000))
        if self.chance(0.3):
            sent.append(frame(b"X", b""))
        share = self.pick((0, 0.1, 0.5))
        for message in sent:
            if self.chance(share):
                message = self.damaged(message)
            yield message

    def hold(self, address):
        with socket.create_connection(address, timeout=60) as connection:
            connection.settimeout(SILENCE_SECONDS)
            try:
                for part in self.parts():
                    connection.sendall(part)
                    if self.chance(0.3):
                        self.listen(connection)
                if self.chance(0.5):
                    self.listen(connection)
            except (ConnectionError, BrokenPipeError, TimeoutError):
                pass  # The server hung up, as it may.

    def listen(self, connection):
        try:
            while len(connection.recv(65536)) == 65536:
                pass
        except TimeoutError:
            pass


def resident_bytes(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024


def hold_all(address, seed, numbers):
    failures = []

    def some(offset):
        for number in numbers[offset::THREADS]:
            try:
                Session(seed, number).hold(address)
            except OSError as error:
                failures.append(f"session {number}: {error}")
                return

    threads = [threading.Thread(target=some, args=(offset,)) for offset in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def check(staffa, failures):
    with psycopg.connect(staffa.url, autocommit=True) as connection:
        if connection.execute("select count(*) from t").fetchone()[0] < 2:
            failures.append("the table lost rows")
        sessions = connection.execute("select count(*) from pg_stat_activity").fetchone()[0]
    if "panicked at" in staffa.log():
        failures.append("a task panicked: " + staffa.log().partition("panicked at")[2][:400])
    return sessions


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/staffa")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    arguments = parser.parse_args()
    numbers = range(arguments.first, arguments.first + arguments.count)
    warm = int(len(numbers) * WARM_SHARE)
    with tempfile.TemporaryDirectory() as data:
        with server.running(arguments.program, "serve", "--data", data, "--maintenance=false", "--max-connections=200") as staffa:
            with psycopg.connect(staffa.url, autocommit=True) as connection:
                connection.execute("create table t (a int, b text)")
                connection.execute("insert into t values (1, 'one'), (2, 'two')")
                host, port = connection.info.host, connection.info.port
            failures = hold_all((host, port), arguments.seed, numbers[:warm])
            before = resident_bytes(staffa.pid)
            failures += hold_all((host, port), arguments.seed, numbers[warm:])
            sessions = check(staffa, failures)
            growth = resident_bytes(staffa.pid) - before
            if growth > GROWTH_BYTES_MAX:
                failures.append(f"resident memory grew by {growth >> 20} MiB")
    print(f"{len(numbers)} sessions of seed {arguments.seed}: {growth >> 10} KiB more, {sessions} sessions open, {len(failures)} failures")
    sys.exit("\n".join(failures) if failures else 0)


if __name__ == "__main__":
    main()
