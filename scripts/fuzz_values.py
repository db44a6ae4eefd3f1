"""Random expressions over numbers, texts, dates and intervals on Staffa and PostgreSQL side by side: same value as text,
same type, same modifier, or it is told.

    python scripts/fuzz_values.py --program target/release/staffa --seed 7 --count 2000

Expression number i of a seed is always the same: `--seed 7 --first 123 --count 1 --print` shows it. Half of them are over
the columns of a small table, half over literals; some are aggregated or windowed. What Staffa refuses (0A000, 42883) and
overflows of more than 38 digits (22003) are counted, not told. STAFFA_ORACLE=HOST:PORT and --server HOST:PORT use
servers that run already.
"""
import argparse
import collections
import contextlib
import random
import sys
import tempfile

import psycopg

import oracle
import server

R = random.Random()
REFUSED = ("0A000", "42883", "53200")
TABLE = """
create table v (i int, l bigint, s smallint, m numeric(10,2), n numeric(15,4), u numeric, r real, f float8,
                t text, w varchar(8), d date, p timestamp, z timestamptz, k interval, b boolean);
insert into v values
 (1, 1, 1, 1.50, 0.0001, 1.5, 0.5, 1.25, 'a', 'abc', '2024-01-31', '2024-01-31 10:00', '2024-03-31 00:30+00', '1 day', true),
 (7, 3000000000, -3, 12345678.91, 99999.1234, 12345.678, 3.25, -1e10, 'zz', '12', '1999-12-31', '1999-12-31 23:59:59.5', '2000-01-01 00:00+00', '1 mon', false),
 (-3, 7, 100, -0.01, 3.0000, 100, 1e-3, 3, '', 'x y', '2000-02-29', '2000-02-29', '2024-10-27 01:30+00', '-2 days 03:04:05', true),
 (0, -1, 0, 0.00, 0.0000, 0, 0, 0, ' b ', '', '1970-01-01', '1970-01-01', '1970-01-01 00:00+00', '00:00', null),
 (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
 (40000, 40000, 32767, 99999999.99, 3.3333, 0.00000001, 1e20, 0.1, 'Ab', 'Ab', '2038-01-19', '2038-01-19 03:14:07', '2038-01-19 03:14:07+00', '1 year 2 mons 3 days 04:05:06.789', false)
"""
COLUMNS = {"int": "is", "big": "l", "num": "mnu", "flo": "rf", "txt": "tw", "dat": "d", "tim": "p", "zon": "z", "ivl": "k", "boo": "b"}
LITERALS = {
    "int": ["0", "1", "2", "3", "7", "-5", "100", "30000", "12345"],
    "big": ["3000000000", "1::bigint", "-7::bigint"],
    "num": ["1.0", "0.5", "2.50", "-1.25", "3.0", "100.00", "0.001", "12345.678", "'1.5'::numeric", "7::numeric", "33.33::numeric(8,3)",
            "1e3", "0.00001", "1e-3"],
    "flo": ["1.5::float8", "0.1::real", "2::float8", "-3.25::float8"],
    "txt": ["'a'", "'Abc'", "''", "'1.5'", "' x '", "'2024-01-01'"],
    "dat": ["date '2024-01-31'", "date '2000-02-29'", "date '1999-12-31'"],
    "tim": ["timestamp '2024-01-31 10:20:30.5'", "timestamp '2000-02-29'"],
    "zon": ["timestamptz '2024-03-31 00:30+00'"],
    "ivl": ["interval '1 day'", "interval '1 month'", "interval '-1 year 3 days 04:05:06'", "interval '90 minutes'"],
    "boo": ["true", "false", "null::boolean"],
}


def pick(*choices):
    return R.choice(choices)


