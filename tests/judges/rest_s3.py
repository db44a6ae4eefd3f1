"""pyiceberg writes to a table on S3 through the REST catalog, with credentials of its own, and reads what SQL wrote.

    python rest_s3.py --rest URL --url postgresql://… --endpoint http://… --key K --secret S
"""
import argparse
import sys

import psycopg
import pyarrow as pa

from engines import Checks, pyiceberg_on


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("--rest", "--url", "--endpoint", "--key", "--secret"):
        p.add_argument(name, required=True)
    a = p.parse_args()
    checks = Checks()
    server = psycopg.connect(a.url, autocommit=True)
    store = {"s3.endpoint": a.endpoint, "s3.access-key-id": a.key, "s3.secret-access-key": a.secret, "s3.region": "us-east-1"}
    catalog = pyiceberg_on(a.rest, **store)
    server.execute("create table ours (id bigint)")
    server.execute("insert into ours values (1), (2)")
    catalog.load_table("public.ours").append(pa.table({"id": pa.array([3], pa.int64())}))
    server.execute("delete from ours where id = 1")
    checks.same("read by SQL", [(2,), (3,)], server.execute("select id from ours order by 1").fetchall())
    checks.same("read by pyiceberg", [2, 3], sorted(catalog.load_table("public.ours").scan().to_arrow()["id"].to_pylist()))
    theirs = catalog.create_table("public.theirs", schema=pa.schema([("id", pa.int64())]))
    theirs.append(pa.table({"id": pa.array([7], pa.int64())}))
    checks.same("their table", [(7,)], server.execute("select id from theirs").fetchall())
    checks.same("it is in the bucket", True, theirs.location().startswith("s3://"))
    sys.exit(checks.end())


if __name__ == "__main__":
    main()
