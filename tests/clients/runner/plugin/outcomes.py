"""pytest plugin: one JSON line a test and phase into $CLIENTS_RESULTS, as they happen."""
import json
import os


def pytest_runtest_logreport(report):
    if report.when == "call" or not report.passed:
        text = "" if report.passed else str(report.longrepr)
        with open(os.environ["CLIENTS_RESULTS"], "a") as out:
            out.write(json.dumps({"name": report.nodeid, "state": report.outcome, "text": text}) + "\n")
