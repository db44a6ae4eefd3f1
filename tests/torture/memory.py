"""R10: sixteen heavy queries at once in a control group of 5 GiB, with a memory limit of 4 GiB."""
import asyncio
import contextlib
import os
import time
from pathlib import Path

from kit import Client, extended, quantile, query, repeat_small, served

GROUP_BYTES = 5 << 30
SMALL = "select count(*), sum(v) from small where k between 4000 and 4100"

# Ways out that are no defect: memory, temporary files, their limits, the time we gave them.
ENDS = {"", "53200", "53100", "53400", "57014"}

HEAVY = {
    "build side of a join": "select count(*), max(b.n) from wide a join wide b on a.t = b.t",
    "join with many matches": "select count(*), sum(a.n + b.n) from wide a join wide b on a.g = b.g",
    "cross join": "select sum(a.n + b.g) from wide a, wide b",
    "nested-loop join": "select count(*) from wide a join wide b on a.n * b.n < a.g - b.g - 1000000",
    "window over all": "select max(s) from (select sum(n) over (order by t rows between unbounded preceding and unbounded following)"
                       " as s from wide) x",
    "window of texts": "select max(length(m)) from (select max(t) over (partition by g order by n) as m from wide) x",
    "group by texts": "select count(*) from (select t, n, count(*) from wide group by t, n) x",
    "group by numbers": "select count(*) from (select i % 50000017 as k, count(*) from generate_series(1, 100000000) as s (i) group by 1) x",
    "count distinct": "select count(distinct t), count(distinct n) from wide",
    "array_agg": "select max(cardinality(a)) from (select array_agg(t) as a from wide group by g % 4) x",
    "string_agg": "select max(length(a)) from (select string_agg(t, ',' order by n) as a from wide group by g % 4) x",
    "sort": "select t from wide, generate_series(1, 3) as s (i) order by t desc, n, i offset 20000000",
    "repeat": "select max(length(repeat(t, 100000) || n)) from wide",
    "recursion": "with recursive r (i, t) as (select 1::bigint, repeat('x', 1000) union all select r.i * 2 + j, r.t || j"
                 " from r, generate_series(0, 1) as s (j)) select count(*), max(length(t)) from r",
    "distinct": "select count(*) from (select distinct t || n as x from wide) x",
    "rows to the client": "select * from wide",
}


class Group:
    """A control group of version 1 or 2 that bounds memory, swap too where the system counts it."""

    def __init__(self, bytes_max):
        name = f"staffa-torture-{os.getpid()}"
        old = Path("/sys/fs/cgroup/memory")
        self.old = old.is_dir()
        if self.old:
            self.folder = old / name
            self.folder.mkdir()
            (self.folder / "memory.limit_in_bytes").write_text(str(bytes_max))
        else:
            root = Path("/sys/fs/cgroup")
            (root / "cgroup.subtree_control").write_text("+memory")
            self.folder = root / name
            self.folder.mkdir()
            (self.folder / "memory.max").write_text(str(bytes_max))
            with contextlib.suppress(OSError):
                (self.folder / "memory.swap.max").write_text("0")

    def command(self):
        """Runs a program in it."""
        return ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh"]

    def kills(self):
        text = (self.folder / ("memory.oom_control" if self.old else "memory.events")).read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))

    def remove(self):
        for _ in range(100):
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                return
            time.sleep(0.1)


async def prepare(server, rows):
    client = await Client.connect(server)
    for sql in ("create table small as select i % 10000 as k, i % 97 as v from generate_series(1, 200000) as g (i)",
                f"create table wide as select i::bigint as n, i % 1000 as g, md5(i::text) || repeat('x', 300) || i as t"
                f" from generate_series(1, {rows}) as s (i)"):
        (await client.run(sql)).done()
    await client.close()


async def torture(server, names, seconds, patience, p95_max, figures):
    deadline, stop = time.monotonic() + seconds, asyncio.Event()
    ends, wrong, times, held = {name: [] for name in names}, [], [], []

    async def heavy(name):
        while time.monotonic() < deadline:
            client = await Client.connect(server, options=f"-c statement_timeout={patience}s")
            # The rows come by the protocol that drivers speak.
            client.send(extended(HEAVY[name]) if name == "rows to the client" else query(HEAVY[name]))
            reply = await client.reply(keep=False)
            ends[name].append(reply.code)
            if reply.code not in ENDS:
                wrong.append(f"{name}: {reply.error}")
            await client.close()
            # The server is gone: nothing more to learn.
            if reply.code == "gone":
                return

    async def watch():
        while not stop.is_set():
            held.append(server.resident_bytes())
            await asyncio.sleep(0.2)

    asking, watching = asyncio.create_task(repeat_small(server, SMALL, times, stop)), asyncio.create_task(watch())
    await asyncio.gather(*(heavy(name) for name in names))
    stop.set()
    errors = await asking
    await watching
    for name, codes in ends.items():
        figures.note(f"{name}: " + ", ".join(f"{code or 'done'} × {codes.count(code)}" for code in sorted(set(codes))))
    figures.note(f"the server held {max(held) / 2**30:.2f} GiB at most")
    for line in [line for line in server.log().splitlines() if "more memory than it may" in line][-3:]:
        figures.note(line)
    for trouble in sorted({*wrong, *errors})[:10]:
        figures.note(trouble)
    figures.equal("memory: heavy queries that ended in another way", len(wrong), 0)
    figures.equal("memory: errors of the small query", len(errors), 0)
    figures.at_most(f"memory: p95 of the small query ({len(times)} times)", quantile(times, 0.95) * 1000, p95_max, "ms")


def run(size, figures):
    try:
        group = Group(GROUP_BYTES)
    except OSError as error:
        figures.skip("memory", f"no control group can be made here: {error}")
        return
    try:
        with served(size.program, memory_limit="4GiB", before=group.command()) as server:
            asyncio.run(prepare(server, size.of(2_000_000, 10_000_000)))
            names = list(HEAVY)[:: size.of(4, 1)]
            seconds = (size.minutes or size.of(0.25, 30)) * 60
            # The quick size is for debug builds beside other tests, too.
            asyncio.run(torture(server, names, seconds, size.of(15, 120), size.of(5000.0, 500.0), figures))
            figures.equal("memory: kills by the system", group.kills(), 0)
            server.check_well(figures, "memory")
    finally:
        group.remove()
