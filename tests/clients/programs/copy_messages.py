"""COPY message by message, in and out, in every format and both protocols, and what is wrong with data."""
import struct

import target
from raw import SYNC, Raw, bind, copy_fail, describe, execute, parse, query, run

report = target.Report()
one = Raw(target.URL)
for sql in ("drop table if exists cp", "drop table if exists cq", "create table cp (a int, b text, c numeric(10,2), d date, e boolean)", "create table cq (a bigint, b text not null)",
            "drop table if exists cr", "create table cr (a int constraint positive check (a > 0), b text not null default 'none', c int generated always as (a * 2) stored)"):
    one.send(query(sql))


def lines(answers):
    return "\n     ".join(["", *answers])


def said(name, *messages):
    report.check(name, lambda: lines(one.send(*messages)))


def copy_in(sql, *data, **more):
    report.check(f"{sql} {more.get('end', b'')!r:.20} {[bytes(d[:40]) for d in data[:4]]}", lambda: lines(one.copy(sql, *data, **more)))


def rows():
    said("rows", query("select * from cp order by a, b; truncate cp"))


# In.
copy_in("copy cp from stdin", b"1\tx\t1.50\t2024-01-02\tt\n2\t\\N\t\\N\t\\N\tf\n")
copy_in("copy cp (a, b) from stdin", b"3\ta\\tb\\nc\\\\d\\x41\\101\n", b"4\t", b"cut\n5\tlast")
copy_in("copy cp from stdin (format text, delimiter '|', null 'NULL')", b"6|NULL|2|2024-01-02|f\n\\.\n")
rows()
copy_in("copy cp (a, b) from stdin csv", b'1,"x ""quoted"", and more"\n2,\n3,""\n4,"two\nlines"\n')
copy_in("copy cp (b, a) from stdin with (format csv, header)", b"b,a\nhead,5\n")
copy_in("copy cp (b, a) from stdin with (format csv, header match)", b"b,a\nhead,6\n")
copy_in("copy cp (b, a) from stdin with (format csv, header match)", b"a,b\nhead,6\n")
copy_in("copy cp (b, a) from stdin with (format csv, header match)", b"b\nhead,6\n")
copy_in("copy cp (a, b) from stdin with (format csv, delimiter ';', quote '''', escape '\\', null 'nil')", b"7;'it\\'s; ok'\n8;nil\n9;'nil'\n")
copy_in("copy cp (a, b) from stdin with (format csv, force_null (b))", b'10,""\n11,x\n')
copy_in("copy cp (a, b) from stdin with (format csv, force_not_null (b))", b"12,\n")
copy_in("copy cp (a, b) from stdin with csv header delimiter '\t' null as ''", b"a\tb\n13\t\n")
copy_in("copy cp (a, b) from stdin csv", b"14,crlf\r\n15,more\r\n")
copy_in("copy cp (a, b) from stdin (freeze off, header)", b"ignored\n16\ttext header\n")
rows()
copy_in("copy cp from stdin", b"")
copy_in("copy cp from stdin", b"1\tx\t1\t2024-01-01\tt\n", extended=True)
copy_in("copy cp (a) from stdin", b"77\n", end=copy_fail("enough"))
copy_in("copy cp (a) from stdin", b"77\n", end=copy_fail("enough"), extended=True)
rows()
binary = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
copy_in("copy cp (a, b) from stdin (format binary)", binary + struct.pack("!hii", 2, 4, 1) + struct.pack("!i", 3) + b"abc" + struct.pack("!hiii", 2, 4, 2, -1) + struct.pack("!h", -1))
copy_in("copy cp (a, b) from stdin binary", binary + struct.pack("!hii", 2, 4, 3) + struct.pack("!i", 1), b"z", struct.pack("!h", -1), extended=True)
rows()

