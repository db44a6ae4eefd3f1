"""A throw-away PostgreSQL 15 server: the answers our tests compare with come from it.

    with oracle.postgres() as server:          # started on a free loopback port, removed at the end
        psycopg.connect(server.url("some_database"))

STAFFA_ORACLE=HOST:PORT uses a server that runs already (role postgres, trust).
"""
import contextlib
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass


@dataclass
class Server:
    host: str
    port: int
    user: str = "postgres"

    def url(self, database="postgres"):
        return f"postgresql://{self.user}@{self.host}:{self.port}/{database}"


def binaries():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not found:
        raise SystemExit("no PostgreSQL server found under /usr/lib/postgresql: run scripts/setup")
    return found[0] if "/usr/lib/postgresql/15/bin" not in found else "/usr/lib/postgresql/15/bin"


def as_user():
    """PostgreSQL refuses to run as root: root runs it as the package's own user."""
    return ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def postgres(fsync=False, user="postgres"):
    """Another first role than `postgres` is always a server of its own."""
    running = os.environ.get("STAFFA_ORACLE")
    if running and user == "postgres":
        host, port = running.rsplit(":", 1)
        yield Server(host, int(port))
        return
    place = tempfile.mkdtemp(prefix="staffa-oracle-")
    if os.getuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(place, owner.pw_uid, owner.pw_gid)
    data, port = f"{place}/data", free_port()
    run = lambda *a: subprocess.run([*as_user(), *a], check=True, cwd=place, stdout=subprocess.DEVNULL)
    run(f"{binaries()}/initdb", "-D", data, "-A", "trust", "-U", user, "-E", "UTF8", "--locale=C.UTF-8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={place} -c fsync={'on' if fsync else 'off'} -c timezone=UTC"
    run(f"{binaries()}/pg_ctl", "-D", data, "-o", options, "-l", f"{place}/log", "-w", "start")
    try:
        yield Server("127.0.0.1", port, user)
    finally:
        run(f"{binaries()}/pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(place, ignore_errors=True)
