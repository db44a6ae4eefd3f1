"""R11: five ways to stop a statement, twelve shapes of operators: how soon the error comes, and how soon the cores are free."""
import asyncio
import time

from kit import Client, extended, quantile, query, served

ERROR_SECONDS_MAX = 0.25
FREE_SECONDS_MAX = 1.0

# How long a statement runs before it is stopped.
HEAD_START = 1.0

# What the system may take for the client ahead of it: an error comes after the rows that are on the way, and Python reads them slowly.
RECEIVE_BYTES = 1 << 18

# The share of one core below which the server counts as idle.
IDLE_SHARE = 0.3

SHAPES = {
    "scan and filter": "select count(*) from facts a, generate_series(1, 100000) as g (i) where a.t || i like '%9%8%7%'",
    "hash join of whole numbers": "select count(*) from facts a join facts b on a.k = b.k where a.v + b.v = -1",
    "hash join of texts": "select count(*) from facts a join facts b on a.t = b.t where a.v + b.v = -1",
    "nested-loop join": "select count(*) from facts a join facts b on a.v * b.v < a.k - b.k - 100000000",
    "cross join": "select sum(a.v + b.v) from facts a cross join facts b",
    "sort": "select a.t from facts a, generate_series(1, 1000) as g (i) order by a.t, i, a.v offset 10000000000",
    "group by": "select count(*) from (select a.id, i, count(*) from facts a, generate_series(1, 10000) as g (i) group by 1, 2) x",
    "count distinct": "select count(distinct a.id::bigint * i) from facts a, generate_series(1, 100000) as g (i)",
    "window": "select max(s) from (select sum(a.v) over (partition by i order by a.id) as s from facts a,"
              " generate_series(1, 1000) as g (i)) x",
    "recursion": "with recursive r (i) as (select 1::bigint union all select i + 1 from r) select max(i) from r",
    "functions of texts": "select max(length(regexp_replace(repeat(a.t, 100), '[0-9]+', 'x', 'g'))) from facts a, generate_series(1, 10000)",
    "union without doubles": "select count(*) from (select id::bigint * i as x from facts, generate_series(1, 100000) as g (i)"
                             " union select id::bigint * i + 1 from facts, generate_series(1, 100000) as g (i)) x",
    "insert": "insert into sink select a.id, a.t from facts a, generate_series(1, 100000)",
    "rows to the client": "select a.*, i from facts a, generate_series(1, 100000) as g (i)",
}

# Rows come to the client in both protocols.
EXTENDED = {"rows to the client", "sort"}


async def by_request(client, admin):
    await client.cancel()


async def by_function(client, admin):
    (await admin.run(f"select pg_cancel_backend({client.pid})")).done()


async def by_termination(client, admin):
    (await admin.run(f"select pg_terminate_backend({client.pid})")).done()


async def by_timeout(client, admin):
    """The server does it."""


async def by_leaving(client, admin):
    client.vanish()


WAYS = {"cancel request": (by_request, "57014"), "pg_cancel_backend": (by_function, "57014"),
        "pg_terminate_backend": (by_termination, "57P01"), "statement_timeout": (by_timeout, "57014"), "client gone": (by_leaving, None)}


async def seconds_until_idle(server, since):
    """When the server's processor time stopped growing; seen by looks of 100 ms."""
    while time.monotonic() - since < 30:
        begun, used = time.monotonic(), server.cpu_seconds()
        await asyncio.sleep(0.1)
        if server.cpu_seconds() - used <= IDLE_SHARE * (time.monotonic() - begun):
            return begun - since
    return 30.0


async def once(server, admin, way, code, sql, is_extended):
    """Seconds to the error (`None` where nobody hears of it) and until the cores are free, and what was wrong."""
    client = await Client.connect(server, receive_bytes=RECEIVE_BYTES)
    if way is by_timeout:
        (await client.run(f"set statement_timeout = {int(HEAD_START * 1000)}")).done()
    client.send(extended(sql) if is_extended else query(sql))
    answer = asyncio.create_task(client.reply(keep=False))
    await asyncio.sleep(HEAD_START)
    begun = time.monotonic()
    trouble = f"ended by itself: {(await answer).error}" if answer.done() and way is not by_timeout else None
    await way(client, admin)
    idle = asyncio.create_task(seconds_until_idle(server, begun))
    if code is None:
        return None, await idle, trouble
    try:
        reply = await asyncio.wait_for(answer, 30)
        took = time.monotonic() - begun
        if reply.code != code:
            trouble = trouble or f"{reply.error}, not {code}"
    except TimeoutError:
        took, trouble = 30.0, "no answer for 30 s"
    free = await idle
    await client.close()
    return took, free, trouble


async def torture(server, times, figures):
    admin = await Client.connect(server)
    for sql in ("create table facts as select i as id, i % 100 as k, i % 1000 as v, 'text ' || i % 1000 as t"
                " from generate_series(1, 500000) as g (i)",
                "create table sink (id bigint, t text)"):
        (await admin.run(sql)).done()
    to_error, to_idle, troubles = [], [], []
    for shape, sql in SHAPES.items():
        worst = (0.0, 0.0)
        for name, (way, code) in WAYS.items():
            for number in range(times):
                took, free, trouble = await once(server, admin, way, code, sql, shape in EXTENDED and number % 2 == 1)
                to_error += [took] if took is not None else []
                to_idle.append(free)
                worst = (max(worst[0], took or 0), max(worst[1], free))
                if trouble:
                    troubles.append(f"{shape}, {name}: {trouble}")
        figures.note(f"{shape}: error after {worst[0] * 1000:.0f} ms at most, cores free after {worst[1] * 1000:.0f} ms at most")
    for trouble in troubles[:20]:
        figures.note(trouble)
    figures.equal(f"cancel: wrong ends of {len(to_idle)}", len(troubles), 0)
    figures.at_most("cancel: p99 until the error", quantile(to_error, 0.99) * 1000, ERROR_SECONDS_MAX * 1000, "ms")
    figures.at_most("cancel: p99 until the cores are free", quantile(to_idle, 0.99) * 1000, FREE_SECONDS_MAX * 1000, "ms")
    figures.equal("cancel: temporary files left", len(server.temporary_files()), 0)
    await admin.close()


def run(size, figures):
    # Upkeep would keep the cores busy after the statements.
    with served(size.program, "--maintenance=false") as server:
        asyncio.run(torture(server, size.of(1, 20), figures))
        server.check_well(figures, "cancel")
