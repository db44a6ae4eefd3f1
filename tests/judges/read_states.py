"""Reads every snapshot, branch and tag of a warehouse's tables with pyiceberg and DuckDB and compares with the server.

    python read_states.py --data DIR --url postgresql://admin@HOST:PORT/staffa

Compared are the names with their snapshots (pyiceberg) and the number of rows of each snapshot (both). Exit status 1 when
an engine cannot read a state or sees something else.
"""
import argparse
import sys
import warnings

warnings.simplefilter("ignore")
import psycopg
from pyiceberg.catalog.sql import SqlCatalog

from engines import duckdb_connection
from read_tables import tables_of


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", required=True)
    p.add_argument("--url", required=True)
    a = p.parse_args()
    catalog = SqlCatalog("staffa", uri=f"sqlite:///{a.data}/catalog.db", init_catalog_tables="false")
    server = psycopg.connect(a.url, autocommit=True)
    duck = duckdb_connection()
    states, names, bad = 0, 0, 0

    def compare(what, wanted, got):
        nonlocal bad
        if wanted != got:
            bad += 1
            print(f"{what}: the server has {wanted}, it sees {got}")

    for namespace, name in tables_of(f"{a.data}/catalog.db"):
        table = catalog.load_table((namespace, name))
        quoted = f'"{namespace}"."{name}"'
        wanted = dict(server.execute(f"select name, snapshot_id from staffa.refs('{quoted}')").fetchall())
        compare(f"{name}: refs by pyiceberg", wanted, {n: r.snapshot_id for n, r in table.refs().items()})
        names += len(wanted)
        for snapshot_id, in server.execute(f"select snapshot_id from staffa.snapshots('{quoted}')").fetchall():
            query = f"select count(*) from {quoted} for version as of {snapshot_id}"
            rows = server.execute(query).fetchone()[0]
            compare(f"{name} at {snapshot_id} by pyiceberg", rows, table.scan(snapshot_id=snapshot_id).to_arrow().num_rows)
            scan = f"iceberg_scan('{table.metadata_location}', snapshot_from_id = {snapshot_id})"
            compare(f"{name} at {snapshot_id} by duckdb", rows, duck.execute(f"select count(*) from {scan}").fetchone()[0])
            states += 1
    print(f"{states} states and {names} names compared, {bad} differ")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