# What is wrong with data.
copy_in("copy cp from stdin", b"1\tx\n")
copy_in("copy cp (a, b) from stdin", b"1\tx\ty\n")
copy_in("copy cp (a, b) from stdin", b"1\tx\nnope\ty\n")
copy_in("copy cp (a, b) from stdin", b"1\tx\n\ty\n")
copy_in("copy cp (a, d) from stdin", b"1\t2024-13-01\n")
copy_in("copy cp (a, c) from stdin", b"1\t123456789.00\n")
copy_in("copy cp (e) from stdin", b"maybe\n")
copy_in("copy cp (a) from stdin", b"99999999999\n")
copy_in("copy cp (b) from stdin", b"\xff\xfe\n")
copy_in("copy cp (a, b) from stdin csv", b'1,"open\n')
copy_in("copy cp (a, b) from stdin csv", b"1\n")
copy_in("copy cp (a, b) from stdin csv", b"1,2,3\n")
copy_in("copy cp (a, b) from stdin csv", b"1,x\nz,y\n")
copy_in("copy cp (a, b) from stdin csv header", b"a,b\n1,x\nz,y\n")
copy_in("copy cp (a, b) from stdin", b"1\tx\r\n2\ty\n")
copy_in("copy cq from stdin", b"1\t\\N\n")
copy_in("copy cq (a) from stdin", b"1\n")
copy_in("copy cp (a) from stdin", b"1\n\\.\nmore\n")
copy_in("copy cp (a, b) from stdin (format binary)", b"not binary at all, is it?")
copy_in("copy cp (a, b) from stdin (format binary)", binary + struct.pack("!h", 1) + struct.pack("!ii", 4, 1) + struct.pack("!h", -1))
copy_in("copy cp (a, b) from stdin (format binary)", binary + struct.pack("!hii", 2, 4, 1) + struct.pack("!i", 30) + b"abc")
copy_in("copy cp (a, b) from stdin (format binary)", binary + struct.pack("!hihi", 2, 2, 1, -1) + struct.pack("!h", -1))
copy_in("copy cp (a, b) from stdin (format binary)", binary)
copy_in("copy cp (a) from stdin", b"a long value that is no number and goes on for more than one hundred characters so that it is cut somewhere along its way\n")
copy_in("copy cr from stdin", b"1\tx\n-1\ty\n")
copy_in("copy cr (b, a) from stdin csv header", b'b,a\nx,1\n"two\nlines",2\ny,0\n')
copy_in("copy cr (a) from stdin", b"1\n2\n", b"-3\n", end=copy_fail("enough"))
copy_in("copy cr (b, a) from stdin", b"a long value that is a text and goes on for more than one hundred characters so that the line is cut somewhere along its way\t-7\n")
copy_in("copy cr (a, b) from stdin csv", b"1,x\n5,\n")
copy_in("copy cr (a, b) from stdin (format binary)", binary + struct.pack("!hii", 2, 4, 1) + struct.pack("!i", 1) + b"z" + struct.pack("!hiii", 2, 4, 2, -1) + struct.pack("!h", -1))
copy_in("copy cr (a) from stdin (format binary)", binary + struct.pack("!hii", 1, 4, 1), struct.pack("!hii", 1, 4, -1) + struct.pack("!h", -1))
copy_in("copy cr (a) from stdin (format binary)", binary + struct.pack("!hii", 1, 4, 1), end=copy_fail("enough"))
copy_in("copy cr from stdin csv", b"1,x\n2,", end=copy_fail("enough"))
rows()

# Options and names.
for sql in ("copy nope from stdin", "copy cp (nope) from stdin", "copy cp (a, a) from stdin", "copy cp from stdin (format xml)", "copy cp from stdin (nope)",
            "copy cp from stdin (format csv, format csv)", "copy cp from stdin (delimiter 'ab')", "copy cp from stdin (delimiter E'\\n')", "copy cp from stdin (delimiter 'a')",
            "copy cp from stdin (quote '\"')", "copy cp from stdin (format csv, quote ',')", "copy cp from stdin (format csv, delimiter 'x', null 'x')", "copy cp from stdin (format binary, header)",
            "copy cp from stdin (format binary, delimiter ',')", "copy cp from stdin (format binary, null 'x')", "copy cp from stdin (header maybe)", "copy cp to stdout (header match)",
            "copy cp to stdout (format csv, force_null (a))", "copy cp from stdin (format csv, force_quote (a))", "copy cp to stdout (format csv, force_quote (nope))",
            "copy cp from stdin (format csv, force_null (nope))", "copy cp from stdin (force_null (a))", "copy cp to stdout (encoding 'nope')", "copy cp from stdin (null E'a\\nb')",
            "copy (insert into cp values (1)) to stdout", "copy (select 1 as a, 2 as a) to stdout csv header", "copy cp from stdin (escape 'x')", "copy cp from stdin (format csv, escape 'xy')",
            "copy (select nope from cp) to stdout", "copy cp to stdout where a > 1", "copy cp from", "copy cp from stdin (", "copy (select 1) from stdin", "copy cp from stdin (freeze 3)"):
    said(sql, query(sql))

# Out.
one.send(query("insert into cp values (1, E'tab\\tline\\nback\\\\', 1.5, '2024-01-02', true), (2, null, null, null, false), (3, '', 0, '0001-01-01', null), (4, 'q\"uote, it''s', -1.25, 'infinity', true), (5, E'\\\\.', 1, null, null)"))
for options in ("", "(format csv)", "(format csv, header)", "(format csv, force_quote *)", "(format csv, force_quote (b, d))", "(format csv, null 'nil', delimiter '|', quote '''', escape '\\')",
                "(header)", "(delimiter ',', null '')", "(format binary)", "csv header", "binary", "(header false, format text)"):
    said(f"out {options}", query(f"copy (select * from cp order by a) to stdout {options}"))
said("a table", query("copy cp (b, a) to stdout (format csv)"))
said("no rows", query("copy (select a from cp where false) to stdout (format csv, header); copy (select a from cp where false) to stdout (format binary); copy (select a from cp where false) to stdout"))
said("extended", run("copy (select a, b from cp order by a) to stdout (format binary)") + SYNC)
said("extended described", parse("copy (select a from cp order by a) to stdout", "s") + describe(b"S", "s") + bind("", "s") + describe(b"P") + execute() + SYNC)
said("limit is not for it", bind("", "s") + execute(rows=1) + SYNC)
said("among others", query("select 1; copy (select 2) to stdout; select 3"))
said("in a block", query("begin; copy cp (a) to stdout; commit"))
said("error on the way", query("copy (select 1 / (a - a) from cp) to stdout"))
said("settings", query("set datestyle = 'ISO, DMY'; set bytea_output = 'escape'; copy (select date '2024-02-01', 'ab'::bytea) to stdout; discard all"))
said("array and others", query("copy (select array['a,b', null, 'c\"d'], '{\"k\": 1}'::jsonb, interval '1 day', timestamptz '2024-01-01 00:00+00', 'x'::bytea) to stdout csv"))
said("dropped", query("drop table cp; drop table cq; drop table cr"))
report.finish()
