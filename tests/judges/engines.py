"""What the programs in this folder share: DuckDB and pyiceberg on the REST catalog of a server."""
import os
import tempfile
import warnings

warnings.simplefilter("ignore")


def duckdb_connection():
    """DuckDB with the iceberg extension from the extension wheels: nothing is downloaded."""
    import duckdb
    from duckdb_extensions import import_extension
    folder = os.path.join(tempfile.gettempdir(), f"staffa-duckdb-extensions-{os.getuid()}")
    connection = duckdb.connect(config={"extension_directory": folder})
    for extension in ("avro", "httpfs", "iceberg"):
        import_extension(extension, con=connection)
    connection.execute("load iceberg")
    return connection


def duckdb_on(rest, password=None, name="ice"):
    """A connection with the warehouse attached; with a password as the role admin."""
    connection = duckdb_connection()
    if password is None:
        options = "AUTHORIZATION_TYPE 'none'"
    else:
        connection.execute(
            f"create secret rest_login (type iceberg, client_id 'admin', client_secret '{password}',"
            f" oauth2_server_uri '{rest}/v1/oauth/tokens', oauth2_scope 'catalog')"
        )
        options = "SECRET rest_login"
    connection.execute(f"attach 'staffa' as {name} (type iceberg, endpoint '{rest}', {options})")
    return connection


def pyiceberg_on(rest, password=None, **more):
    from pyiceberg.catalog import load_catalog
    login = {} if password is None else {
        "credential": f"admin:{password}", "oauth2-server-uri": f"{rest}/v1/oauth/tokens",
    }
    return load_catalog("staffa_rest", type="rest", uri=rest, warehouse="staffa", **login, **more)


class Checks:
    """Counts what is wrong, and says it."""

    def __init__(self):
        self.bad = 0
        self.good = 0

    def same(self, what, wanted, got):
        if wanted == got:
            self.good += 1
        else:
            self.bad += 1
            print(f"{what}: wanted {wanted!r}, got {got!r}", flush=True)

    def end(self):
        print(f"{self.good} checks, {self.bad} differ")
        return 1 if self.bad else 0
