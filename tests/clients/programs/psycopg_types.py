"""psycopg 3: every type from and to the server, in text and in binary, as parameters, results and COPY."""
import datetime as dt
import decimal
import math
import uuid

import psycopg
from psycopg.types.json import Json, Jsonb
from psycopg.types.numeric import Float4, Int2, Int4, Int8

import target

UTC = dt.timezone.utc
report = target.Report()
conn = psycopg.connect(target.URL, autocommit=True)
conn.execute("set timezone to 'UTC'")

# type -> literals in SQL (all must be equal on both servers, in both formats)
LITERALS = {
    "bool": ["true", "false", "null"],
    "int2": ["'-32768'", "32767", "0"],
    "int4": ["'-2147483648'", "2147483647"],
    "int8": ["'-9223372036854775808'", "9223372036854775807"],
    "float4": ["1.5", "'NaN'", "'Infinity'", "'-0'", "1e-30", "0.1", "16777217"],
    "float8": ["0.1", "'NaN'", "'-Infinity'", "'-0'", "5e-324", "1.7976931348623157e308", "1e16", "100"],
    "numeric": ["0", "1.50", "-0.001", "12345678901234567890.123456789", "1e10", "100000", "10000", "0.0001"],
    "numeric(10,2)": ["1.005", "-99999999.99", "0"],
    "numeric(38,10)": ["9999999999999999999999999999.9999999999", "-0.0000000001"],
    "text": ["''", "'plain'", "'ünï ⌘ 𝄞'", "E'tab\\tline\\nback\\\\slash'", "'{not,an array}'", "'\"quoted\"'"],
    "varchar": ["'abc'"],
    "varchar(3)": ["'abcdef'"],
    "char(5)": ["'ab'", "''"],
    "bytea": ["'\\x'", "'\\x00ff10'", "'abc'"],
    "date": ["'2024-02-29'", "'0001-01-01'", "'9999-12-31'", "'1969-12-31'", "'2000-01-01'"],
    "time": ["'00:00'", "'23:59:59.999999'", "'12:30:00.5'"],
    "timestamp": ["'2024-02-29 13:14:15.678901'", "'1969-12-31 23:59:59.999999'", "'0001-01-01'", "'9999-12-31 23:59:59'"],
    "timestamptz": ["'2024-02-29 13:14:15+02'", "'1999-12-31 23:59:59.5-05:30'", "'1970-01-01 00:00:00Z'"],
    "interval": ["'1 day'", "'-3 days +04:05:06.789'", "'00:00:00'", "'36 hours'", "'-00:00:00.000001'"],
    "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"],
    "json": ["'{\"b\": 1,  \"a\": [1, null]}'", "'\"text\"'", "'1'"],
    "jsonb": ["'{\"a\": [1, null], \"b\": {\"c\": 1.50}}'", "'null'", "'true'"],
    "int4[]": ["'{}'", "'{1,NULL,-3}'", "array[[1,2],[3,4]]", "null"],
    "text[]": ["'{a,\"b c\",NULL,\"NULL\",\"\",\"q\\\"x\"}'"],
    "numeric[]": ["'{1.50,NULL}'"],
    "bool[]": ["'{t,f,NULL}'"],
    "date[]": ["'{2024-01-01,NULL}'"],
    "timestamptz[]": ["'{2024-01-01 00:00:00+02}'"],
    "uuid[]": ["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"],
    "float8[]": ["'{1.5,NaN,Infinity}'"],
}

# Python values as parameters, with the type they are compared to
PARAMETERS = [
    (True, "bool"), (Int2(-5), "int2"), (Int4(70000), "int4"), (Int8(5_000_000_000), "int8"), (12, "numeric"),
    (Float4(1.5), "float4"), (0.1, "float8"), (math.inf, "float8"), (decimal.Decimal("-12345.6789"), "numeric"),
    (decimal.Decimal("0.00001"), "numeric"), (decimal.Decimal("1E+5"), "numeric"), ("text ünï", "text"), ("", "text"),
    ("it''s a 'quoted' \\ value", "text"), ("abc", "varchar"), (b"\x00\x01\xff", "bytea"), (b"", "bytea"),
    (dt.date(2024, 2, 29), "date"), (dt.time(13, 14, 15, 678901), "time"), (dt.datetime(2024, 2, 29, 13, 14, 15, 678901), "timestamp"),
    (dt.datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), "timestamptz"), (dt.timedelta(days=-1, seconds=5, microseconds=7), "interval"),
    (uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), "uuid"), (Json({"a": [1, None]}), "json"), (Jsonb({"a": 1}), "jsonb"),
    ([1, None, 3], "int4[]"), (["a", None, "b c"], "text[]"), ([], "text[]"), ([decimal.Decimal("1.5")], "numeric[]"),
    ([dt.date(2024, 1, 1)], "date[]"), (None, "int4"), (None, "text"),
]


def rows(sql, parameters=None, binary=False, **options):
    with conn.cursor(binary=binary) as cursor:
        return cursor.execute(sql, parameters, **options).fetchall()


def described(sql):
    with conn.cursor() as cursor:
        cursor.execute(sql)
        return [(c.type_code, c.precision, c.scale, c.display_size, c.internal_size) for c in cursor.description]


