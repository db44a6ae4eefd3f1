"""R1 to R6: the tests that kill, break disks, lose answers and let writers meet, in release size."""
import os
from pathlib import Path

from kit import command

ROOT = Path(__file__).resolve().parents[2]

# What, the tests, and how much of them: quick, release.
SUITES = [
    ("R1 kills", ["-p", "staffa-tests", "--test", "it", "durability::kill"], "STAFFA_KILLS", 20, 1000),
    ("R2 order of fsyncs", ["-p", "staffa-tests", "--test", "it", "durability::fsyncs"], None, None, None),
    ("R3 disks that fail or are full", ["-p", "staffa-tests", "--test", "it", "_disk"], None, None, None),
    ("R4 an object store that fails", ["-p", "staffa-tests", "--test", "it", "s3::"], None, None, None),
    ("R5 writers", ["-p", "staffa-tests", "--test", "it", "isolation::"], "STAFFA_HISTORY_SECONDS", 10, 600),
    ("R1, R6 every step of a commit", ["-p", "staffa-catalog", "--lib", "catalog::faults"], "STAFFA_FAULTS", "some", "all"),
    ("R8 malformed messages", ["-p", "staffa-tests", "--test", "it", "protocol::"], None, None, None),
    ("R9 statements of any shape", ["-p", "staffa-tests", "--test", "it", "shapes::"], None, None, None),
]


def run(size, figures):
    for name, words, variable, quick, release in SUITES:
        environment = dict(os.environ)
        if variable:
            environment[variable] = str(size.of(quick, release))
        done = command("cargo", "test", *words, cwd=ROOT, env=environment, capture_output=True, text=True)
        summary = [line for line in done.stdout.splitlines() if line.startswith("test result")]
        if done.returncode:
            print(done.stdout[-4000:], done.stderr[-2000:], sep="\n")
        figures.put(name, " ".join(summary) or "no summary", "all pass", done.returncode == 0)
