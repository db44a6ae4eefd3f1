"""One engine in one process, for peers.py: reads statements as JSON lines, answers with times and rows.

    python benches/compare/engines.py NAME FOLDER THREADS '{"lineitem": ["FILE", …], …}'

A `-parquet` engine reads the files where they are; a `-native` one loads them into tables of its own first. Rows come back as text, to be
compared; times are of the statement with all its rows fetched. Memory is the most the process ever held after loading.
"""
import json
import os
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import tpch


def listed(files):
    return ", ".join(f"'{file}'" for file in files)


def linked(folder, table, files):
    """A folder with nothing but the table's files."""
    links = folder / table
    links.mkdir()
    for number, file in enumerate(files):
        (links / f"{number}.parquet").symlink_to(file)
    return links


class DuckDB:
    def __init__(self, kind, folder, threads, tables):
        import duckdb
        native = kind == "native"
        self.connection = duckdb.connect(str(folder / "peer.duckdb") if native else ":memory:")
        self.connection.execute(f"set threads={threads}")
        for table, files in tables.items():
            self.connection.execute(f"create {'table' if native else 'view'} {table} as "
                                    f"select * from read_parquet([{listed(files)}], hive_partitioning = false)")
        if native:
            self.connection.execute("checkpoint")
        self.version = duckdb.__version__

    def run(self, sql):
        return self.connection.execute(sql).fetchall()


class DataFusion:
    """Stock, with its own defaults."""
    def __init__(self, kind, folder, threads, tables):
        import datafusion
        self.context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(threads))
        for table, files in tables.items():
            self.context.sql(f"create external table {table} stored as parquet location '{linked(folder, table, files)}/'").collect()
        self.version = datafusion.__version__

    def run(self, sql):
        return [tuple(row.values()) for batch in self.context.sql(sql).collect() for row in batch.to_pylist()]


class ClickHouse:
    """chDB; its MergeTree is ordered by what the queries filter by, dates and counters."""
    ORDER = {"lineitem": "l_shipdate, l_orderkey", "orders": "o_orderdate, o_orderkey", "hits": "counterid, eventdate, userid"}

    def __init__(self, kind, folder, threads, tables):
        import chdb
        from chdb import session
        self.session = session.Session(str(folder / "chdb"))
        for setting in ("max_threads=%d" % threads, "join_use_nulls=1"):
            self.session.query(f"set {setting}")
        self.session.query("create database peer")
        self.session.query("use peer")
        for table, files in tables.items():
            source = f"file('{linked(folder, table, files)}/*.parquet', Parquet)"
            columns = str(self.session.query(f"describe table {source} settings schema_inference_make_columns_nullable=0", "TSV")).splitlines()
            if kind == "native":
                order = self.ORDER.get(table, columns[0].split("\t")[0])
                self.session.query(f"create table {table} engine = MergeTree order by ({order}) as select * from {source} "
                                   "settings schema_inference_make_columns_nullable=0")
                self.session.query(f"optimize table {table} final")
            else:
                self.session.query(f"create view {table} as select * from {source}")
        self.version = chdb.__version__

    def run(self, sql):
        if "regexp_replace" in sql:
            sql = sql.replace("regexp_replace", "replaceRegexpOne").replace("\\", "\\\\")
        table = self.session.query(sql, "ArrowTable")
        return [tuple(row) for row in zip(*(column.to_pylist() for column in table.columns))]


class Hyper:
    def __init__(self, kind, folder, threads, tables):
        import tableauhyperapi as hyper
        parameters = {"log_config": "", "hard_concurrent_query_thread_limit": str(threads)}
        self.process = hyper.HyperProcess(hyper.Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, parameters=parameters)
        self.connection = hyper.Connection(self.process.endpoint, database=str(folder / "peer.hyper"), create_mode=hyper.CreateMode.CREATE_AND_REPLACE)
        for table, files in tables.items():
            if kind == "native":
                self.connection.execute_command(f"create table {table} as (select * from external(array[{listed(files)}], format => 'parquet'))")
            else:
                self.connection.execute_command(f"create temporary external table {table} for array[{listed(files)}] with (format => 'parquet')")
        self.version = hyper.__version__

    def run(self, sql):
        return self.connection.execute_list_query(sql)


class Polars:
    def __init__(self, kind, folder, threads, tables):
        os.environ["POLARS_MAX_THREADS"] = str(threads)
        import polars
        self.context = polars.SQLContext({table: polars.scan_parquet(files, hive_partitioning=False) for table, files in tables.items()})
        self.version = polars.__version__

    def run(self, sql):
        return self.context.execute(sql).collect(engine="streaming").rows()


ENGINES = {"duckdb": DuckDB, "datafusion": DataFusion, "chdb": ClickHouse, "hyper": Hyper, "polars": Polars}
NAMES = ["duckdb-native", "duckdb-parquet", "hyper-native", "hyper-parquet", "chdb-native", "chdb-parquet", "datafusion-parquet", "polars-parquet"]


def children(process):
    """The process and all it started: Hyper's server is one."""
    found = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in task.read_text().split():
            found += children(int(child))
    return found


def peak_bytes():
    def of(process):
        return next(int(line.split()[1]) for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM")) * 1024
    return sum(map(of, children(os.getpid())))


def cell(value):
    # Hyper has moments and dates of its own, which print as others do.
    for plain in ("to_datetime", "to_date"):
        if hasattr(value, plain):
            return tpch.cell(getattr(value, plain)())
    return tpch.cell(value)


def main():
    name, folder, threads, tables = sys.argv[1:]
    engine, kind = name.split("-")
    # What engines print of themselves is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = ENGINES[engine](kind, Path(folder), int(threads), json.loads(Path(tables).read_text()))
    for process in children(os.getpid()):
        Path(f"/proc/{process}/clear_refs").write_text("5")
    print(json.dumps({"version": re.sub(r"[^\w.]", "", str(peer.version))}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        begun = time.perf_counter()
        try:
            rows = peer.run(asked["sql"])
            answer = {"seconds": time.perf_counter() - begun}
            if asked["rows"]:
                answer["rows"] = [[cell(value) for value in row] for row in rows]
        # Whatever an engine raises, the others go on.
        except BaseException as error:
            answer = {"error": " ".join(str(error).split())[:300]}
        answer["peak"] = peak_bytes()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
