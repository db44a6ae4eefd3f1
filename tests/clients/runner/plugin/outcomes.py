"""pytest plugin: one JSON line a test and phase into $CLIENTS_RESULTS, as they happen."""
import json
import os
import re

# What servers say when they refuse, in the output of programs that only tell that something failed.
COMPLAINT = re.compile(r"(?i)error|not supported|does not exist|invalid")


def pytest_runtest_logreport(report):
    if report.when == "call" or not report.passed:
        with open(os.environ["CLIENTS_RESULTS"], "a") as out:
            out.write(json.dumps({"name": report.nodeid, "state": report.outcome, "text": reason(report)}) + "\n")


def reason(report):
    if report.passed:
        return ""
    printed = [line for _, text in report.sections for line in text.splitlines() if COMPLAINT.search(line)]
    return "\n".join([*dict.fromkeys(printed), str(report.longrepr)[-1200:]])
