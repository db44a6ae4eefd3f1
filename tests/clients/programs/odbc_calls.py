"""psqlodbc through pyodbc: the ODBC catalog functions, parameters, transactions, errors.

    odbc_calls.py URL [DRIVER] [OPTION=VALUE ...]      for example: … "PostgreSQL Unicode" UseDeclareFetch=1 Fetch=100

Needs pyodbc and Debian's odbc-postgresql, which registers the driver name; DRIVER may also be the path of psqlodbcw.so.
"""
import datetime as dt
import decimal
import sys

import pyodbc

import target

driver = sys.argv[2] if len(sys.argv) > 2 else "PostgreSQL Unicode"
options = ";".join([f"DRIVER={{{driver}}}", f"SERVER={target.HOST}", f"PORT={target.PORT}", f"UID={target.USER}",
                    f"PWD={target.PASSWORD}", f"DATABASE={target.DATABASE}", *sys.argv[3:]])
conn = pyodbc.connect(options)
cur = conn.cursor()
report = target.Report(recover=conn.rollback)
check = report.check


def listing(result, ordered=True):
    rows = [tuple(row)[:8] for row in result.fetchall()]
    # Where the driver's query has no ORDER BY, any order is as good.
    shown = rows[:2] if ordered else sorted(rows, key=str)
    return len(rows), [column[0] for column in result.description][:8], shown


def error_of(sql):
    try:
        cur.execute(sql)
    except pyodbc.Error as error:
        conn.rollback()
        return error.args[0], error.args[1][:60]
    return "no error"


def typed_result():
    cur.execute("select * from sales.customer where id <= ? and balance > ? and name like ?",
                500, decimal.Decimal("1.5"), "n%")
    return len(cur.fetchall()), [(c[0], c[1].__name__, *c[3:6]) for c in cur.description]


def every_type():
    cur.execute("select * from sales.orders where d = ? and ts > ? and b = ? and price > ? order by id",
                dt.date(2024, 1, 2), dt.datetime(2020, 1, 1), False, 0.5)
    return [tuple(row) for row in cur.fetchall()[:1]]


def insert_and_delete():
    cur.execute("insert into t values (?, ?)", 500, "odbc")
    cur.execute("delete from t where a = 500")
    deleted = cur.rowcount
    conn.commit()
    return deleted


check("server", lambda: [str(conn.getinfo(getattr(pyodbc, name)))[:10] for name in (
    "SQL_DBMS_NAME", "SQL_DBMS_VER", "SQL_TXN_CAPABLE", "SQL_IDENTIFIER_QUOTE_CHAR")])
check("tables", lambda: listing(cur.tables(schema="sales")))
check("tables of a type", lambda: listing(cur.tables(schema="sales", tableType="TABLE")))
check("catalogs", lambda: listing(cur.tables(catalog="%", schema="", table="")))
check("schemas", lambda: listing(cur.tables(catalog="", schema="%", table="")))
check("table types", lambda: listing(cur.tables(catalog="", schema="", table="", tableType="%"), ordered=False))
check("columns", lambda: listing(cur.columns(table="orders", schema="sales")))
check("primary keys", lambda: listing(cur.primaryKeys("orders", schema="sales")))
check("foreign keys to", lambda: listing(cur.foreignKeys("customer", schema="sales")))
check("foreign keys from", lambda: listing(cur.foreignKeys(foreignTable="orders", foreignSchema="sales")))
check("statistics", lambda: listing(cur.statistics("orders", schema="sales")))
check("row id", lambda: listing(cur.rowIdColumns("orders", schema="sales")))
check("row version", lambda: listing(cur.rowVerColumns("orders", schema="sales")))
check("procedures", lambda: len(cur.procedures().fetchall()) >= 0)
check("procedure columns", lambda: len(cur.procedureColumns("add1").fetchall()) >= 0)
check("type info", lambda: listing(cur.getTypeInfo()))
check("typed result", typed_result)
check("every type", every_type)
check("insert and delete", insert_and_delete)
check("error", lambda: error_of("select nope"))
check("after the error", lambda: cur.execute("select 1").fetchone()[0])
conn.rollback()
conn.close()
report.finish()
