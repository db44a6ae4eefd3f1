"""Keeps the marks `skipif pending` of tests/sql in step with what Staffa can do.

    STAFFA_SLT_PENDING=1 cargo test -p staffa-tests --test it slt:: > log 2>&1
    python scripts/slt_pending.py log          # marks come off records that pass now
    python scripts/slt_pending.py log --add    # and records that fail get one: a decision, never a routine

The log must be of a run over all files (without STAFFA_SLT). A mark is two lines above the record: a comment that says
what Staffa answered, and the condition.
"""
import argparse
import glob
import os
import re

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "sql")
COMMENT, CONDITION = "# Staffa: ", "skipif pending"
KINDS = (("query result mismatch", "other rows"), ("columns mismatch", "other types"), ("actually succeed", "no error"))


def failures(log):
    """{(file, line of the record): what happened}"""
    found, what = {}, ""
    for line in open(log, errors="replace"):
        place = re.match(r"at (\S+):(\d+)$", line.strip())
        if place:
            found.setdefault((place[1], int(place[2])), what)
            what = ""
        elif re.match(r"(query|statement) .*(mismatch|fail)", line):
            what = next((short for mark, short in KINDS if mark in line), "")
            if " failed: " in line:
                what = line.split(" failed: ", 1)[1].strip()[:110]
        elif what == "" and re.match(r"\s+(\(sqlstate.*\) )?[0-9A-Z]{5}: ", line):
            what = line.strip()[:110]
    return found


def rewrite(path, failed, add):
    name = os.path.relpath(path, ROOT)[:-4]
    lines = open(path).read().split("\n")
    out, off, on = [], 0, 0
    for number, line in enumerate(lines, 1):
        if re.match(r"(statement|query)\b", line) and (not out or not out[-1].startswith("----")):
            had = CONDITION in out[len(out) - 5:] and "" not in out[len(out) - 1 - out[::-1].index(CONDITION):]
            failure = failed.get((name, number))
            mark = [COMMENT + (failure or "another answer"), CONDITION] if failure is not None else []
            if had and not mark:
                at = len(out) - 1 - out[::-1].index(CONDITION)
                start = at - 1 if at and out[at - 1].startswith(COMMENT) else at
                del out[start:at + 1]
                off += 1
            elif mark and not had and add:
                out += mark
                on += 1
        out.append(line)
    if off or on:
        open(path, "w").write("\n".join(out))
        print(f"{name}: {off} marks taken off, {on} set")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("log")
    p.add_argument("--add", action="store_true")
    a = p.parse_args()
    failed = failures(a.log)
    for path in sorted(glob.glob(f"{ROOT}/**/*.slt", recursive=True)):
        rewrite(path, failed, a.add)


if __name__ == "__main__":
    main()
