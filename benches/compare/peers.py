"""Staffa beside every peer in one run: TPC-H, sorts of its tables, or a table like ClickBench's `hits`.

    python benches/compare/peers.py --program target/release/staffa [--suite tpch|sorts|hits] [--scale 1] [--engines NAME,…] [--hot 3] [--queries q01,…]
                                    [--cold] [--memory-limit SIZE] [--csv FILE] [--picture FILE.svg]

Each engine runs in a process of its own (Staffa as a server, asked over its socket) with two threads, and for each query they take turns. All read the
Parquet files that Staffa's tables consist of, or load them first into tables of their own (`-native`). `first` is the first run of a query in the
process; hot is the best of the following. With --cold every query meets processes just started and files dropped from the page cache, and runs once.
Answers are compared with the first engine's: numbers to a ten-thousandth, as peers have other types for quotients.
"""
import argparse
import contextlib
import csv
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import psycopg
from pyiceberg.catalog.sql import SqlCatalog

import engines
import hits
import server
import tpch

STAFFA = "staffa"
HITS_ROWS = 10_000_000


class Staffa:
    """The server, over its socket."""
    def __init__(self, program, data, threads, options):
        self.exit = contextlib.ExitStack()
        self.server = self.exit.enter_context(server.measured(program, "serve", "--data", str(data), "--threads", str(threads), *options))
        self.connection = self.exit.enter_context(psycopg.connect(self.server.url, autocommit=True))
        Path(f"/proc/{self.server.pid}/clear_refs").write_text("5")
        self.version = ""

    def run(self, sql, rows):
        begun = time.perf_counter()
        try:
            found = self.connection.cursor(binary=True).execute(sql, prepare=False).fetchall()
            answer = {"seconds": time.perf_counter() - begun, "peak": self.server.peak_bytes()}
        except psycopg.Error as error:
            return {"error": str(error).splitlines()[0], "peak": self.server.peak_bytes()}
        if rows:
            answer["rows"] = [[tpch.cell(value) for value in row] for row in found]
        return answer

    def close(self):
        self.exit.close()


class Peer:
    """A process of engines.py."""
    def __init__(self, name, files, threads):
        self.folder = tempfile.TemporaryDirectory(prefix="staffa-peer-", dir=tpch.cache("."))
        # Thousands of files are more than an argument may be long.
        listed = Path(self.folder.name) / "files.json"
        listed.write_text(json.dumps(files))
        command = [sys.executable, str(Path(__file__).with_name("engines.py")), name, self.folder.name, str(threads), str(listed)]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.version = self.answer().get("version", "")

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            return {"error": f"ended: {' '.join(self.log.read().split())[-200:]}", "peak": 0}
        return json.loads(line)

    def run(self, sql, rows):
        if self.process.poll() is None:
            print(json.dumps({"sql": sql, "rows": rows}), file=self.process.stdin, flush=True)
        return self.answer()

    def close(self):
        self.process.terminate()
        self.process.wait(60)
        self.folder.cleanup()


def warehouse(program, suite, scale):
    """The folder of a warehouse that has the suite's tables, made once; and the files they consist of."""
    if suite in ("tpch", "sorts"):
        data, tables = tpch.cache(f"demo-{scale:g}"), tpch.TABLES
        with server.measured(program, "demo", "--scale", f"{scale:g}", "--data", str(data)):
            pass
    else:
        data, tables = tpch.cache(f"hits-{scale:g}"), ["hits"]
        if not (data / "done").exists():
            made = hits.generate(tpch.cache(f"hits-{scale:g}.parquet"), int(HITS_ROWS * scale))
            sql = f"drop table if exists hits; create table hits as select * from '{made}'"
            subprocess.run([program, "sql", "--data", str(data), "-c", sql], check=True)
            (data / "done").touch()
    catalog = SqlCatalog("staffa", uri=f"sqlite:///{data}/catalog.db", init_catalog_tables="false")
    planned = {table: catalog.load_table(("public", table)).scan().plan_files() for table in tables}
    return data, {table: [task.file.file_path.removeprefix("file://") for task in tasks] for table, tasks in planned.items()}


def statements(suite, scale, files):
    if suite == "tpch":
        return tpch.queries(scale)
    queries = {file.stem: file.read_text().strip() for file in sorted((Path(__file__).resolve().parents[1] / suite).glob("*.sql"))}
    if suite == "sorts":
        return queries
    import duckdb
    # A user who came often, but not the most often.
    found = duckdb.execute(f"select userid from read_parquet([{engines.listed(files['hits'])}]) group by userid order by count(*) desc, userid offset 100 limit 1")
    user = str(found.fetchone()[0])
    return {name: sql.replace("{user_id}", user) for name, sql in queries.items()}


def same(wanted, got):
    def equal(a, b):
        if a == b:
            return True
        try:
            x, y = float(a), float(b)
        except ValueError:
            # Timestamps and dates print in more than one way.
            return a.replace("T", " ").split(".")[0].split("+")[0] == b.replace("T", " ").split(".")[0].split("+")[0]
        return abs(x - y) <= 1e-4 * max(abs(x), abs(y)) + 1e-6
    return len(wanted) == len(got) and all(len(w) == len(g) and all(map(equal, w, g)) for w, g in zip(wanted, got))