class Maker:
    """Expressions by kind; over columns when there are any."""

    def __init__(self, columns):
        self.columns = columns

    def leaf(self, kind):
        if self.columns and R.random() < 0.7:
            return R.choice(COLUMNS[kind])
        return R.choice(LITERALS[kind])

    def make(self, kind, depth):
        if depth <= 0 or R.random() < 0.2:
            return self.leaf(kind)
        e = lambda other, less=1: self.make(other, depth - less)
        common = [
            lambda: f"coalesce({e(kind)}, {e(kind)})",
            lambda: f"case when {e('boo')} then {e(kind)} else {e(kind)} end",
            lambda: f"nullif({e(kind)}, {e(kind)})",
        ]
        if kind != "boo":
            common.append(lambda: f"{pick('greatest', 'least')}({e(kind)}, {e(kind)})")
        if R.random() < 0.2:
            return R.choice(common)()
        return R.choice(self.own(kind, e))()

    def own(self, kind, e):
        binary = lambda left, right, *ops: lambda: f"({e(left)} {pick(*ops)} {e(right)})"
        return {
            "int": [binary("int", "int", "+", "-", "*", "/", "%"), lambda: f"abs({e('int')})", lambda: f"length({e('txt')})",
                    binary("dat", "dat", "-"), lambda: f"({e('num')})::int", lambda: f"sign({e('flo')})::int"],
            "big": [binary("big", "int", "+", "-", "*", "/", "%"), lambda: f"({e('num')})::bigint", lambda: f"({e('int')})::bigint"],
            "num": [binary("num", "num", "+", "-", "*", "/", "%"), binary("num", "int", "+", "-", "*", "/"),
                    binary("int", "num", "+", "-", "*", "/"), binary("num", "num", "/"), binary("big", "num", "*", "/"),
                    lambda: f"round({e('num')}, {pick(0, 1, 2, 3, 5)})", lambda: f"trunc({e('num')}, {pick(0, 1, 2)})",
                    lambda: f"{pick('ceil', 'floor', 'round', 'abs', '-', 'trunc')}({e('num')})", lambda: f"({e('num')})::numeric(20,{pick(0, 1, 3, 6)})",
                    lambda: f"({e('int')})::numeric", lambda: f"extract({pick('year', 'month', 'day', 'dow', 'epoch', 'quarter')} from {e('dat')})",
                    lambda: f"extract({pick('second', 'hour', 'epoch', 'minute')} from {e('tim')})", lambda: f"div({e('num')}, {e('num')})"],
            "flo": [binary("flo", "flo", "+", "-", "*", "/"), binary("flo", "num", "+", "*"), lambda: f"({e('num')})::float8",
                    lambda: f"round({e('flo')})", lambda: f"abs({e('flo')})"],
            "txt": [binary("txt", "txt", "||"), lambda: f"({e(pick('int', 'num', 'big', 'dat', 'tim', 'ivl', 'boo', 'flo'))})::text",
                    lambda: f"{pick('upper', 'lower', 'trim', 'reverse', 'initcap')}({e('txt')})", lambda: f"substr({e('txt')}, {pick(1, 2)}, {pick(0, 1, 3)})",
                    lambda: f"({e('txt')})::varchar({pick(1, 2, 5)})", lambda: f"lpad({e('txt')}, {pick(0, 2, 5)}, 'xy')",
                    lambda: f"concat({e('num')}, {e('txt')})", lambda: f"replace({e('txt')}, 'a', 'bc')",
                    lambda: f"to_char({e('dat')}, 'YYYY-MM-DD')", lambda: f"to_char({e('num')}, 'FM999990.099')"],
            "dat": [binary("dat", "int", "+", "-"), lambda: f"({e('tim')})::date", lambda: f"({e('dat')})"],
            "tim": [binary("dat", "ivl", "+", "-"), binary("tim", "ivl", "+", "-"), lambda: f"date_trunc('{pick('month', 'day', 'hour', 'quarter')}', {e('tim')})",
                    lambda: f"({e('dat')})::timestamp"],
            "zon": [binary("zon", "ivl", "+", "-"), lambda: f"({e('tim')} at time zone 'Europe/Berlin')"],
            "ivl": [binary("ivl", "ivl", "+", "-"), binary("tim", "tim", "-"), binary("ivl", "int", "*"), lambda: f"age({e('tim')}, {e('tim')})",
                    lambda: f"justify_interval({e('ivl')})", lambda: f"(- {e('ivl')})"],
            "boo": [binary("num", "num", "<", "=", ">=", "<>"), binary("int", "num", "<", ">"), binary("dat", "dat", "<", "="), binary("dat", "tim", "<", ">="),
                    binary("txt", "txt", "<", "=", "like"), binary("boo", "boo", "and", "or"), binary("ivl", "ivl", "<", "="), lambda: f"(not {e('boo')})",
                    lambda: f"({e('num')} is null)", lambda: f"({e('num')} between {e('num')} and {e('int')})", lambda: f"({e('int')} in ({e('int')}, {e('num')}))"],
        }[kind]


