"""Starts the server program for a script and stops it at the end.

    with server.running(program, "demo", "--scale", "1", "--data", folder) as s:
        psycopg.connect(s.url)

`before` is a command that runs the program, `settings` are added to its environment.
"""
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import IO


@dataclass
class Running:
    url: str
    pid: int
    port: int
    output: IO[str]

    def log(self):
        self.output.seek(0)
        return self.output.read()

    def peak_bytes(self):
        """Most memory the process ever held."""
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024


def measured(program, *arguments):
    """A server that computes every answer, for programs that measure it."""
    return running(program, *arguments, "--settings", "staffa.result_cache=off")


@contextlib.contextmanager
def running(program, *arguments, limit=3600, before=(), auth="trust", settings=()):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("STAFFA_", "PG"))} | dict(settings)
    with tempfile.TemporaryFile("w+") as log:
        command = [*before, program, *arguments, "--listen", "127.0.0.1:0", "--auth", auth]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        try:
            begun, port = time.monotonic(), None
            while not port:
                log.seek(0)
                text = log.read()
                port = re.search(r"127\.0\.0\.1:([1-9]\d*)", text)
                if process.poll() is not None or time.monotonic() - begun > limit:
                    sys.exit(f"{' '.join(command)} does not serve:\n{text}")
                time.sleep(0.05)
            yield Running(f"postgresql://admin@127.0.0.1:{port[1]}/staffa", process.pid, int(port[1]), log)
        finally:
            process.terminate()
            process.wait(60)
