"""psycopg 3: transactions, pipelines, streams, errors, cancel and timeouts as programs use them."""
import threading
import time

import psycopg

import target

report = target.Report()
check = report.check
conn = psycopg.connect(target.URL)
cur = conn.cursor()


def error_of(sql, parameters=None):
    try:
        conn.execute(sql, parameters)
    except psycopg.Error as error:
        conn.rollback()
        return error.sqlstate, error.diag.message_primary, error.diag.statement_position
    conn.rollback()
    return "no error"


conn.execute("drop table if exists psy")
conn.execute("create table psy (a int, b text)")
conn.commit()
check("parameter status", lambda: [conn.info.parameter_status(name) for name in (
    "server_encoding", "client_encoding", "DateStyle", "IntervalStyle", "integer_datetimes", "standard_conforming_strings",
    "default_transaction_read_only", "in_hot_standby")])
check("executemany", lambda: (cur.executemany("insert into psy values (%s, %s)", [(i, str(i)) for i in range(20)]), cur.rowcount)[1])
check("rowcount", lambda: (cur.execute("insert into psy values (%s, %s), (%s, %s)", (50, "x", 51, "y")).rowcount, cur.statusmessage))
conn.rollback()
check("rolled back", lambda: cur.execute("select count(*) from psy").fetchall())
cur.executemany("insert into psy values (%s, %s)", [(i, str(i)) for i in range(100)])
conn.commit()
check("committed", lambda: cur.execute("select count(*), sum(a) from psy").fetchall())
conn.commit()
check("null parameters", lambda: cur.execute("select %s::int is null, coalesce(%s, 'x')", (None, None)).fetchall())
check("prepared after five executions", lambda: [cur.execute("select b from psy where a = %s", (i,)).fetchone() for i in range(8)])
conn.commit()
check("stream", lambda: sum(1 for _ in conn.cursor().stream("select a from psy")))
conn.commit()


def pipeline():
    with conn.pipeline() as p:
        first, second = conn.cursor(), conn.cursor()
        first.execute("select 1")
        second.execute("select %s::int", (2,))
        p.sync()
        return first.fetchone(), second.fetchone()


def failed_pipeline():
    """By libpq's own calls: which of its calls raises psycopg leaves to the moment the answers arrive."""
    link = psycopg.connect(target.URL, autocommit=True).pgconn
    link.nonblocking = 0
    link.enter_pipeline_mode()
    for sql in (b"select 1", b"select nope", b"select 2"):
        link.send_query_params(sql, [])
    link.pipeline_sync()
    link.send_query_params(b"select 3", [])
    link.pipeline_sync()
    answers, syncs = [], 0
    while syncs < 2:
        answer = link.get_result()
        if answer is None:
            continue
        state = psycopg.pq.ExecStatus(answer.status).name
        syncs += state == "PIPELINE_SYNC"
        answers.append((state, answer.error_field(psycopg.pq.DiagnosticField.SQLSTATE)))
    link.exit_pipeline_mode()
    link.finish()
    return answers


check("pipeline", pipeline)
conn.commit()
check("error inside a pipeline", failed_pipeline)

for sql in ("select nope", "select * from nope", "select 1 +", "select 'x'::int", "select 2147483647 + 1::int", "select 1/0",
            "select nope(1)", "select * from nope.t", "set nope = 1", "insert into psy values ('x')", "select a from psy group by b",
            "select count(*) from psy where b = 5", "selec 1"):
    check(f"error: {sql}", lambda: error_of(sql))


def failed_transaction():
    states = []
    for sql in ("select nope", "select 1"):
        try:
            conn.execute(sql)
        except psycopg.Error as error:
            states.append((error.sqlstate, conn.info.transaction_status.name))
    conn.rollback()
    return states, conn.info.transaction_status.name


check("failed transaction", failed_transaction)


def read_only():
    conn.read_only = True
    try:
        return error_of("insert into psy values (1, 'x')")
    finally:
        conn.read_only = None


check("write in a read-only transaction", read_only)


def cancel():
    threading.Timer(0.5, conn.cancel).start()
    begun = time.monotonic()
    return error_of("select pg_sleep(60)"), time.monotonic() - begun < 10


def statement_timeout():
    conn.execute("set statement_timeout = '200ms'")
    conn.commit()
    result = error_of("select pg_sleep(60)")
    conn.execute("reset statement_timeout")
    conn.commit()
    return result


check("cancel", cancel)
check("statement_timeout", statement_timeout)


def set_and_rollback():
    conn.execute("set timezone to 'UTC'")
    conn.commit()
    conn.execute("set timezone to 'Europe/Paris'")
    inside = conn.info.parameter_status("TimeZone")
    conn.rollback()
    return inside, conn.info.parameter_status("TimeZone")


check("SET is rolled back and reported", set_and_rollback)
check("a pool's reset", lambda: [conn.execute(sql).statusmessage for sql in ("close all", "unlisten *", "reset all", "deallocate all")])
conn.commit()


def two_sessions():
    with psycopg.connect(target.URL, autocommit=True) as other:
        other.execute("set timezone to 'Asia/Tokyo'")
        conn.execute("insert into psy values (5000, 'mine')")
        seen = other.execute("select count(*) from psy where a = 5000").fetchone()
        conn.commit()
        return seen, other.execute("select count(*) from psy where a = 5000").fetchone(), conn.execute("show timezone").fetchone() != ("Asia/Tokyo",)


check("two sessions", two_sessions)
conn.commit()
conn.execute("drop table psy")
conn.commit()
conn.close()


def wrong_database():
    try:
        psycopg.connect(target.URL.rsplit("/", 1)[0] + "/nope").close()
    except psycopg.OperationalError as error:
        return str(error).rsplit("failed: ", 1)[-1]


check("wrong database", wrong_database)
report.finish()