for kind, literals in LITERALS.items():
    for literal in literals:
        sql = f"select {literal}::{kind}"
        for binary in (False, True):
            report.check(f"{sql} {'binary' if binary else 'text'}", lambda: repr(rows(sql, binary=binary)))
        report.check(f"{sql} as text", lambda: rows(f"select ({literal}::{kind})::text"))
    report.check(f"description of {kind}", lambda: described(f"select null::{kind}"))

for value, kind in PARAMETERS:
    for format in ("%s", "%b", "%t"):
        sql = f"select {format}::{kind}, {format}::{kind} is null"
        report.check(f"parameter {value!r} {kind} {format}", lambda: repr(rows(sql, (value, value), binary=format == "%b")))

# Through a table, in both formats and by COPY.
columns = {"b": "bool", "s": "int2", "i": "int4", "l": "int8", "f": "float4", "d": "float8", "n": "numeric(12,3)",
           "t": "text", "v": "varchar(20)", "c": "char(4)", "y": "bytea", "da": "date", "ti": "time", "ts": "timestamp",
           "tz": "timestamptz", "iv": "interval", "u": "uuid", "j": "json", "jb": "jsonb", "ia": "int4[]", "ta": "text[]"}
row = (True, 1, 2, 3, 1.5, 0.1, decimal.Decimal("-1.500"), "text", "varchar", "ch", b"\x00\xff", dt.date(2024, 1, 2), dt.time(3, 4, 5, 6),
       dt.datetime(2024, 1, 2, 3, 4, 5, 6), dt.datetime(2024, 1, 2, 3, 4, 5, 6, UTC), dt.timedelta(days=1, seconds=2),
       uuid.UUID(int=5), Json([1, {"a": None}]), Jsonb({"k": "v"}), [1, None], ["x", None, "y z"])
names = ", ".join(columns)
conn.execute("drop table if exists psycopg_types")
conn.execute(f"create table psycopg_types ({', '.join(f'{n} {t}' for n, t in columns.items())})")
marks = {f: ", ".join([f] * len(row)) for f in ("%s", "%b", "%t")}
for format, mark in marks.items():
    report.check(f"insert {format}", lambda: conn.execute(f"insert into psycopg_types values ({mark})", row).statusmessage)
report.check("insert nulls", lambda: conn.execute(f"insert into psycopg_types values ({marks['%s']})", (None,) * len(row)).statusmessage)
for binary in (False, True):
    report.check(f"table, binary {binary}", lambda: repr(rows(f"select {names} from psycopg_types order by i", binary=binary)))
report.check("table described", lambda: described("select * from psycopg_types"))


def copy_out(options):
    with conn.cursor().copy(f"copy (select * from psycopg_types order by i) to stdout {options}") as copy:
        return b"".join(bytes(part) for part in copy)


for options in ("", "(format csv, header)", "(format binary)", "(format csv, delimiter ';', null 'N', force_quote *)", "(delimiter '|', null '-')"):
    report.check(f"copy out {options}", lambda: copy_out(options))


def copy_round(options):
    data = copy_out(options)
    conn.execute("drop table if exists psycopg_copy")
    conn.execute(f"create table psycopg_copy ({', '.join(f'{n} {t}' for n, t in columns.items())})")
    with conn.cursor() as cursor:
        with cursor.copy(f"copy psycopg_copy from stdin {options}") as copy:
            copy.write(data)
        tag = cursor.statusmessage
    same = rows("select * from psycopg_copy order by i") == rows("select * from psycopg_types order by i")
    return tag, same


for options in ("", "(format csv, header)", "(format binary)", "(format csv, delimiter ';', null 'N', force_quote *)"):
    report.check(f"copy in {options}", lambda: copy_round(options if "force_quote" not in options else "(format csv, delimiter ';', null 'N')"))


def copy_rows():
    with conn.cursor() as cursor:
        with cursor.copy("copy psycopg_copy (i, t, n, ta) from stdin (format binary)") as copy:
            copy.set_types(["int4", "text", "numeric", "text[]"])
            copy.write_row((100, "tab\tnew\nline", decimal.Decimal("1.5"), ["a", None]))
            copy.write_row((101, None, None, []))
        return cursor.statusmessage, rows("select i, t, n, ta from psycopg_copy where i >= 100 order by i")


report.check("copy rows in binary", copy_rows)
# Comparisons convert the column, never the parameter.
report.check("parameters are not rounded", lambda: rows(
    "select n = %s, n = %s, n < %s, d > %s, i = %s, l = %s from psycopg_types where i is not null limit 1",
    (decimal.Decimal("-1.5"), decimal.Decimal("-1.5001"), -1.4, 0, 2.0, decimal.Decimal("3"))))
report.check("any of an array", lambda: rows("select count(*) from psycopg_types where i = any(%s)", ([1, 2, 3],)))
report.check("prepared", lambda: [rows("select %s::int4 + i from psycopg_types where i = 2 limit 1", (k,), binary=k % 2, prepare=True) for k in range(6)])
conn.execute("drop table psycopg_types")
conn.execute("drop table psycopg_copy")
report.finish()
