"""Random expressions over all types on Staffa and PostgreSQL side by side: same value as text, same type and modifier, same
SQLSTATE, or it is told.

    python scripts/fuzz_expressions.py --program target/release/staffa --seed 7 --count 5000

Operators, functions, aggregates and casts with their signatures come from PostgreSQL's catalog (those Staffa has), so that
most expressions are valid; every twentieth operand is of another type. Expression number i of a seed is always the same:
`--seed 7 --first 123 --count 1 --print` shows it. A third are over literals. The others are over the columns of a small
table, and once more with the literals of one of its rows in place of the columns: what is folded and what is computed in
columns must agree.

`--statements` prints statements over literals alone: `tests/clients/captures/expressions.sql` is made so.

What differs is reduced to its smallest part that differs and told once for each cause. What Staffa refuses (REFUSED) is counted,
and what is different by design is in EXPLAINED, with the reason. STAFFA_ORACLE=HOST:PORT and --server HOST:PORT use
servers that run already.
"""
import argparse
import collections
import contextlib
import decimal
import math
import random
import re
import sys
import tempfile

import psycopg

import oracle
import server

R = random.Random()

# Name of the type, its name in the catalog, literals. Those of `ROWS` come on top.
LITERALS = {
    "int2": ["0", "1", "-1", "7", "32767", "-32768"],
    "int4": ["0", "1", "2", "3", "-5", "12", "100", "30000", "2147483647", "-2147483648"],
    "int8": ["0", "1", "-7", "3000000000", "9223372036854775807", "-9223372036854775808"],
    "numeric": ["0", "1.0", "0.5", "2.50", "-1.25", "3", "100.00", "0.001", "12345.678", "-0.00001", "99999999999999999999.99", "NaN"],
    "numeric(8,3)": ["0", "33.33", "-1.5", "99999.999"],
    "float4": ["0", "0.1", "-3.25", "1e20", "3.4028235e38", "NaN", "Infinity", "-Infinity", "1e-45"],
    "float8": ["0", "1.5", "0.1", "-3.25", "1e15", "1.7976931348623157e308", "5e-324", "NaN", "Infinity", "-Infinity", "-0"],
    "bool": ["t", "f"],
    "text": ["", "a", "Abc", "1.5", " x ", "2024-01-01", "äöß", "a,b,c", "42", "{1,2}", "%a_", "true", "aabbcc", "\\"],
    "varchar": ["", "abc", "12", "x y", "Zz"],
    "varchar(4)": ["", "abc", "12", "ab  "],
    "char(4)": ["", "a", "ab c", "abcd"],
    "name": ["", "abc", "Name"],
    "bytea": ["", "\\x00", "\\xdeadbeef", "abc", "\\x616263"],
    "date": ["2024-01-31", "2000-02-29", "1999-12-31", "0001-01-01 BC", "5874897-12-31", "infinity", "-infinity", "1970-01-01"],
    "time": ["00:00", "10:20:30.5", "23:59:59.999999", "24:00"],
    "timestamp": ["2024-01-31 10:20:30.5", "2000-02-29", "1969-12-31 23:59:59.999999", "infinity", "-infinity", "0044-03-15 12:00 BC"],
    "timestamptz": ["2024-03-31 00:30+00", "1999-12-31 23:59:59-05", "infinity", "2024-10-27 01:30:00.123+02"],
    "interval": ["1 day", "1 mon", "30 days", "24:00", "-1 year 3 days 04:05:06", "90 minutes", "00:00", "1 mon -30 days 00:00:00.000001", "-1 day 24:00:00"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "json": ["null", "1", '{"a": 1, "b": [1, 2.50, null], "a": "x"}', "[]", '"t"', '[{"k": "v"}, 2]', "1e2"],
    "jsonb": ["null", "1", '{"a": 1, "b": [1, 2.50, null], "c": {"d": "x"}}', "[]", '"t"', '[{"k": "v"}, 2]', "true", "1.0", "{}"],
    "oid": ["0", "1", "4294967295", "25"],
    '"char"': ["", "a", "z"],
    "int4[]": ["{}", "{1,2,3}", "{1,NULL,-5}", "{7}"],
    "int8[]": ["{}", "{1,3000000000}"],
    "numeric[]": ["{}", "{1.5,2.5}", "{NULL,3}"],
    "float8[]": ["{}", "{1.5,NaN,-Infinity}"],
    "text[]": ["{}", "{a,b,c}", '{"x y",NULL,""}', '{"a\\"b","\\\\"}'],
    "bool[]": ["{t,f,NULL}"],
    "date[]": ["{2024-01-31,NULL}"],
    "timestamp[]": ["{2024-01-31 10:20:30.5}"],
}
# The rows of the table `v`, whose columns' names are in `COLUMNS`.
ROWS = {
    "int2": ["1", "-3", "100", "0", None, "32767"],
    "int4": ["1", "7", "-3", "0", None, "40000"],
    "int8": ["1", "3000000000", "7", "-1", None, "40000"],
    "numeric": ["1.5", "12345.678", "100", "0", None, "0.00000001"],
    "numeric(8,3)": ["1.500", "12345.678", "-0.010", "0.000", None, "99999.999"],
    "float4": ["0.5", "3.25", "1e-3", "0", None, "1e20"],
    "float8": ["1.25", "-1e10", "3", "0", None, "0.1"],
    "bool": ["t", "f", "t", None, None, "f"],
    "text": ["a", "zz", "", " b ", None, "Ab"],
    "varchar(4)": ["abc", "12", "x y", "", None, "Ab"],
    "char(4)": ["a", "12", "x y", "", None, "Abcd"],
    "bytea": ["\\x61", "\\x00ff", "", "\\xdeadbeef", None, "abc"],
    "date": ["2024-01-31", "1999-12-31", "2000-02-29", "1970-01-01", None, "2038-01-19"],
    "time": ["10:00", "23:59:59.5", "00:00", "12:34:56.789", None, "01:02:03"],
    "timestamp": ["2024-01-31 10:00", "1999-12-31 23:59:59.5", "2000-02-29", "1970-01-01", None, "2038-01-19 03:14:07"],
    "timestamptz": ["2024-03-31 00:30+00", "2000-01-01 00:00+00", "2024-10-27 01:30+00", "1970-01-01 00:00+00", None, "2038-01-19 03:14:07+00"],
    "interval": ["1 day", "1 mon", "-2 days 03:04:05", "00:00", None, "1 year 2 mons 3 days 04:05:06.789"],
    "uuid": ["00000000-0000-0000-0000-000000000001", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", None, "00000000-0000-0000-0000-000000000001"],
    "json": ['{"a": 1}', "[1, 2]", '"x"', "null", None, "1.50"],
    "jsonb": ['{"a": 1}', "[1, 2]", '"x"', "null", None, "1.50"],
    "int4[]": ["{1,2}", "{}", "{NULL,3}", "{7}", None, "{1,2,3,4}"],
    "text[]": ["{a,b}", "{}", "{NULL,x}", "{zz}", None, '{"",A}'],
}
COLUMNS = {ty: f"c{number}" for number, ty in enumerate(ROWS)}
# Types of the catalog; those with a modifier are the same types to operators and functions.
CATALOG = {"int2": "int2", "int4": "int4", "int8": "int8", "numeric": "numeric", "float4": "float4", "float8": "float8", "bool": "bool",
           "text": "text", "varchar": "varchar", "bpchar": "char(4)", "name": "name", "bytea": "bytea", "date": "date", "time": "time",
           "timestamp": "timestamp", "timestamptz": "timestamptz", "interval": "interval", "uuid": "uuid", "json": "json",
           "jsonb": "jsonb", "oid": "oid", "char": '"char"', "_int4": "int4[]", "_int8": "int8[]", "_numeric": "numeric[]",
           "_float8": "float8[]", "_text": "text[]", "_bool": "bool[]", "_date": "date[]", "_timestamp": "timestamp[]"}
VARIANTS = {"numeric": ["numeric", "numeric", "numeric(8,3)"], "varchar": ["varchar", "varchar(4)"]}
ELEMENTS = {"int4": "int4[]", "int8": "int8[]", "numeric": "numeric[]", "float8": "float8[]", "text": "text[]", "bool": "bool[]",
            "date": "date[]", "timestamp": "timestamp[]"}
POLYMORPHIC = {"anyelement", "anynonarray", "anycompatible", "anycompatiblenonarray"}
POLYMORPHIC_ARRAYS = {"anyarray", "anycompatiblearray"}

FORMATS = ["'YYYY-MM-DD'", "'Day, DD Mon YYYY'", "'HH24:MI:SS.US'", "'Q IW IYYY J'", "'FMMonth DDth'", "'HH12 AM TZ'", "'MS SSSS CC WW W D ID'"]
NUMBERS = ["'FM999990.099'", "'9G999D99'", "'S0999'", "'RN'", "'9.99EEEE'", "'999PR'", "'L99'", "'MI99.9'", "'V99'", "'FM0TH'"]
FIELDS = ["'year'", "'month'", "'day'", "'hour'", "'epoch'", "'quarter'", "'week'", "'dow'", "'isodow'", "'second'", "'microseconds'",
          "'decade'", "'century'", "'millennium'", "'julian'", "'doy'", "'timezone'", "'nonsense'"]
ZONES = ["'Europe/Berlin'", "'UTC'", "'America/New_York'", "'+03'", "'nowhere'"]
PATTERNS = ["'a'", "'^.b'", "'[a-c]+'", "'(a)(b)?'", "'\\d+'", "''", "'a|b'", "'('", "'x*'", "'\\s'"]
FLAGS = ["''", "'g'", "'i'", "'gi'", "'z'", "'x'"]
SMALL = ["0", "1", "2", "3", "5", "-1"]
# Arguments that make sense, which few random values do: by function and position.
ARGUMENTS = {
    **{("to_char", 1): FORMATS, ("to_date", 1): FORMATS, ("to_timestamp", 1): FORMATS, ("to_number", 1): NUMBERS},
    **{(name, 0): FIELDS for name in ("date_part", "date_trunc")},
    **{("timezone", 0): ZONES, ("date_trunc", 2): ZONES, ("timestamptz", 1): ["'10:00'::time"]},
    **{(name, 1): ["'hex'", "'base64'", "'escape'", "'none'"] for name in ("encode", "decode")},
    **{(name, 1): SMALL for name in ("lpad", "rpad", "repeat", "left", "right", "substr", "array_length", "array_lower", "array_upper",
                                     "round", "trunc", "generate_subscripts", "trim_array")},
    **{("substr", 2): SMALL, ("split_part", 1): ["','", "'b'", "''"], ("split_part", 2): SMALL, ("chr", 0): ["97", "228", "0", "8364", "-1"],
       ("factorial", 0): ["0", "5", "20", "-1"], ("width_bucket", 3): ["5", "1", "0"], ("overlay", 2): SMALL, ("overlay", 3): SMALL},
    **{(name, 1): PATTERNS for name in ("regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_matches", "regexp_replace",
                                        "regexp_split_to_array", "regexp_split_to_table", "regexp_substr")},
    **{(name, 2): FLAGS for name in ("regexp_like", "regexp_match", "regexp_matches", "regexp_split_to_array", "regexp_split_to_table")},
    ("regexp_replace", 3): FLAGS,
    ("make_date", 0): ["2024", "-44", "0"], ("make_date", 1): ["2", "13"], ("make_date", 2): ["29", "30"],
    ("make_time", 0): ["0", "23", "24"], ("make_time", 1): ["0", "59", "60"], ("make_time", 2): ["0", "59.5", "60", "-1"],
    ("make_timestamp", 0): ["2024", "-44"], ("make_timestamp", 1): ["2", "13"], ("make_timestamp", 2): ["29", "31"],
    ("make_timestamp", 3): ["0", "23"], ("make_timestamp", 4): ["0", "59"], ("make_timestamp", 5): ["0", "59.5", "60"],
    ("date_bin", 0): ["interval '15 minutes'", "interval '1 day'", "interval '0'", "interval '1 month'"],
    ("format", 0): ["'%s'", "'%I %s'", "'%L'", "'%1$s %1$s'", "'%'", "'%5s|'", "'%-5s|'"],
    ("similar_to_escape", 0): ["'a%'", "'(a|b)_'"],
    ("unistr", 0): ["'\\0061'", "'\\+01F600'", "'x'", "'\\zz'"],
}

# Not called. Volatile functions, those about the session and the catalog, and those of no chapter between 9.1 and 9.21.
NOT_CALLED = re.compile(
    r"^(pg_|has_|current|session_user|user$|getdatabase|now$|statement_timestamp|transaction_timestamp|clock_timestamp|version|"
    r"row_security|set_config|col_description|obj_description|shobj_description|format_type|lastval|timeofday|"
    # casts that are not in pg_cast
    r"timestamp$|timestamptz$|char$|"
    # grammar gives these another form, which SPECIAL has; `normalize` takes a word
    r"normalize$|is_normalized$|overlaps$|position$|extract$|overlay$|"
    # their rows have the columns of an argument
    r"jsonb?_populate_record)"
)

REFUSED = ("0A000", "42883", "53200", "53400")

# What is wrong with values; that a pattern or an escape is, is a syntax error.
IN_DATA = ("22", "42601")

# What is different by design, by reason. Each is a function of the smallest part that differs: kind of difference, key, SQL,
# PostgreSQL's answer, Staffa's.
EXPLAINED = {
    "of two errors either": lambda d: d.both_are_true,
    "numerics have 38 digits, 28 before the point where nothing tells them, and no infinity": lambda d: d.ours[0] == "22003"
    and "numeric" in d.types and is_long(d),
    "numerics are shown with other zeros": lambda d: d.what == "value" and only_zeros_differ(d.theirs[1], d.ours[1]),
    "numerics have 28 digits behind the point, quotients 24, of text and floats ten": lambda d: d.what == "value" and "numeric" in d.types
    and all(map(nearly, d.theirs[1], d.ours[1])),
    "a character without a length is text": lambda d: d.what == "type" and (d.theirs[0][0], d.ours[0][0]) in [(1042, 25), (1014, 1009)]
    and only_blanks_differ(d.theirs[1], d.ours[1]),
    "arrays have a number of dimensions": lambda d: d.what in ("type", "value") and "array_agg" in d.sql
    and re.match(r"subscript|operator \S+\[\] \|\|", d.expression.key),
    "PostgreSQL leaves an empty \"char\" without blanks": lambda d: d.what == "value" and d.expression.key == 'cast "char" as char(4)'
    and d.theirs[1] == [b""],
    "of 0 and -0 any": lambda d: d.what == "value" and {"float4", "float8"} & d.types and signless(d.theirs[1]) == signless(d.ours[1])
    and re.match(r"(greatest|least|min|max|mode|array_agg)\b", d.expression.key),
    "floats are rounded by another library": lambda d: d.what == "value" and {"float4", "float8"} & d.types
    and all(map(almost, d.theirs[1], d.ours[1])),
    "PostgreSQL tells the modifier of what is left of a constant": lambda d: d.what == "modifier" and " from v" not in d.sql,
    "what no answer hangs on is not computed": lambda d: d.what == "no error here" and d.theirs[0].startswith(IN_DATA)
    and ("row_number() over" in d.sql or "null" in d.sql or re.match(r"coalesce|case|pg_typeof|operator int\d [&*]", d.expression.key)),
    "averages and variances of floats that are too large are no errors": lambda d: d.what == "no error here"
    and "overflow" in str(d.theirs[1]) and re.match(r"(avg|stddev|var|regr|corr|covar)", d.expression.key),
    "of equal intervals any": lambda d: d.what == "value" and re.match(r"(min|max)\((distinct )?interval", d.expression.key),
    "beside NULL something is computed": lambda d: d.what == "an error here" and d.ours[0].startswith(IN_DATA)
    and ("null" in d.sql.lower() or " from v" in d.sql)
    and (not any(d.theirs[1]) or d.expression.key == "case value" and "null" in d.expression.parts[3].sql().lower()),
    "which of the types of texts": lambda d: d.what == "type" and d.theirs[1] == d.ours[1]
    and any({d.theirs[0][0], d.ours[0][0]} <= types for types in ({25, 1042, 1043}, {1009, 1014, 1015})),
    "a literal is a text where PostgreSQL finds no type": lambda d: "could not determine polymorphic type" in str(d.theirs[1]),
    "series without an end are refused": lambda d: d.what == "an error here" and d.ours[0] in ("22008", "57014")
    and d.expression.key.startswith("generate_series(timestamp"),
    "PostgreSQL finds several operators or functions for a bare literal": lambda d: d.what == "no error here" and d.theirs[0] == "42725"
    and re.search(r"\bunknown\b", str(d.theirs[1])),
    "zones that are numbers are refused": lambda d: d.what == "an error here" and d.ours[0] == "22023"
    and re.search(r'time zone "[^A-Za-z]*" not recognized', d.ours[1]),
    "min and max of intervals keep the modifier": lambda d: d.what == "modifier" and d.theirs[0][1] == -1
    and re.match(r"select (min|max)\(", d.sql) and d.theirs[0][0] == 1186,
    "PostgreSQL 15 takes infinity for a moment": lambda d: d.what == "an error here" and d.ours[0] == "22008"
    and d.expression.key.startswith("age(") and "infinity" in d.sql,
    "times of intervals end after 2,562,047 hours": lambda d: d.what == "an error here" and d.ours[0] == "22008"
    and d.expression.key.startswith("make_interval("),
    "PostgreSQL 15 gives intervals a day of the week and a year of weeks": lambda d: d.what == "an error here"
    and d.ours[0] == "22007" and d.expression.key.startswith("to_char(interval"),
}


def only_blanks_differ(theirs, ours):
    def bare(value):
        return None if value is None else re.sub(rb' +(?=[",}]|$)', b"", value).replace(b'"', b"")
    return [bare(value) for value in theirs] == [bare(value) for value in ours]


def almost(theirs, ours):
    """Whether a float is another one but for its last digits."""
    try:
        return theirs == ours or float(theirs) != 0 and math.isclose(float(theirs), float(ours), rel_tol=1e-14)
    except (TypeError, ValueError):
        return False


def is_long(difference):
    """Whether the value or an operand is infinity or has more digits than there are places for."""
    if isinstance(difference.theirs[0], str):
        return False
    shown = [value.decode(errors="replace") for value in difference.theirs[1] if value] + [difference.sql]
    numbers = [number for text in shown for number in re.findall(r"\d+(?:\.\d*)?(?:e[+-]?\d+)?", text)]
    return "infinity" in str(shown).lower() or any(is_long_number(decimal.Decimal(number)) for number in numbers)


def is_long_number(number):
    _, digits, exponent = number.as_tuple()
    return len(digits) + exponent > 28 or max(len(digits), -exponent) > 38


def signless(values):
    """Values without the sign of a zero."""
    return [None if value is None else re.sub(rb"(?<![\d.])-0(?![\d.])", b"0", value) for value in values]


def nearly(theirs, ours):
    """Whether a number is another one rounded to ten digits behind the point, or to thirty digits."""
    if theirs == ours:
        return True
    try:
        theirs, ours = decimal.Decimal(theirs.decode()), decimal.Decimal(ours.decode())
        return abs(theirs - ours) <= max(decimal.Decimal("1e-10"), abs(theirs) * decimal.Decimal("1e-30"))
    except (decimal.InvalidOperation, AttributeError):
        return False


def only_zeros_differ(theirs, ours):
    def plain(value):
        if value is None:
            return None
        return re.sub(rb"(\.\d*?)0+(?!\d)", lambda found: found[1].rstrip(b"."), value)
    return [plain(value) for value in theirs] == [plain(value) for value in ours]


def pick(*choices):
    return R.choice(choices)


def chance(share):
    return R.random() < share


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


class Expression:
    """SQL text in parts, some of them expressions. `key` says what it is, without its operands."""

    def __init__(self, ty, key, *parts):
        self.ty, self.key, self.parts = ty, key, parts

    def operands(self):
        return [part for part in self.parts if isinstance(part, Expression)]

    def sql(self, row=None):
        """With `row`: that row's literals instead of columns."""
        return "".join(part.sql(row) if isinstance(part, Expression) else part for part in self.parts)

    def has_columns(self):
        return any(part.has_columns() for part in self.operands())

    def inner(self):
        """Operands first, so that smaller ones come before larger ones."""
        for part in self.operands():
            yield from part.inner()
        yield self


class Literal(Expression):
    def __init__(self, ty, sql):
        super().__init__(ty, "literal", sql)


class Column(Expression):
    def __init__(self, ty):
        super().__init__(ty, "column", COLUMNS[ty])

    def sql(self, row=None):
        return self.parts[0] if row is None else typed(self.ty, ROWS[self.ty][row])

    def has_columns(self):
        return True


def typed(ty, text):
    if text is None:
        return f"null::{ty}"
    # The minus of `-1::int2` would come after the cast.
    return f"{quoted(text)}::{ty}"


class Signatures:
    """What there is to call, from PostgreSQL's catalog: by type of the result, then by name."""

    def __init__(self, postgres, staffa):
        rows = lambda connection, sql: connection.execute(sql).fetchall()
        names = {oid: name for oid, name in rows(postgres, "select oid::int8, typname::text from pg_type where typnamespace = 11")}
        ours = {name for name, in rows(staffa, "select distinct proname::text from pg_proc")}
        self.operators, self.functions, self.aggregates, self.sets = ({} for _ in range(4))
        self.casts = collections.defaultdict(list)
        for name, left, right, result in rows(postgres, """
                select oprname::text, oprleft::int8, oprright::int8, oprresult::int8 from pg_operator
                where oprnamespace = 11 and oprname !~ '^(~[<>]|@@$|[*])' order by 1, oid"""):
            operands = [names[oid] for oid in (left, right) if oid]
            self.add(self.operators, name, operands, names.get(result))
        for name, arguments, result, kind, is_set in rows(postgres, """
                select proname::text, proargtypes::int8[], prorettype::int8, prokind::text, proretset from pg_proc p
                where pronamespace = 11 and provolatile <> 'v' and prokind in ('f', 'a') and provariadic = 0
                and not exists (select from pg_operator where oprcode = p.oid)
                and not exists (select from pg_type where p.oid in (typinput, typoutput, typreceive, typsend, typmodin, typmodout))
                and not exists (select from pg_aggregate where p.oid in (aggtransfn, aggfinalfn, aggcombinefn, aggmtransfn, aggmfinalfn))
                and not exists (select from pg_amproc where amproc = p.oid)
                and not exists (select from pg_cast where castfunc = p.oid)
                and not exists (select from pg_aggregate where aggfnoid = p.oid and aggkind <> 'n')
                order by 1, oid"""):
            if name in ours and not NOT_CALLED.match(name):
                table = self.aggregates if kind == "a" else self.sets if is_set else self.functions
                self.add(table, name, [names[oid] for oid in arguments], names.get(result))
        for source, target in rows(postgres, "select castsource::int8, casttarget::int8 from pg_cast order by 1, 2"):
            source, target = CATALOG.get(names.get(source)), CATALOG.get(names.get(target))
            if source and target:
                self.casts[target].append(source)

    def add(self, table, name, arguments, result):
        """Polymorphic ones once for each type of elements."""
        everything = {*arguments, result}
        if everything & (POLYMORPHIC | POLYMORPHIC_ARRAYS):
            for element, array in ELEMENTS.items():
                concrete = lambda ty: element if ty in POLYMORPHIC else array if ty in POLYMORPHIC_ARRAYS else CATALOG.get(ty)
                self.note(table, name, [concrete(ty) for ty in arguments], concrete(result))
        else:
            self.note(table, name, [CATALOG.get(ty) for ty in arguments], CATALOG.get(result))

    def note(self, table, name, arguments, result):
        if result and all(arguments):
            table.setdefault(result, {}).setdefault(name, []).append(arguments)


class Maker:
    """Expressions of a type; over columns when there are any."""

    def __init__(self, signatures, columns):
        self.signatures, self.columns = signatures, columns

    def leaf(self, ty):
        if self.columns and ty in COLUMNS and chance(0.75):
            return Column(ty)
        if chance(0.05):
            return Literal(ty, pick(f"null::{ty}", f"null::{ty}", "null"))
        text = R.choice(LITERALS[ty])
        # Literals without a type, as people write them.
        if ty in ("int4", "numeric", "int8") and re.fullmatch(r"[\d.]+", text) and chance(0.6):
            return Literal(ty, text)
        if ty == "text" and chance(0.6):
            return Literal(ty, quoted(text))
        if chance(0.05):
            return Literal(ty, quoted(text))
        return Literal(ty, typed(ty, text))

    def make(self, ty, depth):
        if chance(0.03):
            ty = R.choice(list(LITERALS))
        ty = R.choice(VARIANTS.get(ty, [ty]))
        if depth <= 0 or chance(0.2):
            return self.leaf(ty)
        forms = [self.called, self.called, self.operated, self.operated, self.cast, self.common]
        if ty == "bool":
            forms += [self.condition, self.condition]
        if ty.endswith("[]") or ty in ELEMENTS:
            forms.append(self.array)
        if ty in SPECIAL:
            forms.append(self.special)
        if not self.columns:
            forms.append(self.aggregated)
        for _ in range(5):
            made = R.choice(forms)(ty, depth - 1)
            if made:
                return made
        return self.leaf(ty)

    def named(self, table, ty):
        by_name = table.get(base(ty))
        if not by_name:
            return None, None
        name = R.choice(list(by_name))
        return name, R.choice(by_name[name])

    def operated(self, ty, depth):
        name, operands = self.named(self.signatures.operators, ty)
        if not name:
            return None
        made = [self.make(operand, depth) for operand in operands]
        key = f"operator {' '.join([*operands[:-1], name, operands[-1]])}"
        if len(made) == 1:
            return Expression(ty, key, f"({name} ", made[0], ")")
        return Expression(ty, key, "(", made[0], f" {name} ", made[1], ")")

    def arguments(self, name, types, depth):
        made = []
        for position, ty in enumerate(types):
            sensible = ARGUMENTS.get((name, position))
            made.append(Literal(ty, R.choice(sensible)) if sensible and chance(0.85) else self.make(ty, depth))
        return made

    def called(self, ty, depth):
        name, types = self.named(self.signatures.functions, ty)
        if not name:
            return None
        return Expression(ty, f"{name}({', '.join(types)})", f"{name}(", *joined(self.arguments(name, types, depth)), ")")

    def cast(self, ty, depth):
        sources = self.signatures.casts.get(base(ty), []) + ["text"]
        source = R.choice(sources) if chance(0.9) else R.choice(list(LITERALS))
        return Expression(ty, f"cast {source} as {ty}", "(", self.make(source, depth), f")::{ty}")

    def common(self, ty, depth):
        of = lambda other=ty: self.make(other, depth)
        near = lambda: self.make(R.choice(NEAR.get(base(ty), [ty])), depth)
        form = pick("coalesce", "case", "case", "nullif", "greatest", "least", "subquery")
        if form == "case" and chance(0.4):
            other = R.choice(["int4", "text", "numeric", "date"])
            return Expression(ty, "case value", "case ", of(other), " when ", of(other), " then ", of(), " else ", near(), " end")
        if form == "case":
            return Expression(ty, "case", "case when ", of("bool"), " then ", of(), *pick([], [" else ", near()]), " end")
        if form == "subquery":
            return Expression(ty, "subquery", "(select ", of(), ")")
        return Expression(ty, f"{form} of {base(ty)}", f"{form}(", of(), ", ", near(), ")")

    def condition(self, ty, depth):
        other = R.choice(list(LITERALS))
        of = lambda kind=other: self.make(kind, depth)
        near = lambda: self.make(R.choice(NEAR.get(base(other), [other])), depth)
        key = lambda form: f"{form} of {base(other)}"
        return R.choice([
            lambda: Expression(ty, key("in"), "(", of(), pick(" in (", " not in ("), near(), ", ", of(), "))"),
            lambda: Expression(ty, key("between"), "(", of(), pick(" between ", " not between ", " between symmetric "), near(), " and ", of(), ")"),
            lambda: Expression(ty, key("is distinct"), "(", of(), pick(" is distinct from ", " is not distinct from "), near(), ")"),
            lambda: Expression(ty, key("is null"), "(", of(), pick(" is null", " is not null"), ")"),
            lambda: Expression(ty, "is bool", "(", of("bool"), pick(" is true", " is not false", " is unknown"), ")"),
            lambda: Expression(ty, "logic", "(", of("bool"), pick(" and ", " or "), of("bool"), ")"),
            lambda: Expression(ty, "not", "(not ", of("bool"), ")"),
            lambda: Expression(ty, key("compare"), "(", of(), pick(" = ", " <> ", " < ", " >= "), near(), ")"),
            lambda: Expression(ty, "any", "(", of("int4"), pick(" = any(", " < all(", " >= any("), of("int4[]"), "))"),
            lambda: Expression(ty, "any of text", "(", of("text"), pick(" = any(", " <> all(", " like any("), of("text[]"), "))"),
            lambda: Expression(ty, "like", "(", of("text"), pick(" like ", " not like ", " ilike ", " similar to "), of("text"), ")"),
            lambda: Expression(ty, "match", "(", of("text"), pick(" ~ ", " !~* "), Literal("text", R.choice(PATTERNS)), ")"),
            lambda: Expression(ty, key("rows"), "(row(", of(), ", ", of("int4"), pick(") = row(", ") < row(", ") is distinct from row("), of(), ", ", of("int4"), "))"),
            lambda: Expression(ty, "overlaps", "((", of("timestamp"), ", ", of("timestamp"), ") overlaps (", of("timestamp"), ", ", of("interval"), "))"),
            lambda: Expression(ty, "json member", "(", of("jsonb"), pick(" ? ", " @> "), Literal("text", pick("'a'", "'[1]'")), ")"),
        ])()

    def array(self, ty, depth):
        if not ty.endswith("[]"):
            return Expression(ty, f"subscript of {ELEMENTS[ty]}", "(", self.make(ELEMENTS[ty], depth), f")[{pick(*SMALL)}]")
        element = ty[:-2]
        name, types = self.named(self.signatures.sets, element)
        if name and chance(0.4):
            # An order, as sets have none.
            return Expression(ty, f"{name}({', '.join(types)})", f"array(select {name}(", *joined(self.arguments(name, types, depth)), ") limit 20)")
        form = pick("array", "array", "slice")
        if form == "slice":
            return Expression(ty, f"slice of {ty}", "(", self.make(ty, depth), f")[{pick(*SMALL)}:{pick(*SMALL)}]")
        return Expression(ty, f"array of {element}", "array[", self.make(element, depth), ", ", self.make(element, depth), "]")

    def special(self, ty, depth):
        key, *parts = R.choice(SPECIAL[ty])
        return Expression(ty, key, *(self.make(part[1:], depth) if part.startswith("\0") else part for part in parts))

    def aggregated(self, ty, depth):
        """An aggregate over a few values."""
        name, types = self.named(self.signatures.aggregates, ty)
        if not name or not types:
            return None
        rows = []
        for row in range(3):
            # The first says the types.
            values = [Literal(t, typed(t, R.choice(LITERALS[t]))) if row == 0 else self.leaf(t) for t in types]
            rows += [", (" if row else "(", *joined(values), ")"]
        names = ", ".join("abc"[: len(types)])
        distinct = pick("", "", "", "distinct ") if len(types) == 1 else ""
        return Expression(ty, f"{name}({distinct}{', '.join(types)})", f"(select {name}({distinct}{names}) from (values ", *rows, f") s({names}))")


def joined(expressions):
    return [part for expression in expressions for part in (", ", expression)][1:]


def base(ty):
    return {"numeric(8,3)": "numeric", "varchar(4)": "varchar"}.get(ty, ty)


NUMERIC = ["int2", "int4", "int8", "numeric", "float4", "float8"]
# Types that stand beside one another in CASE, IN, comparisons.
NEAR = {
    **{ty: [*NUMERIC, ty, ty, ty] for ty in NUMERIC},
    **{ty: ["text", "varchar", "char(4)", ty] for ty in ("text", "varchar", "char(4)", "name")},
    **{ty: ["date", "timestamp", "timestamptz", ty, ty] for ty in ("date", "timestamp", "timestamptz")},
}
# Forms that only grammar knows; a part with \0 is an operand of that type.
SPECIAL = {
    "numeric": [(f"extract {ty}", f"extract({field} from ", f"\0{ty}", ")") for ty in ("date", "time", "timestamp", "timestamptz", "interval")
                for field in ("year", "month", "day", "hour", "second", "epoch", "dow", "julian", "milliseconds", "isoyear")],
    "int4": [("position", "position(", "\0text", " in ", "\0text", ")")],
    "text": [("overlay", "overlay(", "\0text", " placing ", "\0text", " from ", "\0int4", ")"),
             ("trim", "trim(both ", "\0text", " from ", "\0text", ")"),
             ("trim leading", "trim(leading from ", "\0text", ")"),
             ("substring", "substring(", "\0text", " from ", "\0int4", " for ", "\0int4", ")"),
             ("substring regex", "substring(", "\0text", " from '[a-c]+')"),
             ("pg_typeof", "pg_typeof(", "\0numeric", ")::text"),
             ("concat", "concat(", "\0text", ", ", "\0bool", ", ", "\0float8", ", ", "\0date", ")"),
             ("concat_ws", "concat_ws(", "\0text", ", ", "\0int4", ", ", "\0numeric", ")"),
             ("format", "format('%s|%s|%L', ", "\0interval", ", ", "\0timestamp", ", ", "\0text", ")"),
             ("collate", "(", "\0text", ' collate "C")')],
    "timestamp": [("at time zone", "(", "\0timestamptz", " at time zone ", "'Europe/Berlin')"), ("timestamp(0)", "(", "\0timestamp", ")::timestamp(0)")],
    "timestamptz": [("at time zone", "(", "\0timestamp", " at time zone ", "'America/New_York')")],
    "time": [("time(2)", "(", "\0time", ")::time(2)")],
    "interval": [("interval(0)", "(", "\0interval", ")::interval(0)"), ("interval day", "(", "\0interval", ")::interval day to minute")],
    "json": [("row_to_json", "row_to_json(row(", "\0int4", ", ", "\0text", ", ", "\0numeric", "))"),
             ("json_build_object", "json_build_object('a', ", "\0date", ", 'b', ", "\0float8", ")"),
             ("json_build_array", "json_build_array(", "\0bool", ", ", "\0timestamp", ")")],
    "jsonb": [("jsonb_build_object", "jsonb_build_object('a', ", "\0timestamptz", ", 'b', ", "\0numeric", ")"),
              ("jsonb path", "jsonb_path_query_array(", "\0jsonb", ", '$.a')")],
}


def statement(signatures):
    """An expression, and a statement around it: a text with {} for it."""
    ty = R.choice(list(LITERALS))
    form = R.random()
    if form < 0.35:
        return Maker(signatures, False).make(ty, 3), "select {} as x"
    maker = Maker(signatures, True)
    expression = maker.make(ty, 3)
    if form < 0.85:
        return expression, "select {} as x from v order by id"
    if form < 0.90:
        return expression, pick("select count(distinct {}) as x from v", "select count(*) as x from (select distinct {} from v) s",
                                "select count(*) as x from (select {} as x from v group by 1) s", "select count(*) as x from (select {} from v union select null) s")
    if form < 0.94:
        # Rows that tie are the same to see, but of types where equal values look different.
        return expression, "select row_number() over (order by {} desc, id) as x from v order by id"
    name, types = maker.named(signatures.aggregates, ty)
    if not name or len(types) != 1:
        return expression, "select {} as x from v order by id"
    expression = maker.make(types[0], 2)
    if re.search("array_agg|string_agg|json", name):
        # The order they have rows in.
        return expression, f"select {name}({{}} order by id) as x from v"
    group = pick("", " group by c2 % 2 order by c2 % 2".replace("c2", COLUMNS["int4"]))
    if chance(0.3):
        return expression, f"select {name}({{}}) over (order by id rows between 2 preceding and current row) as x from v order by id"
    return expression, f"select {name}({{}}) as x from v{group}"


class Difference:
    def __init__(self, what, expression, sql, theirs, ours):
        self.what, self.expression, self.sql, self.theirs, self.ours = what, expression, sql, theirs, ours
        self.types = {base(part.ty).removesuffix("[]") for part in [expression, *expression.operands()]}
        # Both answers are errors, each of which both sides find in some part: which of them is told first is nobody's promise.
        self.both_are_true = False

    def explained(self):
        return next((why for why, holds in EXPLAINED.items() if holds(self)), None)

    def cause(self):
        codes = [side[0] if isinstance(side[0], str) else "value" for side in (self.theirs, self.ours)]
        return f"{self.what} ({codes[0]} | {codes[1]}): {self.expression.key}"


def answer(connection, sql):
    """Types, modifiers and rows, or an error's code and message."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            result = cursor.pgresult
            return (result.ftype(0), result.fmod(0)), [result.get_value(row, 0) for row in range(result.ntuples)]
    except psycopg.Error as error:
        if error.sqlstate is None:
            raise
        return error.sqlstate, str(error).splitlines()[0]


def compared(theirs, ours):
    """What differs, if anything does."""
    failed = [isinstance(side[0], str) for side in (theirs, ours)]
    if all(failed):
        # The class is the promise; the code within it may be of another check that comes first.
        return None if theirs[0][:2] == ours[0][:2] else f"refused {ours[0]}" if ours[0] in REFUSED else "another error"
    if failed[1]:
        return f"refused {ours[0]}" if ours[0] in REFUSED else "an error here"
    if failed[0]:
        return "no error here"
    if theirs[0][0] != ours[0][0]:
        return "type"
    if theirs[1] != ours[1]:
        return "value"
    return None if theirs[0] == ours[0] else "modifier"


class Sides:
    def __init__(self, theirs_url, ours_url):
        self.theirs = psycopg.connect(theirs_url, autocommit=True)
        self.ours_url = ours_url
        self.ours = psycopg.connect(ours_url, autocommit=True)
        columns = ", ".join(f"{name} {ty}" for ty, name in COLUMNS.items())
        for connection in (self.theirs, self.ours):
            connection.execute("set timezone to 'UTC'")
            connection.execute("create temporary table v (id int, " + columns + ")")
            for row in range(6):
                values = ", ".join(typed(ty, texts[row]) for ty, texts in ROWS.items())
                connection.execute(f"insert into v values ({row}, {values})")
            connection.execute("set statement_timeout = '10s'")

    def differ(self, expression, around, row=None):
        sql = around.replace("{}", expression.sql(row))
        theirs = answer(self.theirs, sql)
        ours = answer(self.ours, sql)
        what = compared(theirs, ours)
        return Difference(what, expression, sql, theirs, ours) if what else None

    def check(self, expression, around):
        """All that differs: as it is, and with the literals of a row."""
        # Each row has errors of its own, and which comes first is nobody's promise.
        found = self.differ(expression, around)
        if found and found.what == "another error" and around.endswith("from v order by id"):
            rows = (self.differ(expression, around.replace("from v", f"from v where id = {row}")) for row in range(6))
            found = next(filter(None, rows), None)
        if not found and expression.has_columns():
            found = self.differ(expression, "select {} as x", R.randrange(6))
        if not found:
            return None
        found = self.reduced(expression, found)
        if found.what == "another error":
            found.both_are_true = self.find_both(found)
        return found

    def find_both(self, found):
        """Whether each side finds the error that the other one tells."""
        def classes(connection):
            answers = [answer(connection, f"select {part.sql(row)}") for part in found.expression.inner()
                       for row in (range(6) if part.has_columns() else [None])]
            return {told[0][:2] for told in answers if isinstance(told[0], str)}
        return found.ours[0][:2] in classes(self.theirs) and found.theirs[0][:2] in classes(self.ours)

    def reduced(self, expression, found):
        """The smallest part that differs, its operands as literals if it then still does."""
        rows = range(6) if expression.has_columns() else [None]
        for inner in expression.inner():
            for row in rows:
                smaller = self.differ(inner, "select {} as x", row)
                if smaller:
                    return self.with_literals(inner, row, smaller)
            if expression.has_columns():
                smaller = self.differ(inner, "select {} as x from v order by id")
                if smaller and (smaller.what != "another error"):
                    return smaller
        return found

    def with_literals(self, expression, row, found):
        parts = []
        for part in expression.parts:
            if isinstance(part, Expression):
                value = answer(self.theirs, f"select ({part.sql(row)})::text")
                kind = answer(self.theirs, f"select pg_typeof({part.sql(row)})::text")
                if not isinstance(value[0], str) and not isinstance(kind[0], str) and len(value[1]) == 1 and kind[1][0] != b"unknown":
                    text, name = value[1][0], kind[1][0].decode().replace("character varying", "varchar").replace("character", "bpchar")
                    part = Literal(part.ty, typed(name, None if text is None else text.decode(errors="replace")))
            parts.append(part)
        plain = Expression(expression.ty, expression.key, *parts)
        smaller = self.differ(plain, "select {} as x", row)
        return smaller if smaller and smaller.what == found.what else found


@contextlib.contextmanager
def staffa(options):
    if options.server:
        host, port = options.server.rsplit(":", 1)
        yield f"host={host} port={port} user=admin dbname=staffa"
        return
    with tempfile.TemporaryDirectory() as place, server.running(options.program, "serve", "--data", place) as running:
        yield running.url


def shown(side):
    return f"{side[0]} {side[1]}"[:300]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/debug/staffa")
    parser.add_argument("--server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--examples", type=int, default=1, help="told for each cause")
    parser.add_argument("--refused", action="store_true", help="tell what is refused, too")
    parser.add_argument("--explained", action="store_true", help="tell what is different by design, too")
    parser.add_argument("--print", action="store_true")
    parser.add_argument("--statements", action="store_true", help="print statements over literals and do nothing else")
    options = parser.parse_args()
    causes, by_design, counts = collections.defaultdict(list), collections.defaultdict(list), collections.Counter()
    with oracle.postgres() as reference, staffa(options) as ours_url:
        sides = Sides(reference.url("postgres"), ours_url)
        signatures = Signatures(sides.theirs, sides.ours)
        for number in range(options.first, options.first + options.count):
            R.seed(f"{options.seed} {number}")
            expression, around = statement(signatures)
            if options.statements:
                print(f"select {expression.sql(R.randrange(6))} as x;")
                continue
            if options.print:
                print(number, around.replace("{}", expression.sql()))
            try:
                found = sides.check(expression, around)
            except psycopg.OperationalError as error:
                print(f"{number} connection lost: {around.replace('{}', expression.sql())}\n    {error}", flush=True)
                sides = Sides(reference.url("postgres"), ours_url)
                counts["lost"] += 1
                continue
            why = found and (found.explained() or (found.what.startswith("refused") and found.what))
            counts[why or (found.what if found else "same")] += 1
            if found and (not why or options.refused and found.what.startswith("refused")):
                causes[found.cause()].append((number, found))
            elif found and options.explained and not found.what.startswith("refused"):
                by_design[why].append((number, found))
    for cause, examples in sorted([*by_design.items(), *causes.items()], key=lambda item: -len(item[1])):
        print(f"{len(examples)} times {cause}")
        for number, found in examples[: options.examples]:
            print(f"  {number}: {found.sql}\n    PostgreSQL {shown(found.theirs)}\n    Staffa     {shown(found.ours)}")
    if not options.statements:
        print(dict(counts))
    sys.exit(1 if counts["lost"] or any(not found.what.startswith("refused") for examples in causes.values() for _, found in examples) else 0)


if __name__ == "__main__":
    main()