def statement():
    kinds = list(COLUMNS) + ["num"] * 6 + ["int", "ivl", "tim"]
    kind = R.choice(kinds)
    form = R.random()
    if form < 0.4:
        return f"select {Maker(False).make(kind, 3)} as x"
    maker = Maker(True)
    if form < 0.75:
        return f"select {maker.make(kind, 3)} as x from v"
    number = R.choice(["int", "big", "num", "num", "flo"])
    aggregate = pick("sum", "avg", "min", "max", "stddev", "variance", "stddev_pop", "var_pop", "count", "avg", "sum")
    if number == "flo" and aggregate in ("sum", "avg", "stddev", "variance", "stddev_pop", "var_pop"):
        number = "num"
    if R.random() < 0.1:
        number, aggregate = "ivl", pick("sum", "avg", "min", "max")
    argument = maker.make(number, 2)
    if form < 0.92:
        group = pick("", " group by b order by b", " group by i % 2 order by i % 2")
        extra = pick("", " / 3", " * 2", "::text", " + 1") if number != "ivl" and aggregate != "count" else ""
        return f"select {aggregate}({argument}){extra} as x from v{group}"
    if form < 0.97 and aggregate in ("sum", "avg", "count") and number != "ivl":
        return f"select {aggregate}({argument}) over (order by i rows between 2 preceding and current row) as x from v order by i"
    return f"select {maker.make('num', 2)} as x from v union all select {Maker(False).make(pick('int', 'num'), 1)}"


def answer(connection, sql):
    """Types, modifiers and rows, or an error's code."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            result = cursor.pgresult
            types = [(result.ftype(0), result.fmod(0))]
            rows = [result.get_value(row, 0) for row in range(result.ntuples)]
            if "order by" not in sql:
                rows.sort(key=lambda value: (value is not None, value or b""))
            return types, rows
    except psycopg.Error as error:
        return error.sqlstate or "gone", str(error).splitlines()[0]


def difference(theirs, ours):
    if isinstance(theirs[0], str) or isinstance(ours[0], str):
        if isinstance(theirs[0], str) and isinstance(ours[0], str):
            return None if theirs[0] == ours[0] else "another error"
        return "an error here" if isinstance(ours[0], str) else "no error here"
    if theirs[0][0][0] != ours[0][0][0]:
        return "type"
    if theirs[1] != ours[1]:
        return "value"
    return None if theirs[0] == ours[0] else "modifier"


@contextlib.contextmanager
def staffa(options):
    if options.server:
        host, port = options.server.rsplit(":", 1)
        yield f"host={host} port={port} user=admin dbname=staffa"
        return
    with tempfile.TemporaryDirectory() as place, server.running(options.program, "serve", "--data", place) as running:
        yield running.url


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/debug/staffa")
    parser.add_argument("--server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--print", action="store_true")
    options = parser.parse_args()
    told, counts = [], collections.Counter()
    with oracle.postgres() as reference, staffa(options) as ours_url:
        theirs = psycopg.connect(reference.url("postgres"), autocommit=True)
        ours = psycopg.connect(ours_url, autocommit=True)
        for connection in (theirs, ours):
            connection.execute("drop table if exists v")
            connection.execute("set timezone to 'UTC'")
            for part in TABLE.split(";"):
                connection.execute(part)
        for number in range(options.first, options.first + options.count):
            R.seed(f"{options.seed} {number}")
            sql = statement()
            if options.print:
                print(number, sql)
            expected, got = answer(theirs, sql), answer(ours, sql)
            what = difference(expected, got)
            if what and isinstance(got[0], str) and (got[0] in REFUSED or got[0] == "22003"):
                what = f"refused {got[0]}"
            counts[what or "same"] += 1
            if what and not what.startswith("refused"):
                told.append(what)
                print(f"{number} {what}: {sql}\n    PostgreSQL {expected}\n    Staffa     {got}", flush=True)
    print(dict(counts))
    sys.exit(1 if told else 0)


if __name__ == "__main__":
    main()
