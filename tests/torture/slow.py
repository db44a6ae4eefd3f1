"""R13: clients that read a kilobyte a second cost little memory, and nobody else his speed."""
import asyncio

from kit import Client, extended, quantile, query, repeat_small, served

ROWS = 10_000_000
BYTES_MAX = 8 << 20

# What others do meanwhile.
SMALL = "select count(*), sum(v) from facts where k between 4000 and 4100"


async def read_slowly(client, stop):
    while not stop.is_set():
        await client.reader.readexactly(1024)
        await asyncio.sleep(1)


async def p95(server, seconds):
    times, stop = [], asyncio.Event()
    asking = [asyncio.create_task(repeat_small(server, SMALL, times, stop, pause=0.02)) for _ in range(2)]
    await asyncio.sleep(seconds)
    stop.set()
    errors = [error for task in asking for error in await task]
    return quantile(times, 0.95), errors


async def torture(server, count, seconds, figures):
    admin = await Client.connect(server)
    for sql in ("create table facts as select i % 10000 as k, i % 97 as v from generate_series(1, 1000000) as g (i)",
                f"create table many as select i as id, 'row number ' || i as t, i % 1000 as v from generate_series(1, {ROWS}) as g (i)"):
        (await admin.run(sql)).done()
    # The cache takes what it will before anything is measured.
    (await admin.run("select count(distinct id), max(t), sum(v) from many")).done()
    before, errors = await p95(server, seconds)

    idle, stop, clients = server.resident_bytes(), asyncio.Event(), []
    sql = "select * from many"
    for number in range(count):
        client = await Client.connect(server, receive_bytes=4096)
        client.send(query(sql) if number % 2 else extended(sql))
        clients.append(client)
    reading = [asyncio.create_task(read_slowly(client, stop)) for client in clients]
    await asyncio.sleep(3)
    during, more = await p95(server, seconds)
    errors += more
    figures.at_most(f"slow clients: memory of one of {count}", (server.resident_bytes() - idle) / count / 2**20, BYTES_MAX / 2**20, "MiB")
    figures.equal("slow clients: all still read", sum(task.done() for task in reading), 0)
    stop.set()
    await asyncio.gather(*reading)
    for client in clients:
        client.vanish()
    await asyncio.sleep(2)

    after, more = await p95(server, seconds)
    errors += more
    # The machine has other things to do: the slower of the two times without slow clients is what they are held against.
    without = max(before, after)
    figures.note(f"p95 of others: {before * 1000:.1f} ms before, {during * 1000:.1f} ms meanwhile, {after * 1000:.1f} ms after")
    figures.at_most("slow clients: p95 of others, beside that without them", during / without, 1.2)
    figures.equal("slow clients: errors of others", len(errors), 0)
    await admin.close()


def run(size, figures):
    with served(size.program, "--max-connections", "200") as server:
        asyncio.run(torture(server, size.of(5, 50), size.of(3, 20), figures))
        server.check_well(figures, "slow clients")
