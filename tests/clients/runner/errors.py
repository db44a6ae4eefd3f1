"""Mistakes, and all that users are told of them: SQLSTATE, place in the text, hint, and the words.

A check agrees when everything is as PostgreSQL says it. How often each part is, is printed at the end, of the statements
for which PostgreSQL has an error or a notice. A suite can ask for a share of a part: it is a check of its own.
"""
import re
from fractions import Fraction

import psycopg

import replay
from checks import Check, distinct

# What libraries below say of themselves must never reach a user.
FOREIGN = re.compile(r"datafusion|arrow|\brust|utf8(?!\")|\bu?int(8|16|32|64)\b|float(16|32|64)|decimal(128|256)|date32|time64|"
                     r"largelist|\bscalarvalue|internal error|not (yet )?implemented|this feature|physical plan|logical plan|"
                     r"schema error|parser error|panicked", re.I)

# Seconds a mistake may take to be found.
PATIENCE = 10


def suite(capture, least=None):
    """Runs a file of mistakes. `least` is the share of each part that must be the same."""
    return lambda servers, work, only: run(servers, capture, {} if only else least or {}, only)


def run(servers, capture, least, only):
    oracle, staffa = (replay.Server(url) for url in servers.each())
    for server in (oracle, staffa):
        server.begin_session()
    items = [{**item, "cancel_after": PATIENCE} for _, item in replay.load(replay.CAPTURES / capture)]
    checks, shares = [], {}
    for name, item in zip(distinct(replay.brief(item["sql"]) for item in items), items):
        if only and not re.search(only, name):
            continue
        wanted, got = told(oracle, item), None
        try:
            got = told(staffa, item)
        except psycopg.Error as error:
            got = {"connection": str(error).strip()}
        if oracle.state() != staffa.state():
            got["transaction"] = f"{staffa.state()} instead of {oracle.state()}"
            staffa.begin_session(oracle.state())
        known = item["sql"] + "".join(wanted.values())
        leaks = {word[0] for part in got.values() for word in FOREIGN.finditer(part) if word[0] not in known}
        if leaks:
            got["leaks"] = ", ".join(leaks)
        for part, said in wanted.items():
            share = shares.setdefault(part, [0, 0])
            share[0] += got.get(part) == said
            share[1] += 1
        checks.append(Check(name, wanted == got, f"{item['sql']}\n{shown(wanted, got)}", shown(got, wanted)))
    print(f"{capture}: " + ", ".join(f"{part} {same} of {there}" for part, (same, there) in shares.items()))
    for part, share in least.items():
        same, there = shares[part]
        wanted = f"{part}: the same of {float(share):.0%}"
        checks.append(Check(wanted, Fraction(same, there) >= share, wanted, f"{same} of {there}"))
    return checks


def told(server, item):
    """What a user is told: the parts of the error, if there is one, and the notices."""
    server.notices.clear()
    answers = server.run(item, 0)
    said = next(({part: text for part, text in answer.items() if text} for answer in answers if "sqlstate" in answer), {})
    if server.notices:
        said["notices"] = "\n".join(f"{notice['sqlstate']} {notice['message']}" for notice in server.notices)
    return said


def shown(said, other):
    """The parts that differ."""
    return "\n".join(f"{part}: {text}" for part, text in said.items() if other.get(part) != text) or "(nothing)"
