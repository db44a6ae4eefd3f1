"""Runs a client program against PostgreSQL and against Staffa; both must print the same.

    python compare.py --server postgresql://admin@127.0.0.1:5432/staffa psycopg_types.py

`known_differences.txt` lists the lines that may differ, each with its reason; one that does not differ any more is an
error too, so that the list can only shrink. A program gets the server's URL as its only argument. Java programs are compiled first, with Debian's driver.
"""
import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))
import oracle

DRIVER = "/usr/share/java/postgresql.jar"


def command_of(program, work):
    source = HERE / program
    if source.suffix == ".py":
        return [sys.executable, str(source)]
    subprocess.run(["javac", "-cp", DRIVER, "-d", work, str(source)], check=True)
    return ["java", "-Duser.timezone=UTC", "-XX:TieredStopAtLevel=1", "-cp", f"{DRIVER}:{work}", source.stem]


def run(command, url):
    out = subprocess.run([*command, url], capture_output=True, text=True, timeout=600, env={**os.environ, "TZ": "UTC"})
    return out.stdout.splitlines() + [f"stderr: {line}" for line in out.stderr.splitlines()[-5:] if out.returncode]


def known_differences():
    """{program: [pattern of a line]}; `*` stands for anything."""
    known = {}
    for line in (HERE / "known_differences.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            program, pattern = line.split(": ", 1)
            known.setdefault(program, []).append(re.compile(".*".join(map(re.escape, pattern.split("*")))))
    return known


def compare(wanted, got, known):
    """The differences nobody knows of, and the known ones that are gone."""
    problems, seen = [], set()
    for w, g in itertools.zip_longest(wanted, got, fillvalue="(nothing)"):
        name = w.removeprefix("ok   ").removeprefix("FAIL ")
        pattern = next((p for p in known if p.match(name)), None)
        if w == g or (w.endswith(" failed") and g.endswith(" failed")):
            continue
        if pattern:
            seen.add(pattern)
        else:
            problems += [f"- {w}", f"+ {g}"]
    return problems + [f"no longer different, take it off the list: {p.pattern}" for p in known if p not in seen]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--server", required=True)
    p.add_argument("programs", nargs="+")
    a, bad, known = p.parse_args(), 0, known_differences()
    with oracle.postgres() as postgres, tempfile.TemporaryDirectory() as work:
        for program in a.programs:
            command = command_of(program, work)
            wanted, got = run(command, postgres.url()), run(command, a.server)
            assert any(line.startswith("ok") for line in wanted), "\n".join(wanted)
            problems = compare(wanted, got, known.get(program, []))
            bad += len(problems)
            print("\n".join([f"{program}: {len(wanted)} lines, {len(problems)} problems", *problems]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
