"""pyiceberg and DuckDB read and write tables through the server's REST catalog, and see each other's and the server's rows.

    python rest_engines.py --rest http://HOST:PORT --url postgresql://admin@HOST:PORT/staffa [--password P]

Exit status 1 when one of the three sees other rows than the others.
"""
import argparse
import datetime
import decimal
import sys

import psycopg
import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, NamespaceNotEmptyError, NoSuchTableError
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, MonthTransform, TruncateTransform
from pyiceberg.types import DateType, DecimalType, IntegerType, LongType, NestedField, StringType

from engines import Checks, duckdb_on, pyiceberg_on


class Three:
    """The three engines, and the question whether they agree."""

    def __init__(self, a):
        self.checks = Checks()
        self.server = psycopg.connect(a.url, autocommit=True)
        self.catalog = pyiceberg_on(a.rest, a.password)
        self.duck = duckdb_on(a.rest, a.password)

    def sql(self, text):
        cursor = self.server.execute(text)
        return cursor.fetchall() if cursor.description else None

    def agree(self, what, table, columns, wanted):
        """All three see these rows, sorted."""
        query = f"select {', '.join(columns)} from {table} order by {', '.join(str(i + 1) for i in range(len(columns)))}"
        self.checks.same(f"{what}: the server", wanted, self.sql(query))
        self.checks.same(f"{what}: duckdb", wanted, self.duck.execute(query.replace(table, f"ice.{table}")).fetchall())
        scanned = self.catalog.load_table(table).scan(selected_fields=tuple(columns)).to_arrow()
        rows = list(zip(*[scanned[c].to_pylist() for c in columns])) if scanned.num_rows else []
        key = lambda row: tuple((v is None, v) for v in row)
        self.checks.same(f"{what}: pyiceberg", sorted(wanted, key=key), sorted(rows, key=key))


def pyiceberg_writes(t):
    t.catalog.create_namespace("py", {"owner": "judge"})
    schema = Schema(NestedField(1, "id", LongType(), required=False), NestedField(2, "d", DateType(), required=False))
    spec = PartitionSpec(PartitionField(2, 1000, MonthTransform(), "d_month"), PartitionField(1, 1001, BucketTransform(4), "id_bucket"))
    table = t.catalog.create_table("py.p", schema=schema, partition_spec=spec)

    def rows(first, count, **more):
        days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=i) for i in range(count)]
        return pa.table({"id": pa.array(range(first, first + count), pa.int64()), "d": days, **more})

    table.append(rows(0, 100))
    t.checks.same("appended", [(100, 4950)], t.sql("select count(*), sum(id)::bigint from py.p"))
    with table.update_schema() as update:
        update.add_column("s", StringType())
    with table.update_spec() as update:
        update.add_field("s", TruncateTransform(3), "s_trunc")
    table.append(rows(1000, 3, s=["abcdef", "abcxyz", None]))
    table.delete("id < 95")
    left = [(95, None), (96, None), (97, None), (98, None), (99, None), (1000, "abcdef"), (1001, "abcxyz"), (1002, None)]
    t.agree("pyiceberg's appends, evolutions and delete", "py.p", ["id", "s"], left)
    with table.update_schema() as update:
        update.rename_column("s", "label")
        update.add_column("n", IntegerType())
        update.add_column("gone", StringType())
    table.append(rows(2000, 1, label=["new"], n=pa.array([7], pa.int32())))
    table.overwrite(rows(3000, 1, label=["over"], n=pa.array([8], pa.int32())), "id >= 1001")
    t.sql("update py.p set n = 1 where id = 1000")
    t.duck.execute("insert into ice.py.p values (4000, date '2025-01-01', 'duck', 9, null)")
    # DuckDB 1.5.5 cannot delete from a table whose partitioning was changed.
    t.sql("delete from py.p where id = 95")
    left = [(96, None, None), (97, None, None), (98, None, None), (99, None, None), (1000, "abcdef", 1), (3000, "over", 8), (4000, "duck", 9)]
    t.agree("all three on one table", "py.p", ["id", "label", "n"], left)
    with table.refresh().update_schema() as update:
        update.update_column("n", LongType())
        update.delete_column("gone")
    t.checks.same("the server sees columns of others", [("id", "bigint"), ("d", "date"), ("label", "text"), ("n", "bigint")],
                  t.sql("select column_name, data_type from information_schema.columns where table_schema='py' and table_name='p' order by ordinal_position"))
    t.sql("alter table py.p add column back text")
    t.sql("insert into py.p (id, back) values (5000, 'server')")
    t.agree("after columns of both", "py.p", ["id", "back"], [(i, None) for i in (96, 97, 98, 99, 1000, 3000, 4000)] + [(5000, "server")])
    with table.refresh().transaction() as transaction:
        transaction.set_properties({"note": "in one"})
        transaction.append(rows(6000, 1, label=["in one"]))
    t.checks.same("a transaction of pyiceberg", [(1,)], t.sql("select count(*)::int from py.p where id = 6000"))
    tagged = table.refresh().current_snapshot().snapshot_id
    table.manage_snapshots().create_tag(tagged, "keep").commit()
    t.checks.same("a tag", [("keep",), ("main",)], t.sql("select name from staffa.refs('py.p') order by 1"))
    t.checks.same("version as of a tag", [(9,)], t.sql("select count(*)::int from py.p for version as of 'keep'"))


