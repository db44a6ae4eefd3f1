"""Where the client programs connect (the URL that is their first argument) and how they report."""
import sys
from urllib.parse import urlencode, urlsplit

URL = sys.argv[1] if len(sys.argv) > 1 else "postgresql://admin@127.0.0.1:5432/staffa"
AT = urlsplit(URL)
HOST, PORT, USER, DATABASE = AT.hostname, AT.port, AT.username, AT.path.lstrip("/")
# Nobody is asked for it; some programs want one.
PASSWORD = "x"


def url(scheme="postgresql", **options):
    query = "?" + urlencode(options) if options else ""
    return f"{scheme}://{USER}:{PASSWORD}@{HOST}:{PORT}/{DATABASE}{query}"


class Report:
    """One line a check (ok or FAIL, its name, what came out), the same on every correct server."""

    def __init__(self, recover=lambda: None):
        """`recover` is called after a check that failed: the others shall not suffer from an aborted transaction."""
        self.failed, self.recover = 0, recover

    def check(self, name, run):
        try:
            self.line("ok", name, str(run()))
        except Exception as error:
            self.failed += 1
            self.line("FAIL", name, f"{type(error).__name__}: {' '.join(str(error).split())[:1000]}")
            self.recover()

    def line(self, *parts):
        print("\t".join(part.replace("\t", "\\t").replace("\n", "\\n") for part in parts), flush=True)

    def finish(self):
        sys.exit(1 if self.failed else 0)
