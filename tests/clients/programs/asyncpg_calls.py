"""asyncpg, which asks for everything in binary: types, its queries about types, cursors, COPY, transactions, a pool's reset."""
import asyncio
import datetime as dt
import decimal
import uuid

import asyncpg

import target

report = target.Report()


def shown(records):
    return [dict(record) for record in records]


async def error_of(conn, sql, *parameters):
    try:
        await conn.fetch(sql, *parameters)
    except asyncpg.PostgresError as error:
        return error.sqlstate, str(error)
    return "no error"


async def cursor(conn):
    async with conn.transaction():
        return sum([1 async for _ in conn.cursor("select * from sales.orders where id > $1", 10, prefetch=100)])


async def copied(conn):
    records = [(700, "x"), (701, None), (702, "tab\tnew\nline")]
    into = await conn.copy_records_to_table("t", records=records, columns=["a", "b"])
    out = bytearray()

    async def collect(data):
        out.extend(data)
    back = await conn.copy_from_query("select * from t where a >= 700 order by a", output=collect, format="csv")
    gone = await conn.execute("delete from t where a >= 700")
    return into, back, bytes(out), gone


async def rolled_back(conn):
    try:
        async with conn.transaction(isolation="repeatable_read"):
            await conn.execute("insert into t values (800, 'x')")
            raise RuntimeError
    except RuntimeError:
        return await conn.fetchval("select count(*) from t where a = 800")


async def after_ddl(conn):
    await conn.execute("create table asyncpg_t (a int)")
    before = [await conn.fetch("select * from asyncpg_t") for _ in range(3)]
    await conn.execute("alter table asyncpg_t add column b text")
    await conn.execute("insert into asyncpg_t values (1, 'x')")
    try:
        return before, shown(await conn.fetch("select * from asyncpg_t"))
    finally:
        await conn.execute("drop table asyncpg_t")


async def pool():
    async with asyncpg.create_pool(target.URL, min_size=2, max_size=2) as connections:
        values = []
        for _ in range(5):
            async with connections.acquire() as conn:
                await conn.execute("set application_name = 'x'")
                values.append(await conn.fetchval("select 1"))
        return values


async def timeout(conn):
    try:
        await conn.fetch("select pg_sleep(30)", timeout=0.5)
    except asyncio.TimeoutError:
        return "timeout", await conn.fetchval("select 1")


async def prepared(conn):
    statement = await conn.prepare("select id, price, iv from sales.orders where id = $1")
    kinds = [(p.name, p.kind) for p in statement.get_parameters()], [(a.name, a.type.name) for a in statement.get_attributes()]
    return kinds, shown([await statement.fetchrow(i) for i in range(1, 8)])


async def executemany(conn):
    await conn.executemany("insert into t values ($1, $2)", [(900 + i, str(i)) for i in range(10)])
    return await conn.execute("delete from t where a >= 900")


CHECKS = {
    "parameters": lambda c: c.fetch("select id, name from sales.customer where id <= $1 and balance > $2 and name like $3 and created < $4 order by id",
                                    5, decimal.Decimal("1.5"), "n%", dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)),
    "customer": lambda c: c.fetch("select * from sales.customer where id = $1", 7),
    "orders": lambda c: c.fetch("select * from sales.orders where d = $1 and i = any($2::int4[]) and b = $3", dt.date(2024, 1, 2), [1, 2, 3], False),
    "uuid": lambda c: c.fetch("select id from sales.customer where u = $1", uuid.UUID("c4ca4238-a0b9-2382-0dcc-509a6f75849b")),
    "values": lambda c: c.fetch("select $1::text as t, $2::numeric as n, $3::interval as v, $4::bytea as b, $5::jsonb as j, $6::time as at",
                                "ünï", decimal.Decimal("-1.50"), dt.timedelta(days=1, seconds=5), b"\x00\xff", '{"a": 1}', dt.time(10, 1)),
    "arrays": lambda c: c.fetch("select $1::int8[] as a, $2::text[] as b, array[1.5, null]::numeric[] as c", [1, None], ["x", "a b", None]),
    "prepared": prepared, "cursor": cursor, "COPY": copied, "rollback": rolled_back, "after DDL": after_ddl, "timeout": timeout,
    "executemany": executemany,
    "no column": lambda c: error_of(c, "select nope"),
    "division": lambda c: error_of(c, "select 1 / $1::int", 0),
    "no table": lambda c: error_of(c, "select * from nope"),
}


async def outcome(call):
    """What a check on a connection of its own gives: the driver keeps what it learnt about types."""
    conn = await asyncpg.connect(target.URL)
    try:
        result = await call(conn)
        return shown(result) if isinstance(result, list) and result and isinstance(result[0], asyncpg.Record) else result
    finally:
        conn.terminate()


for name, call in CHECKS.items():
    report.check(name, lambda: asyncio.run(outcome(call)))
report.check("pool", lambda: asyncio.run(pool()))
report.finish()
