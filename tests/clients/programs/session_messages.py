"""What the server answers message by message: implicit transactions, cursors and portals, notices, plans made again."""
import time

import target
from raw import SYNC, Raw, bind, close, describe, execute, parse, query, run

report = target.Report()
one = Raw(target.URL)


def say(*messages):
    return "\n     ".join(["", *one.send(*messages)])


def simple(*texts):
    for sql in texts:
        report.check(sql, lambda: say(query(sql)))


def extended(name, *messages):
    report.check(name, lambda: say(*messages, SYNC))


simple("drop table if exists m; create table m (a int, b text)")

# Several statements in one message are one transaction.
simple("insert into m values (1, 'x'); insert into m values (2, 'y')", "select count(*) from m",
       "insert into m values (3, 'z'); select 1 / (a - a) from m; insert into m values (4, 'z')", "select count(*) from m",
       "insert into m values (3, 'z'); select nope; insert into m values (4, 'z')", "select count(*) from m",
       "insert into m values (3, 'z'); selec", "select count(*) from m",
       "insert into m values (3, 'z'); commit; insert into m values (4, 'z'); select 1 / (a - a) from m", "select count(*) from m",
       "insert into m values (5, 'z'); rollback; insert into m values (6, 'z')", "select array_agg(a order by a) from m",
       "insert into m values (7, 'z'); begin; insert into m values (8, 'z')", "select 1", "rollback", "select count(*) from m",
       "begin; insert into m values (7, 'z'); commit; select 1 / (a - a) from m", "select count(*) from m",
       "insert into m values (9, 'z'); begin; select 1 / (a - a) from m", "select 2", "commit", "select count(*) from m",
       "begin; select 1; begin; commit; commit", "savepoint s; select 1", "begin; savepoint s; select 1 / (a - a) from m; rollback to s; commit",
       "rollback to s; select 3; commit", "rollback", "set local work_mem = '2MB'; show work_mem", "show work_mem",
       "set local work_mem = '2MB'", "set work_mem = '3MB'; select 1 / (a - a) from m", "show work_mem",
       "set transaction isolation level serializable; show transaction_isolation", "set transaction read only; create table n (a int)",
       "commit and chain", "select 1; rollback and chain", "begin; commit and chain; select 4", "rollback",
       "vacuum m; select 1", "select 1; vacuum m", "discard all; select 1", "create table n (a int); drop table n", ";", "", " ; ; ",
       "select 1;;select 2;", "declare c cursor for select 5; fetch c; fetch c", "fetch c", "start transaction; select 1; end", "abort")

# Cursors: columns, tags and formats.
simple("begin", "declare c binary cursor for select a, b from m order by a", "fetch 2 c", "move 1 in c", "fetch all c", "close c",
       "close all", "rollback", "declare h cursor with hold for select a from m order by a; select 1", "fetch 1 h", "close h",
       "begin; declare c cursor with hold for select 1; rollback; fetch c")
extended("declare", run("begin") + run("declare c cursor for select a, b from m order by a"))
extended("fetch", run("fetch 2 c"))
extended("describe a fetch", parse("fetch c", "f") + describe(b"S", "f") + bind("", "f", formats=(1, 0)) + describe(b"P") + execute())
extended("describe the cursor", describe(b"P", "c"))
extended("execute the cursor", execute("c", 1) + execute("c", 1))
extended("close the cursor", close(b"P", "c") + run("fetch c"))
extended("after that", run("select 1"))
extended("end", run("rollback") + close(b"S", "f"))
extended("no block", run("declare c cursor for select 1") + run("select 2"))
extended("move", run("begin") + run("declare c binary scroll cursor for select a from m order by a") + run("move 2 c") + run("fetch relative 0 c"))
extended("describe a binary cursor", describe(b"P", "c") + run("end"))
extended("parameters", run("begin") + parse("declare c cursor for select $1::int + a from m order by a", "", (23,)) + describe(b"S")
         + bind("", "", (b"10",)) + execute() + run("fetch 2 c"))
extended("end", run("commit"))

# Portals are cursors, and cursors portals.
extended("portal", run("begin") + parse("select a from m order by a", "s") + bind("p", "s") + execute("p", 1) + run("fetch 1 p") + execute("p", 1))
extended("go on", execute("p", 1) + run("move 1 p") + execute("p"))
extended("again", execute("p"))
extended("backward", run("fetch prior p"))
extended("end", run("rollback"))
extended("not begun", run("begin") + bind("p", "s") + run("fetch 2 p") + execute("p", 1) + run("close p") + execute("p"))
extended("end", run("rollback"))
extended("names", run("begin") + bind("p", "s") + run("declare p cursor for select 1"))
extended("end", run("rollback") + run("begin") + run("declare p cursor for select 1") + bind("p", "s"))
extended("end", run("rollback"))
extended("seen", run("begin") + bind("p", "s") + run("declare q cursor with hold for select 1")
         + run("select name, statement, is_holdable, is_binary from pg_cursors where name <> '' order by name"))
