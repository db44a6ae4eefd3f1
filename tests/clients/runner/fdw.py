"""PostgreSQL's postgres_fdw: a database whose foreign tables are in the other server; cursors, conditions and writes sent there."""
import psycopg

import programs
from urllib.parse import urlsplit

STATEMENTS = """
import foreign schema sales limit to (customer, orders) from server far into far
select count(*) from far.orders
select * from far.orders order by id limit 3
select id, name, balance, created, tags, u from far.customer where id between 10 and 12 order by id
select id from far.orders where d = '2024-01-02' and b and price > 5 order by id
select c.name, sum(o.price) from far.orders o join far.customer c on c.id = o.customer_id where o.id < 20 group by c.name order by c.name limit 3
select d, count(*), sum(i), avg(price) from far.orders where s > 50 group by d order by d limit 5
select max(ts), min(t), bool_and(b) from far.orders
select count(*) from far.orders o join local l on l.a = o.id
select sum(id) from (select id from far.orders order by id limit 700) x
create foreign table far_t (a int, b text) server far options (schema_name 'public', table_name 't')
insert into far_t values (1000, 'far'), (1001, null)
insert into far_t values (1002, 'back') returning a, b
update far_t set b = 'changed' where a = 1000
update far_t set b = b || '!' where a = 1000 returning *
select * from far_t where a >= 1000 order by a
delete from far_t where a >= 1000
select count(*) from far_t
analyze far_t
explain (verbose, costs off) select count(*) from far.orders where id < 10
begin; insert into far_t values (2000, 'x'); savepoint s; insert into far_t values (2001, 'y'); rollback to s; commit
select * from far_t where a >= 2000
begin; delete from far_t where a >= 2000; rollback
select count(*) from far_t where a >= 2000
delete from far_t where a >= 2000
"""


def run(servers, work, only):
    wanted, got = (answers(servers.postgres, url, f"near{i}") for i, url in enumerate(servers.each()))
    return programs.side_by_side(wanted, got, only)


def answers(home, far, database):
    """A database of PostgreSQL's that reads the far server by foreign tables."""
    with psycopg.connect(home, autocommit=True) as conn:
        conn.execute(f"drop database if exists {database} with (force)")
        conn.execute(f"create database {database}")
    at = urlsplit(far)
    found = {}
    with psycopg.connect(home.rsplit("/", 1)[0] + f"/{database}", autocommit=True) as conn:
        conn.execute(f"""
            create extension postgres_fdw; create schema far; create table local as select generate_series(1, 100) as a;
            create server far foreign data wrapper postgres_fdw
                options (host '{at.hostname}', port '{at.port}', dbname 'staffa', use_remote_estimate 'false', fetch_size '100');
            create user mapping for admin server far options (user 'admin', password 'x', password_required 'false')""")
        for sql in STATEMENTS.strip().splitlines():
            found[sql] = answer(conn, sql)
    return programs.Answers(found, "")


def answer(conn, sql):
    try:
        cursor = conn.execute(sql)
        return f"{cursor.statusmessage} {cursor.fetchall() if cursor.description else ''}"
    except psycopg.Error as error:
        conn.execute("rollback")
        return f"{error.sqlstate} {error.diag.message_primary} {error.diag.context or ''}"
