"""Dumps what PostgreSQL 15 knows of itself into planner/src/pg_catalog/data: the system relations and their columns, and
the rows of those that describe types, functions, operators and casts.

    python scripts/pg_facts.py [--check]

OIDs and attributes are PostgreSQL's own, so clients that know them find what they look for. Each file is tab-separated as
COPY writes it, after two lines: columns that have one value in every row, and the columns that have several. `reg*` columns
hold OIDs. Values of a fresh cluster only; --check changes nothing and exits with 1 when a file would change.
"""
import argparse
import pathlib
import sys

import psycopg

import oracle

PLACE = pathlib.Path(__file__).parent.parent / "planner/src/pg_catalog/data"

# What Staffa has none of, so that nobody is told of functions that take it.
FOREIGN = """box circle line lseg path point polygon tsvector tsquery gtsvector regconfig regdictionary xml money inet cidr
macaddr macaddr8 bit varbit timetz int4range int8range numrange tsrange tstzrange daterange int4multirange int8multirange
nummultirange tsmultirange tstzmultirange datemultirange anyrange anymultirange anycompatiblerange anycompatiblemultirange
refcursor txid_snapshot pg_snapshot trigger event_trigger pg_lsn xid8 tid""".split()

FOREIGN_OIDS = f"""array(select oid from pg_type
  where typname = any('{{{",".join(FOREIGN)}}}') or typname = any('{{{",".join("_" + name for name in FOREIGN)}}}'))"""

RELATIONS = """
select c.oid, n.nspname, c.relname, c.relkind, c.reltype, c.relhasindex, c.relisshared, a.attname, a.atttypid,
  case when t.typtype = 'd' then t.typbasetype else a.atttypid end,
  case when t.typtype = 'd' then t.typtypmod else a.atttypmod end, a.attnotnull, a.attcollation
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
join pg_type t on t.oid = a.atttypid
where n.nspname in ('pg_catalog', 'information_schema') and c.relkind in ('r', 'v') and a.attnum > 0
order by c.oid, a.attnum"""

# Relation and the rows of it that are dumped.
ROWS = {
    "pg_type": "true",
    "pg_proc": f"""oid in (select unnest(array[typinput, typoutput, typreceive, typsend, typmodin, typmodout, typanalyze,
                                             typsubscript]) from pg_type)
        or oid in (select amhandler from pg_am)
        or not (coalesce(proallargtypes, proargtypes::oid[]) || prorettype && {FOREIGN_OIDS})
        and (not proargtypes::oid[] || prorettype && array[2281, 269, 325, 3831, 4600, 3310, 3115]::oid[])""",
    "pg_operator": f"not array[oprleft, oprright, oprresult] && {FOREIGN_OIDS}",
    "pg_cast": f"not array[castsource, casttarget] && {FOREIGN_OIDS}",
    "pg_am": "true",
    "pg_collation": "collname in ('default', 'C', 'POSIX', 'ucs_basic')",
    "pg_language": "lanname in ('internal', 'sql')",
    "pg_opclass": "true",
    "pg_opfamily": "true",
    "pg_aggregate": "aggfnoid in (select oid from pg_proc where not (proargtypes::oid[] || prorettype && " + FOREIGN_OIDS + "))",
    "pg_range": "true",
    "pg_namespace": "nspname <> 'public'",
    "pg_tablespace": "true",
    "pg_description": """classoid in ('pg_type'::regclass, 'pg_am'::regclass, 'pg_namespace'::regclass, 'pg_collation'::regclass,
        'pg_language'::regclass, 'pg_operator'::regclass, 'pg_proc'::regclass)""",
}

# What PostgreSQL says of an object besides its row.
SAID = {
    "pg_proc": [
        ("sqlbody", "pg_get_function_sqlbody(oid)"),
        ("arguments", "case when pronargdefaults > 0 then pg_get_function_arguments(oid) end"),
        ("support", "nullif(prosupport::text, '-')"),
    ],
}

# What is true of settings, whatever they are set to.
SETTINGS = "name, unit, category, short_desc, extra_desc, context, vartype, min_val, max_val, enumvals, boot_val"


def text(value):
    return "\\N" if value is None else value


def relations(cursor):
    lines, last = [], None
    for row in cursor.execute(RELATIONS).fetchall():
        row = [str(value) if not isinstance(value, bool) else "ft"[value] for value in row]
        if row[0] != last:
            last = row[0]
            lines.append("\t".join(row[:7]))
        lines.append("\t".join(["", *row[7:]]))
    return "\n".join(lines) + "\n"


def settings(cursor):
    with cursor.copy(f"copy (select {SETTINGS} from pg_settings order by lower(name)) to stdout") as copy:
        lines = b"".join(bytes(chunk) for chunk in copy).decode()
    return "\n" + SETTINGS.replace(", ", "\t") + "\n" + lines


def rows(cursor, relation, condition):
    columns = cursor.execute(
        """select attname, format_type(atttypid, null) from pg_attribute
           where attrelid = %s::regclass and attnum > 0 order by attnum""", [relation]).fetchall()
    named = []
    for name, ty in columns:
        if ty.startswith("reg"):
            named.append((name, f"{name}::oid"))
        elif ty in ("pg_node_tree", "aclitem[]") and name != "typdefaultbin":
            named.append((name, "null"))
        elif name in ("reltuples", "relpages"):
            named.append((name, "0"))
        else:
            named.append((name, name))
    named += SAID.get(relation, [])
    order = "1" if relation != "pg_description" else "classoid, objoid, objsubid"
    query = f"copy (select {', '.join(f'{e} as {n}' for n, e in named)} from {relation} where {condition} order by {order}) to stdout"
    with cursor.copy(query) as copy:
        table = [line.split("\t") for line in b"".join(bytes(chunk) for chunk in copy).decode().splitlines()]
    constant = [i for i in range(len(named)) if len({row[i] for row in table}) == 1]
    varying = [i for i in range(len(named)) if i not in constant]
    lines = ["\t".join(f"{named[i][0]}={table[0][i]}" for i in constant), "\t".join(named[i][0] for i in varying)]
    lines += ["\t".join(row[i] for i in varying) for row in table]
    return "\n".join(lines) + "\n"


def keywords(cursor):
    found = cursor.execute("select word, catcode, barelabel, catdesc, baredesc from pg_get_keywords() order by 1").fetchall()
    return "\n".join("\t".join(str(value) if not isinstance(value, bool) else "ft"[value] for value in row) for row in found) + "\n"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--check", action="store_true")
    check = arguments.parse_args().check
    stale = []
    with oracle.postgres() as server, psycopg.connect(server.url("template1"), autocommit=True) as connection:
        cursor = connection.cursor()
        files = {"relations": relations(cursor), "keywords": keywords(cursor), "pg_settings": settings(cursor)}
        files |= {relation: rows(cursor, relation, condition) for relation, condition in ROWS.items()}
    for name, content in files.items():
        path = PLACE / f"{name}.tsv"
        if not path.exists() or path.read_text() != content:
            stale.append(path.name)
            if not check:
                path.write_text(content)
    print(f"{len(files)} files, changed: {', '.join(stale) or 'none'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
