"""The list of suites. Quick ones belong to every test run; the others need `scripts/setup clients` and `make clients`."""
from dataclasses import dataclass
from fractions import Fraction
from typing import Callable

import errors
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
    quick: str | None = None  # with which of every test run, if with any: they run side by side
    fixture: bool = True


COMMON_MISTAKES = {"sqlstate": Fraction(1), "position": Fraction(9, 10), "hint": Fraction(8, 10)}
ODBC_FETCH = ("PostgreSQL Unicode", "UseDeclareFetch=1", "Fetch=100")

ALL = [
    Suite("fixture", lambda servers, *_: pair.load_fixture(servers), quick="statements", fixture=False),
    Suite("captures", replay.suite("*.jsonl"), quick="statements"),
    Suite("captures_binary", replay.suite("*.jsonl", binary=True)),
    Suite("semantics", replay.suite("semantics.sql"), quick="statements"),
    Suite("semantics_binary", replay.suite("semantics.sql", binary=True)),
    Suite("errors", errors.suite("errors.sql"), quick="statements"),
    Suite("common_mistakes", errors.suite("common_mistakes.sql", least=COMMON_MISTAKES), quick="statements"),
    Suite("expressions", replay.suite("expressions.sql"), quick="statements"),
    Suite("psql", programs.suite("psql_describe.py"), quick="statements"),
    Suite("psycopg_types", programs.suite("psycopg_types.py"), quick="drivers"),
    Suite("psycopg", programs.suite("psycopg_behaviour.py"), quick="drivers"),
    Suite("psycopg_fixture", programs.suite("psycopg_fixture.py"), quick="drivers"),
    Suite("session_messages", programs.suite("session_messages.py"), quick="statements"),
    Suite("copy_messages", programs.suite("copy_messages.py"), quick="statements"),
    Suite("jdbc_types", programs.suite("JdbcTypes.java"), quick="drivers"),
    Suite("jdbc", programs.suite("JdbcCalls.java"), quick="drivers"),
    Suite("odbc", programs.suite("odbc_calls.py"), quick="drivers"),
    Suite("odbc_fetch", programs.suite("odbc_calls.py", *ODBC_FETCH), quick="drivers"),
    Suite("adbc", programs.suite("adbc_calls.py"), quick="drivers"),
    Suite("connectorx", programs.suite("connectorx_reads.py"), quick="drivers"),
    Suite("pandas", programs.suite("pandas_frames.py"), quick="drivers"),
    Suite("asyncpg", programs.suite("asyncpg_calls.py"), quick="drivers"),
    Suite("node_postgres", programs.suite("node_calls.mjs")),
    Suite("fdw", fdw.run),
    Suite("pgbench", pgbench.run, fixture=False),
    Suite("sqlalchemy_psycopg2", pytests.sqlalchemy("postgresql+psycopg2"), fixture=False),
    Suite("sqlalchemy_psycopg", pytests.sqlalchemy("postgresql+psycopg"), fixture=False),
    Suite("dbt_adapter", pytests.dbt_adapter, fixture=False),
    Suite("dbt_postgres", pytests.dbt_postgres, fixture=False),
    Suite("superset", superset.run),
]
