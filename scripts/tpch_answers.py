"""Writes tests/tpch/answers/qNN.csv: DuckDB's answers on the generator's own Parquet files at scale 0.01.

    python scripts/tpch_answers.py [--check]
"""
import argparse
import csv
import io
import sys
import tempfile

import tpch

SCALE = 0.01


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--check", action="store_true", help="change nothing, exit with 1 when an answer would change")
    a, changed = p.parse_args(), 0
    with tempfile.TemporaryDirectory() as place:
        connection = tpch.duckdb_connection(tpch.generate(SCALE, place))
        for name, sql in tpch.queries(SCALE).items():
            result = connection.execute(sql)
            text = io.StringIO()
            out = csv.writer(text, lineterminator="\n")
            out.writerow(column[0] for column in result.description)
            out.writerows([tpch.cell(v) for v in row] for row in result.fetchall())
            file = tpch.ROOT / f"tests/tpch/answers/{name}.csv"
            if not file.exists() or file.read_text() != text.getvalue():
                changed += 1
                print(name, "differs" if a.check else "written")
                if not a.check:
                    file.write_text(text.getvalue())
    return 1 if a.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
