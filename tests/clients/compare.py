"""Runs a client program against PostgreSQL and against Staffa; both must print the same.

    python compare.py --server postgresql://admin@127.0.0.1:5432/staffa psycopg_types.py

A program gets the server's URL as its only argument. Java programs are compiled first, with Debian's driver.
"""
import argparse
import difflib
import os
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


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--server", required=True)
    p.add_argument("programs", nargs="+")
    a, bad = p.parse_args(), 0
    with oracle.postgres() as postgres, tempfile.TemporaryDirectory() as work:
        for program in a.programs:
            command = command_of(program, work)
            wanted, got = run(command, postgres.url()), run(command, a.server)
            assert any(line.startswith("ok") for line in wanted), "\n".join(wanted)
            changes = [line for line in difflib.unified_diff(wanted, got, "postgresql", "staffa", n=0, lineterm="")]
            bad += bool(changes)
            print("\n".join(changes) if changes else f"{program}: {len(wanted)} lines, the same on both servers")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
