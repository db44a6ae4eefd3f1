"""Replays captured statements on PostgreSQL and Staffa and compares everything a client can see.

Compared are the number and kind of results, column names, type OIDs, type modifiers, rows, command tags, SQLSTATE and the
transaction state after each statement. Rows are compared as text and without order; where the outermost query has ORDER BY,
the sequence of its sort keys is compared too, so ties do not count. OIDs from 16384 up are given by each server, so only
their presence is compared.
"""
import json
import re
import select
from collections import Counter
from pathlib import Path
from time import monotonic

import psycopg
from psycopg.pq import DiagnosticField as Diag, ExecStatus, TransactionStatus

import pair
from checks import Check, distinct

CAPTURES = Path(__file__).resolve().parent.parent / "captures"
FIRST_USER_OID = 16384
OID_TYPES = {24, 26, 28, 30, 1028, 2205, 2206, 2210, 2211, 4089, 4096}
TEXT_TYPES = {18, 19, 25, 1042, 1043}
# Results that no two servers share: only their shape is compared.
VOLATILE = re.compile(r"pg_backend_pid|version\(|\bnow\(|current_timestamp|gen_random_uuid|_size\(|\brandom\(|pg_stat_|"
                      r"\bfetch\b|^\s*explain\b", re.I)
VOLATILE_COLUMNS = {"relpages", "reltuples", "relallvisible", "relfrozenxid", "relminmxid", "datfrozenxid"}
TEMP_SCHEMAS = {"pg_temp_N", "pg_toast_temp_N"}
EMPTY_BINARY_COPY = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"
# These leave tables behind: what one server lacks of them shall not be seen by the others' queries on the catalog.
LAST = ("pgbench", "dbt")
# Seconds before a statement is cancelled.
PATIENCE = 120


def suite(pattern, binary=False):
    """Replays the files of that name; with `binary`, every result is asked for in the binary format."""
    def run(servers, work, only):
        oracle, staffa = (Server(url) for url in servers.each())
        files = sorted(CAPTURES.glob(pattern), key=lambda path: (path.stem in LAST, path.stem))
        items = [(path.stem, session, item) for path in files for session, item in load(path)]
        names = distinct(f"{stem} [{session}] {brief(item['sql'])}" for stem, session, item in items)
        checks, current = [], None
        for name, (stem, session, item) in zip(names, items):
            if only and not re.search(only, name):
                continue
            if (stem, session) != current:
                oracle.begin_session()
                staffa.begin_session()
                current = (stem, session)
            checks.append(replayed(name, item, oracle, staffa, int(binary)))
        return checks
    return run


def brief(sql):
    return " ".join(re.sub(r"/\*.*?\*/", "", sql, flags=re.S).split())[:150]


def replayed(name, item, oracle, staffa, result_format):
    """The check of one statement. After one that differs, Staffa's session goes on in the state PostgreSQL's has."""
    wanted, state = oracle.run(item, result_format), oracle.state()
    try:
        got = staffa.run(item, result_format)
        found = list(compare(item["sql"], wanted, got))
        if state != staffa.state():
            found.append(("transaction", state, staffa.state()))
            staffa.begin_session(state)
    except psycopg.Error as error:
        found = [("connection", "", str(error).strip())]
        staffa.begin_session(state)
    left, right = ("\n".join(f"{kind}: {str(answers[side])[:1500]}" for kind, *answers in found) for side in (0, 1))
    return Check(name, not found, f"{item['sql']}\n{left}" if found else "", right)


def load(path):
    """Yields (session, statement): statements of one session share a connection."""
    if path.suffix == ".sql":
        for sql, data in pair.statements(path):
            yield path.stem, {"protocol": "simple", "sql": sql, "copy": data}
    else:
        for line in path.read_text().splitlines():
            item = json.loads(line)
            yield item["step"], item


