"""ADBC: results by binary COPY in the extended protocol, catalog, ingest. Needs adbc-driver-postgresql and pyarrow."""
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

import target

conn = adbc.connect(target.url())
cur = conn.cursor()
report = target.Report(recover=conn.rollback)


def table(sql, parameters=None):
    cur.execute(sql, parameters=parameters)
    return cur.fetch_arrow_table()


def shape(result):
    return result.num_rows, [(field.name, str(field.type)) for field in result.schema]


def ingest():
    data = pa.table({"a": [1, 2], "b": ["x", None], "c": pa.array([1.5, None])})
    cur.adbc_ingest("adbc_t", data, mode="create")
    back = table("select * from adbc_t order by a").to_pylist()
    cur.execute("drop table adbc_t")
    conn.commit()
    return back


report.check("customer", lambda: shape(table("select * from sales.customer")))
report.check("orders", lambda: shape(table("select * from sales.orders")))
report.check("values", lambda: table("select * from sales.orders order by id limit 1").to_pylist())
report.check("parameter", lambda: table("select id from sales.orders where i = $1", (1,)).to_pylist())
report.check("objects", lambda: conn.adbc_get_objects(depth="columns", db_schema_filter="sales").read_all().num_rows)
report.check("table schema", lambda: [(f.name, str(f.type)) for f in
                                      conn.adbc_get_table_schema("orders", db_schema_filter="sales")])
report.check("ingest", ingest)
conn.close()
report.finish()
