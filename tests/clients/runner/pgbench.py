"""pgbench: its tables, its TPC-B-like script and its SELECTs with eight clients, in the three modes of the protocol."""
import re
import subprocess

import oracle
import pair
from checks import Check

MODES = ("simple", "extended", "prepared")


def run(servers, work, only):
    checks = []
    for name, arguments in steps():
        if only and not re.search(only, name) and name != "initialise":
            continue
        wanted, got = (answer(url, arguments) for url in servers.each())
        checks.append(Check(name, wanted == got, wanted, got))
    return checks


def steps():
    yield "initialise", ["--initialize", "--scale", "1"]
    for mode in MODES:
        yield f"SELECT, {mode}", ["--no-vacuum", "--select-only", "--protocol", mode, "--client", "8", "--transactions", "50"]
    for mode in MODES:
        yield f"TPC-B, {mode}", ["--no-vacuum", "--protocol", mode, "--client", "8", "--transactions", "10", "--max-tries", "1000"]


def answer(url, arguments):
    """How many transactions were done; time and retries are each server's own."""
    try:
        out = subprocess.run([f"{oracle.binaries()}/pgbench", *arguments], capture_output=True, text=True, timeout=900,
                             env=pair.environment(url))
    except subprocess.TimeoutExpired:
        return "not done after 900 seconds"
    done = re.findall(r"transactions actually processed: .*|number of failed transactions: \d+", out.stdout)
    errors = [line for line in out.stderr.splitlines() if "error" in line.lower() or "abort" in line.lower()]
    return "; ".join([f"exit {out.returncode}", *done, *errors[:3]])
