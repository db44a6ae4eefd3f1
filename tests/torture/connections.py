"""R12: what thousands of idle connections cost, hundreds that work, and one too many."""
import asyncio
import contextlib
import random
import time

from kit import Client, Refused, served

IDLE_BYTES_MAX = 100 << 10
ROWS = 100_000


async def connect_many(server, count):
    """Not more at a time than the server lets arrive."""
    gate, clients = asyncio.Semaphore(50), []

    async def one():
        async with gate:
            clients.append(await Client.connect(server))

    await asyncio.gather(*(one() for _ in range(count)))
    return clients


async def close_all(clients):
    await asyncio.gather(*(client.close() for client in clients))


async def idle(server, count, figures):
    # What the first connections make once for all is no connection's cost.
    await close_all(await connect_many(server, 100))
    await asyncio.sleep(1)
    before = server.resident_bytes()
    begun = time.monotonic()
    clients = await connect_many(server, count)
    figures.note(f"{count} logins took {time.monotonic() - begun:.1f} s")
    await asyncio.sleep(1)
    figures.at_most("connections: an idle one", (server.resident_bytes() - before) / count / 1024, IDLE_BYTES_MAX / 1024, "KiB")

    # One that has worked keeps more: its prepared statement, its plan, what it read.
    for client in clients:
        (await client.run("prepare p as select count(*) from pg_class where relname = $1")).done()
        (await client.run("select oid, relname from pg_class limit 10")).done()
    await asyncio.sleep(1)
    figures.at_most("connections: an idle one that has worked", (server.resident_bytes() - before) / count / 1024,
                    IDLE_BYTES_MAX / 1024, "KiB")

    code = "none"
    try:
        await Client.connect(server)
    except Refused as refused:
        code = refused.code
    figures.equal("connections: one over the limit", code, "53300")
    await close_all(clients)
    for _ in range(100):
        with contextlib.suppress(Refused):
            await (await Client.connect(server)).close()
            break
        await asyncio.sleep(0.1)
    else:
        figures.equal("connections: after they left", "no place", "a place")


async def active(server, count, seconds, figures):
    admin = await Client.connect(server)
    for sql in (f"create table accounts as select i as id, 0 as balance from generate_series(1, {ROWS}) as g (i)",
                "create table history (id int, delta int, at timestamp default now())"):
        (await admin.run(sql)).done()
    clients = await connect_many(server, count)
    deadline, times, errors = time.monotonic() + seconds, [], []

    async def work(client, rng):
        while time.monotonic() < deadline:
            account, chance = rng.randrange(ROWS), rng.random()
            sql = f"select balance from accounts where id = {account}"
            if chance < 0.02:
                sql = f"insert into history (id, delta) values ({account}, {rng.randrange(100)})"
            elif chance < 0.1:
                sql = f"select count(*), sum(balance) from accounts where id between {account} and {account + 1000}"
            begun = time.monotonic()
            reply = await client.run(sql)
            times.append(time.monotonic() - begun)
            if reply.error:
                errors.append(str(reply.error))

    await asyncio.gather(*(work(client, random.Random(i)) for i, client in enumerate(clients)))
    figures.note(f"{len(times) / seconds:.0f} statements a second, median {sorted(times)[len(times) // 2] * 1000:.0f} ms")
    for error in sorted(set(errors))[:5]:
        figures.note(error)
    figures.equal(f"connections: errors of {count} that work for {seconds:.0f} s", len(errors), 0)
    await close_all([*clients, admin])


def run(size, figures):
    count, working = size.of((300, 50), (5000, 500))
    seconds = (size.minutes or size.of(0.05, 10)) * 60
    with served(size.program, "--max-connections", str(count)) as server:
        asyncio.run(idle(server, count, figures))
        server.check_well(figures, "connections")
    with served(size.program, "--max-connections", str(working + 1)) as server:
        asyncio.run(active(server, working, seconds, figures))
        server.check_well(figures, "connections that work")
