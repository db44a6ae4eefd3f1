"""R16: eight shapes of work at once for an hour. Memory does not grow, file descriptors neither, no temporary file stays."""
import asyncio
import random
import time

from kit import Client, query, served

# Errors that are answers: what was cancelled, and the loser of two writers in a transaction block.
EXPECTED = {"cancelled": {"57014"}, "updates": {"40001"}, "merges": {"40001"}}

# Of a rest: the allocator gives back within five seconds what is free.
REST_SECONDS = 6

# Rows of the tables that are read; and those at which a table that grows begins again.
FACTS, KEYS, FULL = 2_000_000, 10_000, 20_000


async def prepare(server):
    client = await Client.connect(server)
    for sql in (
        f"create table facts as select i as id, i % {KEYS} as k, (i::bigint * 7919) % 1000 as v, 'text ' || i % 5000 as t"
        f" from generate_series(1, {FACTS}) as g (i)",
        f"create table keys as select i as k, 'name ' || i as name, i % 25 as region from generate_series(0, {KEYS - 1}) as g (i)",
        "create table inserted (id bigint, v bigint, t text)",
        "create table updated as select i as id, 0 as n from generate_series(1, 1000) as g (i)",
        "create table merged as select i as id, 0 as n from generate_series(1, 1000) as g (i)",
        "create table copied (id bigint, t text)",
    ):
        (await client.run(sql)).done()
    await client.close()


async def reads(client, rng):
    k = rng.randrange(KEYS)
    yield await client.run(f"select count(*), sum(v), min(t) from facts where k between {k} and {k + 50}")
    yield await client.run("select region, count(*) from keys group by region order by 2 desc limit 5")


async def joins(client, rng):
    region = rng.randrange(25)
    yield await client.run(
        f"select name, sum(v) from facts join keys using (k) where region = {region} group by name order by 2 desc limit 10")
    yield await client.run(
        f"select count(*) from (select k, rank() over (partition by k order by v) as r from facts where k < {rng.randrange(2000)}) x"
        " where r = 1")


async def inserts(client, rng):
    values = ", ".join(f"({rng.randrange(10**9)}, {rng.randrange(100)}, 'row {i}')" for i in range(50))
    yield await client.run(f"insert into inserted values {values}")
    if int(await client.value("select count(*) from inserted")) > FULL:
        yield await client.run("truncate inserted")


async def updates(client, rng):
    yield await client.run(f"update updated set n = n + 1 where id between {(i := rng.randrange(1000))} and {i + 20}")
    yield await client.run(f"delete from updated where id = {i}")
    yield await client.run(f"insert into updated values ({i}, 0)")


async def merges(client, rng):
    i = rng.randrange(1000)
    yield await client.run(
        f"merge into merged using (select g as id from generate_series({i}, {i + 30}) as s (g)) s on merged.id = s.id"
        " when matched and merged.n > 50 then delete when matched then update set n = n + 1"
        " when not matched then insert values (s.id, 1)")


async def definitions(client, rng):
    name = f"made_{rng.randrange(10**9)}"
    yield await client.run(f"create table {name} as select * from keys where region = {rng.randrange(25)}")
    yield await client.run(f"alter table {name} add column more int default 3")
    yield await client.run(f"create view {name}_v as select sum(more) as s from {name}")
    yield await client.run(f"select * from {name}_v")
    yield await client.run(f"drop table {name} cascade")


async def copies(client, rng):
    data = "".join(f"{rng.randrange(10**9)}\tcopied {i}\n" for i in range(2000)).encode()
    yield await client.copy_in("copy copied from stdin", data)
    yield await client.run("copy (select * from copied limit 5000) to stdout")
    if int(await client.value("select count(*) from copied")) > FULL:
        yield await client.run("truncate copied")


async def cancelled(client, rng):
    # It sorts all of it, spills, and never comes to its end.
    client.send(query("select * from facts a join facts b using (k) order by a.t, b.v desc, a.id, b.id"))
    answer = asyncio.create_task(client.reply(keep=False))
    await asyncio.sleep(rng.uniform(0.05, 2))
    await client.cancel()
    # One that is there before its statement was read is for nobody, as in PostgreSQL: a busy machine takes its time for that.
    while not (await asyncio.wait([answer], timeout=5))[0]:
        await client.cancel()
    yield await answer


SHAPES = {"reads": reads, "joins": joins, "inserts": inserts, "updates": updates, "merges": merges,
          "definitions": definitions, "copies": copies, "cancelled": cancelled}


class Rests:
    """Times at which nobody works: what the server holds then, it keeps."""

    def __init__(self, workers):
        self.workers, self.resting = workers, 0
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def point(self):
        """Where a worker may rest."""
        self.resting += 1
        await self.goes_on.wait()
        self.resting -= 1

    async def held(self, server):
        """Lets all come to rest, and gives the least memory of that time."""
        self.goes_on.clear()
        while self.resting < self.workers:
            await asyncio.sleep(0.01)
        least, end = server.resident_bytes(), time.monotonic() + REST_SECONDS
        while time.monotonic() < end:
            await asyncio.sleep(0.1)
            least = min(least, server.resident_bytes())
        self.goes_on.set()
        return least


