"""PostgreSQL and Staffa side by side, each with an empty database `staffa` of the role `admin`: names are the same on both."""
import contextlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

import oracle
import server
from checks import Check

CLIENTS = Path(__file__).resolve().parent.parent
# A hanging statement shall cost a suite a minute, not all of its time.
STATEMENT_TIMEOUT = "-c statement_timeout=60000"


@dataclass
class Pair:
    postgres: str
    staffa: str
    running: server.Running

    def each(self):
        return self.postgres, self.staffa

    def complaints(self):
        """A server that is gone, or that panicked, is a problem whatever the checks say."""
        log = self.running.log()
        found = [line for line in log.splitlines() if "panicked at" in line]
        try:
            psycopg.connect(self.staffa, connect_timeout=30).close()
        except psycopg.Error as error:
            found.append(f"the server is gone: {error}")
        return found


def environment(url):
    """The variables libpq's programs read."""
    at = urlsplit(url)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return {**kept, "TZ": "UTC", "PGTZ": "UTC", "PGHOST": at.hostname, "PGPORT": str(at.port), "PGUSER": at.username,
            "PGPASSWORD": "x", "PGDATABASE": at.path.lstrip("/"), "PGOPTIONS": STATEMENT_TIMEOUT}


@contextlib.contextmanager
def postgres():
    with oracle.postgres(user="admin") as running:
        yield running


@contextlib.contextmanager
def fresh(running, program, fixture):
    """An empty database on both, with the fixture if the suite wants it."""
    with psycopg.connect(running.url(), autocommit=True) as conn:
        conn.execute("drop database if exists staffa with (force)")
        conn.execute("drop role if exists app")
        conn.execute("create database staffa")
    with tempfile.TemporaryDirectory() as folder, server.running(str(program), "serve", "--data", f"{folder}/data") as staffa:
        pair = Pair(running.url("staffa"), staffa.url, staffa)
        if fixture:
            load_fixture(pair)
        yield pair


def statements(path):
    """A file's statements, each with the data for its COPY; one ends with a semicolon at the end of a line, data with a line `\\.`."""
    text = re.sub(r"^--.*$", "", path.read_text(), flags=re.M)
    found = []
    for part in re.split(r";$", text, flags=re.M):
        *data, sql = part.split("\n\\.\n")
        if data:
            found[-1][1] = data[0].removeprefix("\n") + "\n"
        if sql.strip():
            found.append([sql.strip(), ""])
    return found


def load_fixture(pair):
    """Loads the fixture into both; gives a check for each of its statements."""
    checks = []
    for sql, _ in statements(CLIENTS / "fixture.sql"):
        answers = []
        for url in pair.each():
            try:
                with psycopg.connect(url, autocommit=True) as conn:
                    answers.append(conn.execute(sql).statusmessage)
            except psycopg.Error as error:
                answers.append(f"{error.sqlstate} {error}")
        checks.append(Check(f"fixture: {' '.join(sql.split())[:100]}", answers[0] == answers[1], *answers))
    return checks
