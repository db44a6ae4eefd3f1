"""Suites of pytest: what passes on PostgreSQL is a check, and shall pass on Staffa."""
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

import environments
import pair
from checks import Check

CLIENTS = Path(__file__).resolve().parent.parent
# Whom its tests of grants grant to.
DBT_ROLES = {f"DBT_TEST_USER_{number}": f"dbt_test_user_{number}" for number in (1, 2, 3)}
DBT_USER = "root"
# Seconds a suite gets on one server, and the one that starts dbt some two thousand times.
LIMIT = 2400
LIMIT_OF_DBT = 4 * 3600


def sqlalchemy(driver):
    """SQLAlchemy's own suite for dialects, from its source archive."""
    def run(servers, work, only):
        for url in servers.each():
            with psycopg.connect(url, autocommit=True) as conn:
                conn.execute("create schema test_schema")
                conn.execute("create schema test_schema_2")

        def command(url):
            uri = url.replace("postgresql", driver, 1)
            return ["test/dialect/test_suite.py", "--dburi", uri, "-p", "no:logging", "-p", "no_extensions", "--maxfail=9999"]
        return compare(servers, work, only, "clients-venv", environments.sources("sqlalchemy"), command)
    return run


def dbt_adapter(servers, work, only):
    """The basic classes of dbt's kit for adapters."""
    # dbt leaves its logs where it is.
    return compare(servers, work, only, "dbt-venv", work, lambda url: [str(CLIENTS / "programs" / "dbt")])


def dbt_postgres(servers, work, only):
    """The functional tests of dbt-postgres, from its source archive."""
    for url in servers.each():
        with psycopg.connect(url, autocommit=True) as conn:
            for role in DBT_ROLES.values():
                conn.execute(f"drop role if exists {role}")
                conn.execute(f"create role {role}")
            # Some of them expect these names.
            conn.execute("drop database if exists dbt")
            conn.execute("create database dbt")
            conn.execute(f"drop role if exists {DBT_USER}")
            conn.execute(f"create role {DBT_USER} superuser login")
    return compare(servers, work, only, "dbt-venv", environments.sources("dbt-postgres"), lambda url: ["tests/functional", "-n", "2"],
                   database="dbt", user=DBT_USER, limit=LIMIT_OF_DBT)


def compare(servers, work, only, environment, folder, command, database=None, user=None, limit=LIMIT):
    python = environments.python(environment)
    assert python and folder.exists(), f"{environment} or {folder} is missing: run scripts/setup clients"
    urls = [address(url, database, user) for url in servers.each()]
    wanted, got = (outcomes(python, folder, work / f"{i}.jsonl", command(url), url, only, limit) for i, url in enumerate(urls))
    passed = [name for name, (state, _) in wanted.items() if state == "passed"]
    assert passed, f"nothing passes on PostgreSQL: {list(wanted.items())[:3]}"
    checks = []
    for name in passed:
        state, text = got.get(name, ("not run", ""))
        checks.append(Check(name, state == "passed", "passed", f"{state} {text}"))
    return checks


def address(url, database, user):
    """The same server's address for another database and user."""
    parts = urlsplit(url)
    if user:
        parts = parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}")
    if database:
        parts = parts._replace(path=f"/{database}")
    return parts.geturl()


def outcomes(python, folder, results, arguments, url, only, limit):
    """{test: (passed, failed, skipped; why)}, also of a run that was stopped."""
    at = pair.environment(url)
    environment = {**at, **DBT_ROLES, "CLIENTS_RESULTS": str(results), "PYTHONPATH": str(CLIENTS / "runner" / "plugin"), "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
                   "POSTGRES_TEST_HOST": at["PGHOST"], "POSTGRES_TEST_PORT": at["PGPORT"], "POSTGRES_TEST_USER": at["PGUSER"],
                   "POSTGRES_TEST_PASS": at["PGPASSWORD"], "POSTGRES_TEST_DATABASE": at["PGDATABASE"]}
    command = [str(python), "-m", "pytest", *arguments, "-q", "-p", "outcomes", "-p", "no:cacheprovider"]
    if only:
        command += ["-k", only]
    with open(results.with_suffix(".output"), "w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            # With its workers.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found = {}
    for line in results.read_text().splitlines() if results.exists() else ():
        test = json.loads(line)
        # SQLAlchemy names the server's version with each class.
        test["name"] = re.sub(r"_postgresql\+\w+?_\d+_\d+(?=::)", "", test["name"])
        # The last word counts, but an error of setting up or tearing down stays.
        if found.get(test["name"], ("passed",))[0] == "passed":
            found[test["name"]] = (test["state"], " ".join(test["text"].split())[-2000:])
    return found