async def work(server, name, shape, deadline, rests, done, errors):
    rng = random.Random(name)
    client = await Client.connect(server, application_name=name)
    while time.monotonic() < deadline:
        await rests.point()
        async for reply in shape(client, rng):
            done[name] += 1
            if reply.error and reply.code not in EXPECTED.get(name, ()):
                errors.append(f"{name}: {reply.error} {reply.error.fields.get('D', '')}")
        # Sessions come and go, too.
        if rng.random() < 0.05:
            await client.close()
            client = await Client.connect(server, application_name=name)
        await asyncio.sleep(0.05)
    await client.close()
    rests.workers -= 1


async def watch(server, deadline, samples, every):
    while time.monotonic() < deadline:
        samples.append(server.files_open())
        await asyncio.sleep(every)


async def watch_rests(server, deadline, rests, floor, every):
    begun = time.monotonic()
    while time.monotonic() < deadline - every:
        await asyncio.sleep(every)
        floor.append((time.monotonic() - begun, await rests.held(server)))


def slope(points, blocks=10):
    """Least squares, and twice the standard error: from the residuals' means over blocks of time, as neighbours are alike."""
    count = len(points)
    mean_t, mean_y = (sum(p[i] for p in points) / count for i in (0, 1))
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    per_second = sum((t - mean_t) * (y - mean_y) for t, y in points) / spread
    residuals = [y - mean_y - per_second * (t - mean_t) for t, y in points]
    size = max(1, count // blocks)
    means = [sum(part) / len(part) for part in (residuals[i:i + size] for i in range(0, count, size))]
    variance = sum(m * m for m in means) / max(1, len(means) - 2)
    return per_second, mean_y, 2 * (variance * size / spread) ** 0.5


async def soak(server, minutes, figures):
    await prepare(server)
    done, errors, files, floor = dict.fromkeys(SHAPES, 0), [], [], []
    deadline, rests = time.monotonic() + minutes * 60, Rests(len(SHAPES))
    # A rest each minute of an hour, three in half a minute.
    between = max(4.0, minutes)
    tasks = [work(server, name, shape, deadline, rests, done, errors) for name, shape in SHAPES.items()]
    watches = [watch(server, deadline, files, min(2.0, minutes / 2)), watch_rests(server, deadline, rests, floor, between)]
    await asyncio.gather(*watches, *tasks)
    figures.note(f"{minutes:g} minutes: " + ", ".join(f"{name} {count}" for name, count in done.items()))
    for error in sorted(set(errors))[:10]:
        figures.note(error)
    figures.equal("soak: errors", len(errors), 0)
    figures.at_least("soak: statements of the rarest shape", min(done.values()), 1)

    # What statements hold comes and goes; what is never given back is there when nobody works.
    if minutes >= 20:
        floor = [point for point in floor if point[0] > minutes * 60 / 6]
        per_second, mean, error = slope(floor)
        percent, uncertain = (100 * 3600 * value / mean for value in (per_second, error))
        figures.note(f"memory at {len(floor)} rests after the first sixth: mean {mean / 2**20:.0f} MiB, {percent:+.2f} ± {uncertain:.2f} %/h (95 %)")
        # Caches fill and empty, so that a slope is never known to a hundredth: one above the bound must be sure, and a leak be seen.
        figures.at_most("soak: memory slope that is sure", percent - uncertain, 1.0, "%/h")
        figures.at_most("soak: uncertainty of the slope", uncertain, 600 / minutes, "%/h")
    else:
        # So short a time says something about leaks of megabytes a second only.
        floor = floor[len(floor) // 2:]
        before, last = floor[0][1], floor[-1][1]
        figures.note(f"memory at rests: half way {before / 2**20:.0f} MiB, at last {last / 2**20:.0f} MiB")
        figures.at_most("soak: memory growth in the second half", 100 * (last - before) / before, 25.0, "%")
    # How many are open at a moment depends on what runs; what is never closed raises the mean.
    half = files[len(files) // 2:]
    quarters = half[:len(half) // 2], half[len(half) // 2:]
    before, last = (sum(quarter) / len(quarter) for quarter in quarters)
    figures.note(f"file descriptors of the last quarters: mean {before:.1f}, {last:.1f}")
    figures.at_most("soak: more file descriptors, last quarter to the one before", last - before, 3)

    for _ in range(300):
        if not server.temporary_files():
            break
        await asyncio.sleep(0.1)
    figures.equal("soak: temporary files left", len(server.temporary_files()), 0)
    server.check_well(figures, "soak")


def run(size, figures):
    minutes = size.minutes or size.of(0.5, 60)
    # A small cache is full soon; few snapshots, so that tables come to their steady state.
    flags = ["--column-cache", "128MiB", "--maintenance-interval", "5s", "--maintenance-snapshots", "50"]
    with served(size.program, *flags, memory_limit="1GiB") as server:
        asyncio.run(soak(server, minutes, figures))
