"""R14: health and logins while every core is busy."""
import asyncio

from kit import Client, cores, http_get, quantile, query, served, timed

HEAVY = [
    "select count(*) from generate_series(1::bigint, 1000000) a(i), generate_series(1, 1000000) b(j) where i * j % 7 = 3",
    "select i % 1000, count(*) from generate_series(1, 100000000000) as g(i) group by 1",
    "select count(*) from (select md5(i::text) as m from generate_series(1, 100000000000) as g(i)) x where m < '0'",
    "select count(*) from generate_series(1, 100000000000) as g(i) where i::text like '%9%8%7%'",
]


async def torture(server, count, figures):
    address, busy = server.health(), []
    for number in range(2 * cores()):
        busy.append(await Client.connect(server))
        busy[-1].send(query(HEAVY[number % len(HEAVY)]))
    answers = [asyncio.create_task(client.reply(keep=False)) for client in busy]
    await asyncio.sleep(1)
    times, bad = {"/livez": [], "/readyz": []}, 0
    for _ in range(count):
        for path, took in times.items():
            status, seconds = await asyncio.to_thread(http_get, address, path)
            took.append(seconds)
            bad += status != 200
    for path, took in times.items():
        figures.at_most(f"health: p99 of {path}", quantile(took, 0.99) * 1000, 50.0, "ms")
    figures.equal("health: answers that were not 200", bad, 0)
    logins = []
    for _ in range(count // 4):
        took, client = await timed(Client.connect(server))
        logins.append(took)
        await client.close()
    figures.at_most("health: p99 of a login", quantile(logins, 0.99) * 1000, 500.0, "ms")
    figures.equal("health: heavy queries that ended meanwhile", sum(answer.done() for answer in answers), 0)
    for client in busy:
        client.vanish()
    await asyncio.gather(*answers)


def run(size, figures):
    with served(size.program) as server:
        asyncio.run(torture(server, size.of(100, 1000), figures))
        server.check_well(figures, "health")