def a_table_of_the_server(t):
    t.sql("create schema srv")
    t.sql("create table srv.kinds (id int not null, v varchar(5), n numeric(10, 2), day date, check (id > 0)) partition by (month(day))")
    t.sql("insert into srv.kinds values (1, 'one', 1.25, '2024-01-15'), (2, 'two', null, '2024-02-01')")
    table = t.catalog.load_table("srv.kinds")
    arrow = pa.schema([pa.field("id", pa.int32(), False), ("v", pa.string()), ("n", pa.decimal128(10, 2)), ("day", pa.date32())])
    table.append(pa.Table.from_pylist([{"id": 3, "v": "three", "n": decimal.Decimal("3.50"), "day": datetime.date(2024, 1, 3)}], schema=arrow))
    t.duck.execute("insert into ice.srv.kinds values (4, 'four', 4.75, date '2024-03-01')")
    d = decimal.Decimal
    rows = [(1, "one", d("1.25")), (2, "two", None), (3, "three", d("3.50")), (4, "four", d("4.75"))]
    t.agree("a table of the server", "srv.kinds", ["id", "v", "n"], rows)
    t.sql("delete from srv.kinds where id in (2, 3)")
    t.sql("update srv.kinds set n = n + 1 where id = 4")
    t.duck.execute("update ice.srv.kinds set v = 'uno' where id = 1")
    t.agree("changed by the server and DuckDB", "srv.kinds", ["id", "v", "n"], [(1, "uno", d("1.25")), (4, "four", d("5.75"))])
    stale = t.catalog.load_table("srv.kinds")
    t.sql("insert into srv.kinds values (5, 'five', 5, '2024-05-05')")
    try:
        with stale.update_schema() as update:
            update.rename_column("id", "other")
        t.checks.same("renaming a column that a CHECK names", "an error", "nothing")
    except Exception as error:
        t.checks.same("renaming a column that a CHECK names", True, "kinds_id_check" in str(error) or "constraint" in str(error).lower())


def duckdb_writes(t):
    for sql, wanted in [
        ("create schema ice.dk", None),
        ("create table ice.dk.a(id bigint, s varchar, d date)", None),
        ("create table ice.dk.b(id bigint, s varchar)", None),
        ("insert into ice.dk.a select range, 's'||range, date '2024-01-01'+range::int from range(1000)", None),
        ("insert into ice.dk.b select range, 's'||range from range(1000)", None),
        ("delete from ice.dk.a where id%10=3", None),
        ("update ice.dk.a set s='upd' where id=5", None),
        ("select count(*), sum(id) from ice.dk.a", [(900, 449700)]),
        ("begin", None),
        ("insert into ice.dk.a values(5000,'tx',null)", None),
        ("insert into ice.dk.b values(5000,'tx'),(5001,'tx')", None),
        ("commit", None),
        ("alter table ice.dk.a add column z int", None),
        ("merge into ice.dk.a t using (select 7 id, 'm' s) q on t.id=q.id when matched then update set s=q.s"
         " when not matched then insert values(q.id,q.s,null,null)", None),
        ("create table ice.dk.p(id bigint, d date) partitioned by (month(d), bucket(4,id))", None),
        ("insert into ice.dk.p select range, date '2024-01-01'+range::int from range(100)", None),
        ("create table ice.dk.made(one bigint, two varchar)", None),
        ("insert into ice.dk.made values (1, 'x')", None),
    ]:
        try:
            got = t.duck.execute(sql).fetchall()
        except Exception as error:
            t.checks.same(sql, "no error", str(error)[:400])
            continue
        if wanted is not None:
            t.checks.same(sql, wanted, got)
    t.checks.same("deletes and updates of DuckDB", [(901, 454700)], t.sql("select count(*)::int, sum(id)::bigint from dk.a"))
    t.checks.same("its transaction", [(1002,)], t.sql("select count(*)::int from dk.b"))
    t.agree("what DuckDB changed", "dk.a", ["id", "s"],
            sorted([(i, "upd" if i == 5 else "m" if i == 7 else f"s{i}") for i in range(1000) if i % 10 != 3] + [(5000, "tx")]))
    t.checks.same("partitions of DuckDB", [(31,)], t.sql("select count(*)::int from dk.p where d < '2024-02-01'"))
    t.agree("a table of DuckDB", "dk.made", ["one", "two"], [(1, "x")])
    t.sql("delete from dk.a where id % 10 = 4")
    t.sql("insert into dk.a (id, z) values (9999, 1)")
    t.checks.same("DuckDB sees what the server changed", [(802,)], t.duck.execute("select count(*) from ice.dk.a").fetchall())
    t.checks.same("pyiceberg too", 802, t.catalog.load_table("dk.a").scan().to_arrow().num_rows)
    t.duck.execute("drop table ice.dk.made")
    t.checks.same("dropped by DuckDB", [], t.sql("select 1 from information_schema.tables where table_schema='dk' and table_name='made'"))
    t.duck.execute("create table ice.dk.v3(id bigint, s varchar) with ('format-version'='3')")
    t.duck.execute("insert into ice.dk.v3 select range, 's'||range from range(1000)")
    t.duck.execute("delete from ice.dk.v3 where id%10=3")
    t.checks.same("version 3 with deletion vectors", [(900, 449700)], t.sql("select count(*)::int, sum(id)::bigint from dk.v3"))


