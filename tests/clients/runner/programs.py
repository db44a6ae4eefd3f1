"""Client programs that print one line a check: the same lines are expected from both servers."""
import re
import subprocess
import sys
from pathlib import Path

import pair
from checks import Check, distinct

CLIENTS = Path(__file__).resolve().parent.parent
JDBC = "/usr/share/java/postgresql.jar"
# Seconds a program gets, on debug builds too.
LIMIT = 1800


def suite(program, *arguments, python=sys.executable):
    def run(servers, work, only):
        command = command_of(program, work, python)
        wanted, got = (lines(command, url, arguments, work) for url in servers.each())
        assert wanted, f"{program} does nothing on PostgreSQL"
        return side_by_side(wanted, got, only)
    return run


def command_of(program, work, python):
    source = CLIENTS / "programs" / program
    if source.suffix == ".py":
        return [str(python), str(source)]
    if source.suffix == ".mjs":
        return ["node", str(source)]
    subprocess.run(["javac", "-cp", JDBC, "-d", str(work), str(source)], check=True)
    return ["java", "-Duser.timezone=UTC", "-XX:TieredStopAtLevel=1", "-cp", f"{JDBC}:{work}", source.stem]


def lines(command, url, arguments, work, more={}):
    """{name: what came out}; how a program died is the answer of all checks it did not come to."""
    environment = {**pair.environment(url), **more}
    # These programs say where they connect and how long statements may take.
    for variable in ("PGOPTIONS", "PGPASSWORD"):
        del environment[variable]
    try:
        out = subprocess.run([*command, url, *arguments], capture_output=True, text=True, timeout=LIMIT, env=environment, cwd=work)
        stdout, end = out.stdout, " ".join(out.stderr.split())[-500:]
    except subprocess.TimeoutExpired as late:
        stdout, end = (late.stdout or b"").decode(), f"not done after {LIMIT} seconds"
    parts = [line.split("\t", 2) for line in stdout.splitlines() if re.match(r"(ok|FAIL)\t.*\t", line)]
    found = dict(zip(distinct(name.strip() or "(empty)" for _, name, _ in parts), (f"{state} {result}" for state, _, result in parts)))
    return Answers(found, end)


class Answers(dict):
    def __init__(self, found, end):
        super().__init__(found)
        self.end = end

    def __missing__(self, name):
        return f"(no answer) {self.end}"


def side_by_side(wanted, got, only=None):
    return [Check(name, result == got[name], result, got[name]) for name, result in wanted.items()
            if not only or re.search(only, name)]
