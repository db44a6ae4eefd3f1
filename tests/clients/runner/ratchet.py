"""Which checks of a suite ever agreed, which differ by design, and what follows for those of today."""
import re
from pathlib import Path

CLIENTS = Path(__file__).resolve().parent.parent


class Ratchet:
    def __init__(self, suite):
        self.file = CLIENTS / "passed" / f"{suite}.txt"
        self.passed = set(self.file.read_text().splitlines()) if self.file.exists() else set()
        self.by_design = differences_by_design(suite)

    def judge(self, checks, only=None):
        """What must not be: checks that agreed once and differ or are gone, entries of the list that hold no longer."""
        problems = [f"agreed once: {c.name}\n  - {c.wanted[:2000]}\n  + {c.got[:2000]}" for c in checks
                    if c.name in self.passed and not c.agrees]
        if only:
            return problems
        there = {c.name for c in checks}
        problems += [f"no such check any more (--bless takes it out): {name}" for name in sorted(self.passed - there)]
        differing = [c.name for c in checks if not c.agrees]
        problems += [f"not different, take it off known_differences.txt: {p.pattern}" for p in self.by_design
                     if not any(p.fullmatch(name) for name in differing)]
        return problems

    def bless(self, checks):
        there = {c.name for c in checks}
        self.passed = (self.passed & there) | {c.name for c in checks if c.agrees}
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text("".join(f"{name}\n" for name in sorted(self.passed)))

    def is_by_design(self, check):
        return any(p.fullmatch(check.name) for p in self.by_design)

    def summary(self, checks):
        new = sum(c.agrees and c.name not in self.passed for c in checks)
        known = sum(not c.agrees and self.is_by_design(c) for c in checks)
        extra = (f" ({known} differ by design)" if known else "") + (f" ({new} new: --bless)" if new else "")
        return f"{sum(c.agrees for c in checks)} of {len(checks)} agree{extra}"

    def write_report(self, checks, path):
        """Every difference with both answers, those by design last."""
        different = sorted((c for c in checks if not c.agrees), key=self.is_by_design)
        path.write_text("".join(
            f"{'(by design) ' if self.is_by_design(c) else ''}{c.name}\n  - {indented(c.wanted)}\n  + {indented(c.got)}\n" for c in different))


def indented(text):
    return text.strip().replace("\n", "\n    ")


def differences_by_design(suite):
    """The patterns of this suite's checks; `*` stands for anything."""
    lines = (CLIENTS / "known_differences.txt").read_text().splitlines()
    entries = (line.split(": ", 1) for line in lines if line and not line.startswith("#"))
    return [pattern(name) for of, name in entries if pattern(of).fullmatch(suite)]


def pattern(text):
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.S)
