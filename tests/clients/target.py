"""Where the client programs connect (their first argument) and how they report."""
import sys

URL = sys.argv[1] if len(sys.argv) > 1 else "postgresql://postgres@127.0.0.1:5432/postgres"


class Report:
    """One line a check, the same on every correct server, so two servers' outputs can be compared."""

    failed = 0

    def check(self, name, run):
        try:
            print(f"ok   {name}: {run()}", flush=True)
        except Exception as error:
            self.failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}", flush=True)

    def finish(self):
        print(f"{self.failed} failed")
        sys.exit(1 if self.failed else 0)
