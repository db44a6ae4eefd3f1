"""Makes the catalog database of a warehouse what an older version of Staffa would have made it.

    python older_catalog.py --data DIR --schema golden/catalog-N.sql

The tables are made by the schema of that version, and get the rows that it knew.
"""
import argparse
import os
import pathlib
import sqlite3

ROWS = {
    "staffa_database": ["name"],
    "iceberg_namespace_properties": ["catalog_name", "namespace", "property_key", "property_value"],
    "iceberg_tables": ["catalog_name", "table_namespace", "table_name", "metadata_location", "previous_metadata_location", "iceberg_type"],
    "staffa_setting": ["name", "value"],
    "staffa_object": ["name", "number"],
    "staffa_access": ["object", "definition", "csn"],
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--schema", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    path, older = arguments.data / "catalog.db", arguments.data / "older.db"
    with sqlite3.connect(path) as now, sqlite3.connect(older) as then:
        then.executescript(arguments.schema.read_text())
        known = {name for (name,) in then.execute("select name from sqlite_master where type='table'")}
        for table, columns in ROWS.items():
            if table in known:
                named = ", ".join(columns)
                marks = ", ".join("?" * len(columns))
                rows = now.execute(f"select {named} from {table}").fetchall()
                rows = [row for row in rows if row[0] != "made_by"]
                then.executemany(f"insert into {table}({named}) values ({marks})", rows)
        # Before there were grants a role was its password.
        then.execute("insert into staffa_role(name, verifier) values ('reader', 'SCRAM-SHA-256$4096:AAAA$BBBB:CCCC')")
    then.close()
    now.close()
    for suffix in ("-wal", "-shm"):
        pathlib.Path(f"{path}{suffix}").unlink(missing_ok=True)
    os.replace(older, path)


main()