class Server:
    """One server: a connection for the current session and one beside it to look OIDs up."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.helper = psycopg.connect(dsn, autocommit=True)
        self.conn = None

    def begin_session(self, state="IDLE"):
        if self.conn:
            self.conn.close()
        self.conn = psycopg.connect(self.dsn, autocommit=True)
        self.conn.pgconn.exec_(b"SET timezone = 'UTC'")
        self.notices = []
        self.conn.pgconn.notice_handler = lambda notice: self.notices.append(diagnosis(notice))
        self.prepared = {}
        if state != "IDLE":
            self.conn.pgconn.exec_(b"BEGIN")
        if state == "INERROR":
            self.conn.pgconn.exec_(b"no statement")

    def resolve(self, text):
        """Replaces {{regclass sales.orders}} with that object's OID on this server (0 if it has none)."""
        def oid(match):
            try:
                row = self.helper.execute(f"SELECT '{match[2]}'::{match[1]}::oid").fetchone()
                return str(row[0])
            except psycopg.Error:
                return "0"
        return text and re.sub(r"\{\{(reg\w+) ([^}]+)\}\}", oid, text)

    def run(self, item, result_format):
        pg = self.conn.pgconn
        sql = self.resolve(item["sql"]).encode()
        for dropped in re.findall(rb'(?i)\bdeallocate\s+(?:prepare\s+)?"?(\w+)', sql):
            self.prepared.pop(dropped, None) if dropped.lower() != b"all" else self.prepared.clear()
        params = [None if p is None else self.resolve(p).encode() for p in item.get("params", [])]
        if item["protocol"] == "simple" and result_format == 0:
            pg.send_query(sql)
        elif name := item.get("statement", "").encode():
            if error := self.prepare(name, sql):
                return [error]
            pg.send_query_prepared(name, params, None, result_format)
        else:
            pg.send_query_params(sql, params, None, None, result_format)
        return list(self.results(item))

    def prepare(self, name, sql):
        pg = self.conn.pgconn
        if self.prepared.get(name) == sql:
            return None
        if name in self.prepared:
            pg.exec_(b'DEALLOCATE "%s"' % name)
        result = pg.prepare(name, sql)
        if result.status == ExecStatus.FATAL_ERROR:
            return describe(result)
        self.prepared[name] = sql
        return None

    def results(self, item):
        pg = self.conn.pgconn
        while result := self.next_result(item.get("cancel_after", PATIENCE)):
            if result.status == ExecStatus.COPY_IN:
                data = item.get("copy", "")
                pg.put_copy_data(EMPTY_BINARY_COPY if data == "binary:empty" else data.encode())
                pg.put_copy_end()
                continue
            copied = []
            if result.status == ExecStatus.COPY_OUT:
                while (chunk := pg.get_copy_data(0))[0] > 0:
                    copied.append(bytes(chunk[1]))
            yield describe(result, copied)

    def next_result(self, patience):
        """Waits, sends a CancelRequest when patience ends, and gives up on a server that ignores it."""
        pg, cancelled = self.conn.pgconn, False
        until = monotonic() + patience
        while pg.is_busy():
            if monotonic() >= until:
                if cancelled:
                    raise psycopg.OperationalError("CancelRequest had no effect")
                pg.get_cancel().cancel()
                until, cancelled = monotonic() + PATIENCE, True
            select.select([pg.socket], [], [], until - monotonic())
            pg.consume_input()
        return pg.get_result()

    def state(self):
        return TransactionStatus(self.conn.pgconn.transaction_status).name


def describe(result, copied=()):
    if result.status == ExecStatus.FATAL_ERROR:
        return diagnosis(result)
    columns = range(result.nfields)
    user = lambda oid: "user type" if oid >= FIRST_USER_OID else oid
    tag = (result.command_status or b"").decode()
    if tag == f"SELECT {result.ntuples}":
        tag = "SELECT"
    out = {"kind": ExecStatus(result.status).name, "tag": tag}
    if result.status == ExecStatus.TUPLES_OK:
        out["names"] = [result.fname(c).decode() for c in columns]
        out["types"] = [user(result.ftype(c)) for c in columns]
        out["typmods"] = [result.fmod(c) for c in columns]
        out["rows"] = [tuple(cell(result, r, c) for c in columns) for r in range(result.ntuples)]
    if copied:
        out["rows"] = [(chunk.decode("utf8", "backslashreplace"),) for chunk in copied]
    return out