extended("after a savepoint", run("savepoint a") + bind("r", "s") + run("rollback to a") + execute("r"))
extended("end", run("rollback"))
extended("until sync", bind("p", "s") + execute("p", 1))
extended("gone", execute("p", 1))
extended("insert runs once", parse("insert into m values (20, 'p')") + bind("i") + execute("i") + execute("i"))
extended("close all", bind("p", "s") + run("close all") + execute("p", 1))
extended("suspended fetch", run("begin") + run("declare c cursor for select a from m order by a") + parse("fetch 3 c") + bind("f") + execute("f", 2) + execute("f", 2))
extended("end", run("rollback"))

# A pipeline is one transaction.
extended("pipeline", run("insert into m values (30, 'p')") + run("select 1 / (a - a) from m") + run("insert into m values (31, 'p')"))
simple("select count(*) from m where a >= 30")
extended("pipeline with begin", run("insert into m values (30, 'p')") + run("begin") + run("insert into m values (31, 'p')"))
simple("rollback", "select count(*) from m where a >= 30")
extended("pipeline with commit", run("insert into m values (30, 'p')") + run("commit") + run("select 1 / (a - a) from m"))
simple("select count(*) from m where a >= 30")

# Notices.
simple("drop table if exists nope", "drop table if exists nope, nope2", "drop view if exists nope", "drop schema if exists nope",
       "drop sequence if exists nope", "create table if not exists m (a int)", "create schema if not exists public", "begin; begin",
       "commit; commit", "rollback", "alter table if exists nope add column x int", "drop table if exists nope.t", "truncate nope",
       "set client_min_messages = warning", "drop table if exists nope", "begin; begin; end", "set client_min_messages = error",
       "begin; begin; end", "reset client_min_messages", "create sequence if not exists mseq; create sequence if not exists mseq", "drop sequence mseq",
       "set session characteristics as transaction read only", "reset default_transaction_read_only", "unlisten *", "create view mv as select 1 as x; create or replace view mv as select 2 as x", "drop view mv")

# A plan is made again; its rows must look the same.
simple("create table d (a int, b text)", "insert into d values (1, 'x')")
extended("prepare", parse("select * from d order by a", "d1") + parse("select a from d", "d2") + parse("insert into d values (7, 'y')", "d3") + bind("", "d1") + execute())
simple("alter table d add column c int")
extended("another column", bind("", "d1") + execute())
extended("the same columns", bind("", "d2") + execute() + bind("", "d3") + execute())
simple("alter table d drop column c")
extended("as before", bind("", "d1") + execute())
simple("alter table d rename column b to e")
extended("another name", bind("", "d1") + execute())
simple("drop table d")
extended("no table", bind("", "d2") + execute())
simple("create table d (a bigint, b text)")
extended("another type", bind("", "d2") + execute())
simple("drop table d", "prepare q as select * from m limit 0", "execute q", "alter table m add column z int", "execute q", "deallocate q", "deallocate nope", "deallocate all")
simple("drop table m")

# Settings clients are told of.
simple("set application_name = 'me'", "set timezone = 'Europe/Berlin'; set datestyle = 'ISO, DMY'", "begin; set timezone = 'Asia/Tokyo'", "rollback",
       "select set_config('application_name', 'you', false)", "begin", "select set_config('timezone', 'Asia/Tokyo', true)", "commit", "set timezone = 'UTC'", "reset application_name; reset datestyle")

# Other sessions: seen, stopped, ended.
two = Raw(target.URL)


def number_of(connection):
    row = next(answer for answer in connection.send(query("select pg_backend_pid()")) if answer.startswith("Row"))
    return int(row.split("'")[1])


def seen():
    # What it waits for is known a moment after its answer.
    time.sleep(0.2)
    shown = "state, query, usename = current_user, datname = current_database(), backend_type, wait_event_type, wait_event, xact_start is null"
    return say(query(f"select {shown} from pg_stat_activity where pid = {number}"))


def stopped(call):
    two.socket.sendall(query("select pg_sleep(30)::text"))
    time.sleep(0.5)
    told = one.send(query(f"select {call}({number})"))
    return "\n     ".join(["", *told, *two.until(b"Z")])


number = number_of(two)
report.check("idle", seen)
two.send(query("begin"))
two.send(query("select 2 as two"))
report.check("idle in a transaction", seen)
two.send(query("select nope"))
report.check("failed", seen)
two.send(query("rollback; set application_name = 'two'"))
report.check("with a name", lambda: say(query(f"select application_name from pg_stat_activity where pid = {number}")))
report.check("cancelled", lambda: stopped("pg_cancel_backend"))
report.check("still there", lambda: two.send(query("select true")))
report.check("terminated", lambda: stopped("pg_terminate_backend"))
two = Raw(target.URL)
number = number_of(two)
report.check("terminated while idle", lambda: [*one.send(query(f"select pg_terminate_backend({number})")), *two.until(b"Z")])
time.sleep(0.2)
report.check("gone", lambda: say(query(f"select count(*) from pg_stat_activity where pid = {number}")))

# Advisory locks: one waits for the other.
two = Raw(target.URL)
one.send(query("select pg_advisory_lock(1)"))
two.socket.sendall(query("select pg_advisory_lock(1)::text"))
time.sleep(0.3)
report.check("given back", lambda: say(query("select pg_advisory_unlock(1)")))
report.check("taken over", lambda: two.until(b"Z"))
two.socket.close()
time.sleep(0.3)
report.check("gone with its session", lambda: say(query("select pg_try_advisory_lock(1), pg_try_advisory_lock(2)")))
report.finish()