def forget(files):
    """Drops files from the page cache."""
    for file in (file for table in files.values() for file in table):
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def measure(names, queries, start, files, hot, cold):
    """{(query, engine): {first, hot, peak or error}}, and the engines' versions."""
    found, versions, wrong = {}, {}, []
    running = {} if cold else {name: start(name) for name in names}
    try:
        for query, sql in queries.items():
            wanted = None
            times = {name: [] for name in names}
            for turn in range(1 if cold else hot + 1):
                for name in names:
                    if any(line.startswith(f"{query} {name}: ") for line in wrong):
                        continue
                    if cold:
                        forget(files)
                    engine = start(name) if cold else running[name]
                    versions[name] = engine.version
                    answer = engine.run(sql, rows=turn == 0)
                    if cold:
                        engine.close()
                    if "error" in answer:
                        wrong.append(f"{query} {name}: {answer['error']}")
                        continue
                    times[name].append(answer["seconds"])
                    found[query, name] = {"peak": answer["peak"]}
                    if turn == 0:
                        wanted = wanted if wanted is not None else answer["rows"]
                        if not same(wanted, answer["rows"]):
                            wrong.append(f"{query} {name}: another answer than {names[0]}: {answer['rows'][:2]} for {wanted[:2]}")
            for name in names:
                if times[name] and (cold or len(times[name]) > 1):
                    found[query, name] |= {"first": times[name][0], "hot": min(times[name][1:] or times[name])}
            print(query, *(f"{name} {found[query, name]['hot'] * 1e3:.1f}" if "hot" in found.get((query, name), {}) else f"{name} -" for name in names),
                  file=sys.stderr, flush=True)
    finally:
        for engine in running.values():
            engine.close()
    return found, versions, wrong


def table(found, names, queries, key):
    lines = ["| query | " + " | ".join(names) + " | Staffa / best |", "|---|" + "---:|" * (len(names) + 1)]
    ratios = {name: [] for name in names}
    for query in queries:
        times = {name: found[query, name][key] for name in names if key in found.get((query, name), {})}
        others = [value for name, value in times.items() if name != STAFFA]
        mine = times.get(STAFFA)
        for name, value in times.items():
            if mine:
                ratios[name].append(mine / value)
        share = f"{mine / min(others):.2f}" if mine and others else ""
        lines.append(f"| {query} | " + " | ".join(f"{times[name] * 1e3:.1f}" if name in times else "–" for name in names) + f" | {share} |")
    means = {name: geometric_mean(values) for name, values in ratios.items()}
    lines.append("| **Staffa's time by this engine's, geometric mean** | " + " | ".join(f"**{means[name]:.2f}**" for name in names) + " | |")
    peaks = {name: max((found[query, name]["peak"] for query in queries if (query, name) in found), default=0) for name in names}
    lines.append("| peak memory, MiB | " + " | ".join(str(peaks[name] >> 20) for name in names) + " | |")
    return "\n".join(lines), means


def picture(means, title, file):
    """The means as bars: how many times as long as Staffa an engine takes."""
    rows = sorted(((name, 1 / mean) for name, mean in means.items() if mean == mean), key=lambda row: row[1])
    longest, height = max(value for _, value in rows), 26
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{60 + height * len(rows)}" font-family="sans-serif" font-size="13">',
             '<rect width="100%" height="100%" fill="white"/>', f'<text x="12" y="24" font-size="15">{title}</text>']
    for number, (name, value) in enumerate(rows):
        y = 40 + number * height
        colour = "#0b6e99" if name == STAFFA else "#b8c4cc"
        lines.append(f'<text x="160" y="{y + 14}" text-anchor="end">{name}</text><rect x="170" y="{y}" width="{440 * value / longest:.0f}" height="18" fill="{colour}"/>'
                     f'<text x="{178 + 440 * value / longest:.0f}" y="{y + 14}">{value:.2f}</text>')
    Path(file).write_text("\n".join([*lines, "</svg>", ""]))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--program", required=True)
    p.add_argument("--suite", choices=["tpch", "sorts", "hits"], default="tpch")
    p.add_argument("--scale", type=float, default=1, help="of TPC-H; of hits, in ten million rows")
    p.add_argument("--engines", default=",".join(engines.NAMES))
    p.add_argument("--hot", type=int, default=3)
    p.add_argument("--queries", default="")
    p.add_argument("--cold", action="store_true")
    p.add_argument("--memory-limit")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--csv")
    p.add_argument("--picture")
    a = p.parse_args()
    if a.cold and a.hot != p.get_default("hot"):
        p.error("--cold runs every query once: leave out --hot")
    data, files = warehouse(a.program, a.suite, a.scale)
    queries = {name: sql for name, sql in statements(a.suite, a.scale, files).items() if not a.queries or name in a.queries.split(",")}
    names = [STAFFA, *(name for name in a.engines.split(",") if name)]
    options = ["--maintenance=false", *(["--memory-limit", a.memory_limit] if a.memory_limit else [])]
    start = lambda name: Staffa(a.program, data, a.threads, options) if name == STAFFA else Peer(name, files, a.threads)
    found, versions, wrong = measure(names, queries, start, files, a.hot, a.cold)
    text, means = table(found, names, queries, "first" if a.cold else "hot")
    if not a.cold:
        print(f"First runs, ms:\n\n{table(found, names, queries, 'first')[0]}\n\nHot, ms:\n")
    print(text)
    how = "cold, one run" if a.cold else f"best of {a.hot}"
    print(f"\n{a.suite}, scale {a.scale:g}, {a.threads} threads, {how}; " + ", ".join(f"{name} {version}" for name, version in versions.items() if version))
    print("\n".join(wrong) if wrong else "All answers are the same.")
    if a.csv:
        with open(a.csv, "w", newline="") as file:
            csv.writer(file).writerows([("query", "engine", "first_s", "hot_s", "peak_bytes"), *((*key, value.get("first"), value.get("hot"), value["peak"]) for key, value in found.items())])
    if a.picture:
        picture(means, f"{a.suite}, scale {a.scale:g}, {'cold' if a.cold else 'hot'}: times of Staffa's time, geometric mean", a.picture)
    return 1 if any(line.split()[1].startswith(STAFFA) for line in wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
