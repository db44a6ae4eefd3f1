"""psycopg 3 on the fixture: typed parameters, binary results, server-side cursors, COPY, RETURNING, DDL under prepared statements."""
import datetime as dt
import decimal
import uuid

import psycopg
from psycopg.types import TypeInfo
from psycopg.types.json import Jsonb

import target

conn = psycopg.connect(target.URL)
cur = conn.cursor()
report = target.Report(recover=conn.rollback)
check = report.check

CUSTOMER = "select id, name, balance, created, tags, doc, u from sales.customer"


def rows(sql, params=None, cursor=cur):
    return cursor.execute(sql, params).fetchall()


def error_of(sql, params=None):
    try:
        conn.execute(sql, params)
    except psycopg.Error as error:
        conn.rollback()
        return error.sqlstate, error.diag.message_primary, error.diag.statement_position
    return "no error"


def description():
    return [(c.name, c.type_code, c.precision, c.scale, c.display_size) for c in cur.description]


conn.execute("set timezone to 'UTC'")
conn.commit()
check("parameter status", lambda: [conn.info.parameter_status(name) for name in (
    "server_encoding", "client_encoding", "DateStyle", "IntervalStyle", "TimeZone", "integer_datetimes",
    "standard_conforming_strings", "is_superuser", "default_transaction_read_only", "in_hot_standby")])
check("typed parameters", lambda: len(rows(
    CUSTOMER + " where id <= %s and balance > %s and name like %s and created < %s",
    (500, decimal.Decimal("1.5"), "n%", dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)))))
check("row description", description)
check("every type", lambda: rows(
    "select * from sales.orders where price > %s and i = any(%s) and d = %s and s = %s and iv = %s and b = %s"
    " and t = %s and by = %s",
    (0.5, [1, 2, 3], dt.date(2024, 1, 2), 1, dt.timedelta(days=1, hours=2), False, dt.time(10), b"\x01\xff")))
check("int and float parameters against numeric", lambda: rows(
    "select balance > %s, balance > %s, balance = %s from sales.customer where id = 1", (1, 1.4, 1.5)))
check("a parameter is not rounded to the column", lambda: rows(
    "select count(*) from sales.customer where balance = %s", (decimal.Decimal("1.4999"),)))
check("uuid and jsonb parameters", lambda: rows(
    "select id from sales.customer where u = %s and doc = %s",
    (uuid.UUID("c4ca4238-a0b9-2382-0dcc-509a6f75849b"), Jsonb({"x": 1}))))
check("quotes in text", lambda: rows("select %s, %s::text", ("it''s a 'quoted' \\ value", "{not, an array}")))
check("null parameters", lambda: rows("select %s::int is null, coalesce(%s, 'x')", (None, None)))
with conn.cursor(binary=True) as binary:
    check("binary customer", lambda: rows(CUSTOMER + " where id = %s", (1,), binary))
    check("binary orders", lambda: rows("select * from sales.orders where id = %s", (1,), binary))
conn.commit()


def prepared():
    for i in range(7):
        cur.execute("select name from sales.customer where id = %s", (i,))
    return cur.fetchall()


def named_cursor():
    with conn.cursor("named") as named:
        named.itersize = 100
        named.execute("select * from sales.customer")
        return sum(1 for _ in named)


check("prepared after five executions", prepared)
check("server-side cursor", named_cursor)
conn.commit()
check("stream", lambda: sum(1 for _ in conn.cursor().stream("select id from sales.customer")))
conn.commit()


def savepoints():
    with conn.transaction():
        conn.execute("select 1")
        try:
            with conn.transaction():
                conn.execute("select nope")
        except psycopg.Error:
            pass
        return rows("select 2")


check("savepoints", savepoints)


def copy_in_and_out():
    with cur.copy("COPY t (a, b) FROM STDIN") as copy:
        copy.write_row((200, "z"))
        copy.write_row((201, None))
    with cur.copy("COPY t (a, b) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(("int4", "text"))
        copy.write_row((202, "tab\tnew\nline"))
    tag = cur.statusmessage
    with cur.copy("COPY (select * from t where a >= 200 order by a) TO STDOUT") as copy:
        text = b"".join(copy)
    with cur.copy("COPY (select * from t where a >= 200 order by a) TO STDOUT (FORMAT csv, HEADER)") as copy:
        csv = b"".join(copy)
    with cur.copy("COPY (select * from t where a >= 200 order by a) TO STDOUT (FORMAT binary)") as copy:
        binary = b"".join(copy)
    return tag, text, csv, binary


def write_and_delete():
    cur.executemany("insert into t values (%s, %s)", [(300 + i, "m") for i in range(5)])
    inserted = cur.rowcount
    cur.execute("delete from t where a >= 200 returning a")
    return inserted, cur.statusmessage, cur.rowcount


check("COPY in and out", copy_in_and_out)
check("executemany, DELETE RETURNING", write_and_delete)
conn.commit()
check("type look-up", lambda: (TypeInfo.fetch(conn, "text").oid, TypeInfo.fetch(conn, "uuid").array_oid))
conn.commit()


def plan_survives_ddl():
    conn.autocommit = True
    conn.execute("create table psy_t (a int)")
    for _ in range(7):
        conn.execute("select * from psy_t where a > %s", (0,))
    with psycopg.connect(target.URL, autocommit=True) as other:
        other.execute("alter table psy_t add column b text")
    try:
        return error_of("select * from psy_t where a > %s", (0,))
    finally:
        conn.execute("drop table psy_t")
        conn.autocommit = False


check("prepared statement after ALTER TABLE", plan_survives_ddl)


check("reset", lambda: [conn.execute(sql).statusmessage for sql in ("close all", "unlisten *", "reset all",
                                                                    "deallocate all")])
conn.close()
report.finish()
