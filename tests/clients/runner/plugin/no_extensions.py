"""pytest plugin: SQLAlchemy's suite runs without PostgreSQL's extensions citext and hstore, which a warehouse does not have."""
import importlib

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    # Not earlier: the suite's conftest.py says where SQLAlchemy is.
    importlib.import_module("sqlalchemy.dialects.postgresql.provision")._extensions.clear()