def names(t):
    t.catalog.create_namespace("nm")
    table = t.catalog.create_table("nm.one", schema=Schema(NestedField(1, "id", LongType(), required=False), NestedField(2, "x", DecimalType(9, 3), required=False)))
    table.append(pa.table({"id": pa.array([1], pa.int64())}))
    t.catalog.rename_table("nm.one", "nm.two")
    t.checks.same("renamed", [(1,)], t.sql("select count(*)::int from nm.two"))
    try:
        t.catalog.load_table("nm.one")
        t.checks.same("the old name", "an error", "a table")
    except NoSuchTableError:
        pass
    try:
        t.catalog.drop_namespace("nm")
        t.checks.same("dropping a namespace with a table", "an error", "nothing")
    except NamespaceNotEmptyError:
        pass
    location = t.catalog.load_table("nm.two").metadata_location
    t.catalog.drop_table("nm.two")
    t.catalog.register_table("nm.three", location)
    t.agree("dropped and registered again", "nm.three", ["id"], [(1,)])
    t.catalog.load_table("nm.three").append(pa.table({"id": pa.array([2], pa.int64())}))
    t.agree("and written to", "nm.three", ["id"], [(1,), (2,)])
    stale = t.catalog.load_table("nm.three")
    t.sql("insert into nm.three (id) values (3)")
    try:
        with stale.update_schema() as update:
            update.add_column("y", StringType())
        ok = True
    except CommitFailedException:
        ok = False
    t.checks.same("a change of columns beside an append", True, ok)
    t.agree("keeps the append", "nm.three", ["id"], [(1,), (2,), (3,)])
    with t.catalog.create_table_transaction("nm.staged", schema=Schema(NestedField(1, "id", LongType(), required=False))) as staged:
        staged.append(pa.table({"id": pa.array([10, 11], pa.int64())}))
    t.agree("staged, filled and made at once", "nm.staged", ["id"], [(10,), (11,)])
    t.sql("create view nm.seen as select id from nm.three")
    t.checks.same("views", [("nm", "seen")], [tuple(i) for i in t.catalog.list_views("nm")])
    t.checks.same("view metadata", ["staffa"],
                  [r.root.dialect for r in t.catalog.load_view("nm.seen").metadata.versions[0].representations])
    t.checks.same("tables", [("nm", "staged"), ("nm", "three")], sorted(tuple(i) for i in t.catalog.list_tables("nm")))
    t.checks.same("properties", {"owner": "judge"}, t.catalog.load_namespace_properties("py"))
    t.catalog.update_namespace_properties("py", removals={"owner", "none"}, updates={"a": "b"})
    t.checks.same("properties changed", {"a": "b"}, t.catalog.load_namespace_properties("py"))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rest", required=True)
    p.add_argument("--url", required=True)
    p.add_argument("--password")
    a = p.parse_args()
    t = Three(a)
    for part in (names, pyiceberg_writes, a_table_of_the_server, duckdb_writes):
        if part is names:
            t.catalog.create_namespace("py", {"owner": "judge"})
        elif part is pyiceberg_writes:
            t.catalog.drop_namespace("py")
        part(t)
    sys.exit(t.checks.end())


if __name__ == "__main__":
    main()
