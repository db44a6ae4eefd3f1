"""What must not change a query's cost, and what may: TPC-H with its FROM lists shuffled, and with twice the data.

    python benches/compare/shapes.py --program target/release/staffa orders [--scale 10] [--orders 4] [--hot 3] [--queries q05,…]
    python benches/compare/shapes.py --program target/release/staffa growth [--scale 5] [--hot 3] [--queries q01,…]

`orders` runs each query that has a list of tables with the list as it is written and in other orders, in turn, and prints the worst order's
best run by the best order's. `growth` serves two warehouses, one of twice the scale, and prints the larger one's best run by the smaller one's.
Everything is hot, computed anew, and by one program; answers of all orders are compared.
"""
import argparse
import contextlib
import os
import random
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import psycopg

import server
import tpch

LIST = re.compile(r"(?<=from )\s*\w+(?: \w+)?(?:,\s*\w+(?: \w+)?)+(?=\s*(?:where|\)|group|order|$))", re.IGNORECASE)


def shuffled(sql, generator):
    """The text with the tables of every plain list after FROM in a random order."""
    def other(found):
        tables = [table.strip() for table in found[0].split(",")]
        generator.shuffle(tables)
        return " " + ", ".join(tables)
    return LIST.sub(other, sql)


def processor_seconds(process):
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def served(program, scale, threads):
    data = tpch.cache(f"demo-{scale:g}")
    with server.measured(program, "demo", "--scale", f"{scale:g}", "--data", str(data), "--threads", str(threads), "--maintenance=false") as running:
        with psycopg.connect(running.url, autocommit=True) as connection:
            yield lambda sql: timed(connection, running.pid, sql)


def timed(connection, process, sql):
    """Seconds, seconds of processor time, rows."""
    begun, used = time.perf_counter(), processor_seconds(process)
    rows = connection.cursor(binary=True).execute(sql, prepare=False).fetchall()
    return time.perf_counter() - begun, processor_seconds(process) - used, rows


def best(run, texts, hot):
    """For each text the best time of `hot` runs after the first, in turn, and all answers' first."""
    answers = [run(text)[2] for text in texts]
    times = [[run(text)[0] for text in texts] for _ in range(hot)]
    return [min(column) for column in zip(*times)], answers


def orders(a, queries):
    generator, worst, wrong = random.Random(a.seed), 0, 0
    with served(a.program, a.scale, a.threads) as run:
        for name, sql in queries.items():
            if not LIST.search(sql):
                continue
            times, answers = best(run, [sql, *(shuffled(sql, generator) for _ in range(a.orders - 1))], a.hot)
            cells = [[[tpch.cell(value) for value in row] for row in rows] for rows in answers]
            differences = [found for other in cells[1:] if (found := tpch.difference(cells[0], other))]
            wrong += len(differences)
            ratio = max(times) / min(times)
            worst = max(worst, ratio)
            print(name, f"{ratio:.2f}", *(f"{1000 * seconds:.1f}" for seconds in times), *differences, flush=True)
    print(f"worst order by best order: at most {worst:.2f}; {wrong} answers differ")
    return wrong


def growth(a, queries):
    worst = 0
    with served(a.program, a.scale, a.threads) as small, served(a.program, 2 * a.scale, a.threads) as large:
        larger = tpch.queries(2 * a.scale)
        for name, sql in queries.items():
            small(sql), large(larger[name])
            times = [(small(sql)[:2], large(larger[name])[:2]) for _ in range(a.hot)]
            (wall, used), (wall2, used2) = ([min(column) for column in zip(*runs)] for runs in zip(*times))
            worst = max(worst, wall2 / wall)
            of_processor = f"{used2 / used:.2f}" if used else "-"
            print(name, f"{wall2 / wall:.2f}", f"processor time {of_processor}", f"{1000 * wall:.1f} {1000 * wall2:.1f}", flush=True)
    print(f"scale {2 * a.scale:g} by scale {a.scale:g}: at most {worst:.2f}")
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("what", choices=["orders", "growth"])
    p.add_argument("--program", required=True)
    p.add_argument("--scale", type=float, help="of orders, 10; of growth, the smaller one, 5")
    p.add_argument("--orders", type=int, default=4)
    p.add_argument("--hot", type=int, default=3)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--queries", default="")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    a = p.parse_args()
    a.scale = a.scale or (10 if a.what == "orders" else 5)
    queries = {name: sql for name, sql in tpch.queries(a.scale).items() if not a.queries or name in a.queries.split(",")}
    return (orders if a.what == "orders" else growth)(a, queries)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
