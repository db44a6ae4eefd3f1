"""Writes the expectations of tests/sql/**/*.slt from a real PostgreSQL; Staffa is never asked.

    python scripts/slt_bless.py [--check] [FILE.slt ...]        # all files when none is named

`query` records get their column types and rows, `statement` records `ok`, `count N` or `error SQLSTATE: message`.
Records under `onlyif staffa` (or `skipif postgres`) are things PostgreSQL does not have: they are written by hand
and left alone. `skipif pending` marks what PostgreSQL answers and Staffa does not yet. An expectation that is only a
SQLSTATE (`statement error 42601`) stays one: the wording is not compared there. --check changes nothing and exits
with 1 when a file would change.

Values are PostgreSQL's text output; columns are joined by `|`, NULL is `NULL`, an empty string `(empty)`, and a
backslash, line feed, carriage return or tab inside a value is `\\\\`, `\\n`, `\\r` or `\\t`. The letters of the
types are in `TYPES` below and in tests/it/slt.rs.
"""
import argparse
import glob
import os
import re
import sys

import psycopg
from psycopg import pq

import oracle

TYPES = {16: "B", 21: "S", 23: "I", 20: "L", 700: "F", 701: "D", 1700: "N", 25: "T", 1043: "V", 1042: "C", 17: "Y",
         1082: "d", 1083: "t", 1114: "s", 1184: "z", 1186: "i", 2950: "u", 114: "j", 3802: "J", 2249: "r", 19: "T",
         26: "O", 24: "R", 2202: "R", 2205: "R", 2206: "R", 4089: "R", 4096: "R", 18: "c", 22: "v", 30: "v"}
ARRAYS = {1000, 1005, 1007, 1016, 1021, 1022, 1231, 1009, 1015, 1014, 1001, 1182, 1183, 1115, 1185, 1187, 2951, 199, 3807,
          1002, 1003, 1028, 2210, 2211}
LABELS = {"postgres"}
CODES = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY)


def letter(oid):
    return "A" if oid in ARRAYS else TYPES.get(oid, "?")


def value(raw):
    if raw is None:
        return "NULL"
    text = raw.decode()
    for mark, escape in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(mark, escape)
    return text or "(empty)"


def regex_escape(text):
    return re.sub(r"([\\.+*?()|\[\]{}^$#&~])", r"\\\1", " ".join(text.split()))


def skipped(conditions):
    return any((kind == "onlyif") != (label in LABELS) for kind, label in conditions)


class Connections:
    """One fresh database per file; `connection NAME` opens further ones to it."""

    def __init__(self, server, database):
        self.server, self.database, self.open = server, database, {}
        with psycopg.connect(server.url(), autocommit=True) as c:
            c.execute(f'drop database if exists "{database}" with (force)')
            c.execute(f'create database "{database}" template template0')

    def get(self, name):
        if name not in self.open:
            self.open[name] = psycopg.connect(self.server.url(self.database), autocommit=True)
            self.open[name].execute("set timezone to 'UTC'")
            self.open[name].execute("set lock_timeout = '2s'")
        return self.open[name].pgconn

    def close(self):
        for connection in self.open.values():
            connection.close()
        with psycopg.connect(self.server.url(), autocommit=True) as c:
            c.execute(f'drop database if exists "{self.database}" with (force)')


def error_line(result, head):
    state = result.error_field(pq.DiagnosticField.SQLSTATE).decode()
    message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY).decode()
    wanted = head.split(" error", 1)[1].strip() if " error" in head else ""
    kind = head.split()[0]
    if re.fullmatch(r"[0-9A-Z]{5}", wanted):
        return f"{kind} error {state}"
    return f"{kind} error {state}: {regex_escape(message)}"


def bless_record(head, sql, connection):
    """The record as it should stand: head line, SQL, and for a query its rows."""
    result = connection.exec_(sql.encode())
    if result.status not in CODES:
        if " error" not in head:
            print(f"  unexpected error: {result.error_message.decode().strip()}\n    {sql}")
        return [error_line(result, head), sql]
    if head.startswith("query"):
        types = "".join(letter(result.ftype(i)) for i in range(result.nfields)) or "?"
        mode = " rowsort" if "rowsort" in head else ""
        rows = ["|".join(value(result.get_value(r, c)) for c in range(result.nfields)) for r in range(result.ntuples)]
        if mode:
            rows.sort()
        return [f"query {types}{mode}", sql, "----", *rows]
    if " error" in head:
        print(f"  succeeded, an error was expected: {sql}")
    return [f"statement count {result.command_tuples}" if "count" in head else "statement ok", sql]


def bless(path, server):
    """The file's new text."""
    database = "slt_" + re.sub(r"[^a-z0-9]", "_", os.path.relpath(path, ROOT)[:-4])
    connections, out, conditions, name = Connections(server, database), [], [], "default"
    for block in open(path).read().rstrip("\n").split("\n\n"):
        lines = [line for line in block.split("\n")]
        kept, record = [], []
        for line in lines:
            words = line.split()
            if not record and (line.startswith("#") or not words):
                kept.append(line)
            elif not record and words[0] in ("onlyif", "skipif"):
                conditions.append((words[0], words[1])); kept.append(line)
            elif not record and words[0] == "connection":
                name = words[1]; kept.append(line)
            elif not record and words[0] in ("control", "halt", "include"):
                kept.append(line)
            else:
                record.append(line)
        if record and not skipped(conditions):
            head, rest = record[0], record[1:]
            sql = "\n".join(rest[: rest.index("----")] if "----" in rest else rest)
            record = bless_record(head, sql, connections.get(name))
        if record:
            conditions, name = [], "default"
        out.append("\n".join(kept + record))
    connections.close()
    return "\n\n".join(out).rstrip("\n") + "\n"


ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "sql")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--check", action="store_true")
    p.add_argument("files", nargs="*")
    a = p.parse_args()
    changed = 0
    with oracle.postgres() as server:
        for path in a.files or sorted(glob.glob(f"{ROOT}/**/*.slt", recursive=True)):
            print(os.path.relpath(path))
            before, after = open(path).read(), bless(path, server)
            if before != after:
                changed += 1
                if a.check:
                    print("  differs from PostgreSQL's answers")
                else:
                    open(path, "w").write(after)
    return 1 if a.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