DIAGNOSIS = {"sqlstate": Diag.SQLSTATE, "message": Diag.MESSAGE_PRIMARY, "position": Diag.STATEMENT_POSITION,
             "detail": Diag.MESSAGE_DETAIL, "hint": Diag.MESSAGE_HINT, "context": Diag.CONTEXT}


def diagnosis(result):
    """What an error or a notice says."""
    return {part: (result.error_field(field) or b"").decode() for part, field in DIAGNOSIS.items()}


def cell(result, row, column):
    value = result.get_value(row, column)
    if value is None or result.fname(column).decode() in VOLATILE_COLUMNS:
        return None
    type_oid = result.ftype(column)
    if result.fformat(column) and type_oid not in TEXT_TYPES:
        return f"{len(value)} bytes" if type_oid in OID_TYPES else value.hex()
    text = value.decode(errors="replace")
    if type_oid in OID_TYPES:
        text = re.sub(r"\d+", lambda m: "<oid>" if int(m[0]) >= FIRST_USER_OID else m[0], text)
    return re.sub(r"(pg_toast_temp|pg_toast|pg_temp|add1)_\d+", r"\1_N", text)


def outermost(sql):
    """The statement without comments, literals and everything in parentheses."""
    sql = re.sub(r"--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", " ", sql, flags=re.S)
    while (shorter := re.sub(r"\([^()]*\)", " ", sql)) != sql:
        sql = shorter
    return sql.lower()


def sort_keys(outer, names):
    """The output columns named by the leading terms of ORDER BY, as indexes."""
    clause = re.search(r"\border\s+by\s+(.*?)(?:\b(?:limit|offset|fetch|for)\b|;|$)", outer, re.S)
    keys = []
    for term in clause[1].split(",") if clause else ():
        word = (term.split() or [""])[0].split(".")[-1]
        if word.isdigit() and int(word) <= len(names):
            keys.append(int(word) - 1)
        elif word in names:
            keys.append(names.index(word))
        else:
            break
    return keys


def compare(sql, oracle, staffa):
    """Yields (what differs, PostgreSQL's, Staffa's)."""
    kinds = [[r.get("sqlstate") or r["kind"] for r in side] for side in (oracle, staffa)]
    if kinds[0] != kinds[1]:
        errors = [next((f'{r["sqlstate"]} {r["message"]}' for r in side if "sqlstate" in r), k)
                  for side, k in zip((oracle, staffa), kinds)]
        yield ("sqlstate" if any("sqlstate" in r for r in oracle + staffa) else "results", *errors)
        return
    outer = outermost(sql)
    some_rows = re.search(r"\blimit\b", outer) and not re.search(r"\border\s+by\b", outer)
    shape_only = VOLATILE.search(sql) or some_rows
    for o, s in zip(oracle, staffa):
        for key in ("names", "types", "typmods", "tag"):
            if o.get(key) != s.get(key):
                yield key, o.get(key), s.get(key)
        a, b = ([row for row in side.get("rows", []) if not TEMP_SCHEMAS & set(row)] for side in (o, s))
        if shape_only or a == b:
            continue
        left, right = Counter(a), Counter(b)
        if left != right:
            yield "rows", f"{len(a)}, only here {sample(left - right)}", f"{len(b)}, only here {sample(right - left)}"
        else:
            keys = sort_keys(outer, o.get("names", []))
            sequences = [[tuple(row[k] for k in keys) for row in side] for side in (a, b)]
            if sequences[0] != sequences[1]:
                yield "order", sequences[0][:5], sequences[1][:5]


def sample(rows):
    return [row for row, _ in zip(rows.elements(), range(2))]
