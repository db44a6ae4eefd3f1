"""The list of suites. Quick ones belong to every test run; the others need `scripts/setup clients` and `make clients`."""
from dataclasses import dataclass
from typing import Callable

import fdw
import pair
import pgbench
import programs
import pytests
import replay
import superset


@dataclass
class Suite:
    name: str
    run: Callable  # (pair.Pair, folder to work in, pattern of names or None) -> [Check]
    quick: bool = False
    fixture: bool = True


ODBC_FETCH = ("PostgreSQL Unicode", "UseDeclareFetch=1", "Fetch=100")

ALL = [
    Suite("fixture", lambda servers, *_: pair.load_fixture(servers), quick=True, fixture=False),
    Suite("captures", replay.suite("*.jsonl"), quick=True),
    Suite("captures_binary", replay.suite("*.jsonl", binary=True)),
    Suite("semantics", replay.suite("semantics.sql"), quick=True),
    Suite("semantics_binary", replay.suite("semantics.sql", binary=True)),
    Suite("psql", programs.suite("psql_describe.py"), quick=True),
    Suite("psycopg_types", programs.suite("psycopg_types.py"), quick=True),
    Suite("psycopg", programs.suite("psycopg_behaviour.py"), quick=True),
    Suite("psycopg_fixture", programs.suite("psycopg_fixture.py"), quick=True),
    Suite("session_messages", programs.suite("session_messages.py"), quick=True),
    Suite("copy_messages", programs.suite("copy_messages.py"), quick=True),
    Suite("jdbc_types", programs.suite("JdbcTypes.java"), quick=True),
    Suite("jdbc", programs.suite("JdbcCalls.java"), quick=True),
    Suite("odbc", programs.suite("odbc_calls.py"), quick=True),
    Suite("odbc_fetch", programs.suite("odbc_calls.py", *ODBC_FETCH), quick=True),
    Suite("adbc", programs.suite("adbc_calls.py"), quick=True),
    Suite("connectorx", programs.suite("connectorx_reads.py"), quick=True),
    Suite("pandas", programs.suite("pandas_frames.py"), quick=True),
    Suite("asyncpg", programs.suite("asyncpg_calls.py"), quick=True),
    Suite("node_postgres", programs.suite("node_calls.mjs")),
    Suite("fdw", fdw.run),
    Suite("pgbench", pgbench.run, fixture=False),
    Suite("sqlalchemy_psycopg2", pytests.sqlalchemy("postgresql+psycopg2"), fixture=False),
    Suite("sqlalchemy_psycopg", pytests.sqlalchemy("postgresql+psycopg"), fixture=False),
    Suite("dbt_adapter", pytests.dbt_adapter, fixture=False),
    Suite("dbt_postgres", pytests.dbt_postgres, fixture=False),
    Suite("superset", superset.run),
]
