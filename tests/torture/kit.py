"""What the tortures share: a server in a folder of its own, clients of a few lines that speak the wire protocol, figures."""
import asyncio
import contextlib
import os
import re
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import server

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Size:
    """How much of everything: `quick` for a look, release size else."""

    program: str
    quick: bool
    minutes: float | None

    def of(self, quick, release):
        return quick if self.quick else release


@dataclass
class Figures:
    """Prints each figure beside its bound, and remembers whether one was missed."""

    failed: list[str] = field(default_factory=list)
    passed: int = 0
    skipped: list[str] = field(default_factory=list)

    def at_most(self, name, value, bound, unit=""):
        self.put(name, f"{shown(value)} {unit}".strip(), f"at most {shown(bound)} {unit}".strip(), value <= bound)

    def at_least(self, name, value, bound, unit=""):
        self.put(name, f"{shown(value)} {unit}".strip(), f"at least {shown(bound)} {unit}".strip(), value >= bound)

    def equal(self, name, value, wanted):
        self.put(name, shown(value), shown(wanted), value == wanted)

    def put(self, name, value, bound, good):
        print(f"{'PASS' if good else 'FAIL'}  {name}: {value} ({bound})", flush=True)
        if good:
            self.passed += 1
        else:
            self.failed.append(name)

    def skip(self, name, why):
        print(f"SKIP  {name}: {why}", flush=True)
        self.skipped.append(name)

    @staticmethod
    def note(text):
        print(f"      {text}", flush=True)


def shown(value):
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:.0f}" if isinstance(value, float) else str(value)


def quantile(values, share):
    """The least value that so many are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(len(ordered) * share * 1000) // 1000) - 1))]


# The server.


class Server:
    """One that runs, and what the system knows of its process."""

    def __init__(self, running, folder):
        self.running, self.folder = running, folder
        self.pid, self.port = running.pid, running.port

    def log(self):
        return self.running.log()

    def health(self):
        return re.search(r"Health and metrics: http://([\d.:]+)", self.log())[1]

    def status(self, name):
        """0 where it is not told any more: of a process that has died."""
        found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text(), re.M)
        return int(found[1]) if found else 0

    def resident_bytes(self):
        """Memory that no file backs: the program's own pages come and go as it is used."""
        return self.status("RssAnon") * 1024

    def files_open(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def temporary_files(self):
        """Files in the place where operators spill, but for the lock of the process."""
        return [path for path in (self.folder / "spill").rglob("*") if path.is_file() and path.name != "lock"]

    def panics(self):
        return len(re.findall("panicked", self.log()))

    def check_well(self, figures, name):
        """What must hold after whatever was done to it."""
        figures.equal(f"{name}: panics", self.panics(), 0)
        figures.equal(f"{name}: the server lives", self.status("VmSize") > 0, True)


@contextlib.contextmanager
def served(program, *flags, memory_limit="4GiB", **more):
    """A server of an empty warehouse. Every file it writes is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="staffa-torture-") as folder:
        folder = Path(folder)
        arguments = ["serve", "--data", str(folder / "data"), "--spill-dir", str(folder / "spill"),
                     "--memory-limit", memory_limit, "--health", "127.0.0.1:0", *flags]
        with server.running(program, *arguments, **more) as running:
            yield Server(running, folder)


# Clients.


class Refused(Exception):
    """An error of the server."""

    def __init__(self, fields):
        self.code, self.message, self.fields = fields.get("C", ""), fields.get("M", ""), fields
        super().__init__(f"{self.code} {self.message}")


@dataclass
class Reply:
    rows: list
    error: Refused | None = None

    def done(self):
        if self.error:
            raise self.error
        return self.rows

    @property
    def code(self):
        return self.error.code if self.error else ""


def message(tag, body=b""):
    return tag + struct.pack("!i", len(body) + 4) + body


def query(sql):
    return message(b"Q", sql.encode() + b"\0")


def extended(sql, rows_max=0):
    """Parse, Bind, Execute, Sync of one statement without names."""
    return b"".join([
        message(b"P", b"\0" + sql.encode() + b"\0\0\0"),
        message(b"B", b"\0\0\0\0\0\0\0\0"),
        message(b"E", b"\0" + struct.pack("!i", rows_max)),
        message(b"S"),
    ])


def startup(**parameters):
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items()) + b"\0"
    return struct.pack("!ii", len(body) + 8, 196608) + body


class Client:
    """A session of a server that asks for no password."""

    def __init__(self, port, reader, writer):
        self.port, self.reader, self.writer, self.pid, self.key, self.data = port, reader, writer, None, None, b""

    @classmethod
    async def connect(cls, server, user="admin", database="staffa", receive_bytes=None, **parameters):
        """`receive_bytes`: how much the system may take from the server before the client asks for it."""
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=receive_bytes or 1 << 16)
        self = cls(server.port, reader, writer)
        self.send(startup(user=user, database=database, **parameters))
        (await self.reply()).done()
        return self

    def send(self, data):
        self.writer.write(data)

    async def receive(self, unread=b""):
        """The next message that is none of these kinds. Python is slow: what nobody wants is not even copied."""
        while True:
            data, at = self.data, 0
            while len(data) - at >= 5 and len(data) - at > (length := int.from_bytes(data[at + 1:at + 5], "big")):
                end = at + 1 + length
                if data[at:at + 1] not in unread:
                    self.data = data[end:]
                    return data[at:at + 1], data[at + 5:end]
                at = end
            more = await self.reader.read(1 << 18)
            if not more:
                raise ConnectionError("the server hung up")
            self.data = data[at:] + more

    async def reply(self, keep=True):
        """All until ReadyForQuery, or until the server hangs up."""
        reply = Reply([])
        while True:
            try:
                tag, body = await self.receive(unread=b"" if keep else b"Dd")
            except ConnectionError:
                reply.error = reply.error or Refused({"C": "gone", "M": "the server hung up"})
                return reply
            if tag == b"D":
                reply.rows.append(row_of(body))
            elif tag == b"K":
                self.pid, self.key = struct.unpack("!ii", body)
            elif tag == b"E":
                reply.error = Refused(fields_of(body))
            elif tag == b"Z":
                return reply

    async def run(self, sql, keep=True):
        self.send(query(sql))
        return await self.reply(keep)

    async def value(self, sql):
        return (await self.run(sql)).done()[0][0]

    async def copy_in(self, sql, data):
        self.send(query(sql) + message(b"d", data) + message(b"c"))
        reply = Reply([])
        while True:
            tag, body = await self.receive()
            if tag == b"E":
                reply.error = Refused(fields_of(body))
            elif tag == b"Z":
                return reply

    async def cancel(self):
        """By a connection of its own, as drivers do."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(struct.pack("!iiii", 16, 80877102, self.pid, self.key))
        await writer.drain()
        writer.close()

    async def close(self):
        """Says goodbye."""
        with contextlib.suppress(ConnectionError):
            self.send(message(b"X"))
            await self.writer.drain()
        self.writer.close()

    def vanish(self):
        """As when the client's machine is gone, but that the system says so."""
        self.writer.transport.abort()


def row_of(body):
    (count,) = struct.unpack_from("!h", body)
    at, values = 2, []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        values.append(None if length < 0 else body[at:at + length].decode())
        at += max(length, 0)
    return values


def fields_of(body):
    return {part[:1].decode(): part[1:].decode() for part in body.rstrip(b"\0").split(b"\0")}


async def timed(work):
    begun = time.monotonic()
    result = await work
    return time.monotonic() - begun, result


async def repeat_small(server, sql, times, stop, pause=0.1):
    """Asks a small thing again and again until `stop` is set; gives what failed."""
    client, errors = await Client.connect(server), []
    while not stop.is_set():
        took, reply = await timed(client.run(sql))
        times.append(took)
        if reply.error:
            errors.append(str(reply.error))
        await asyncio.sleep(pause)
    await client.close()
    return errors


def http_get(address, path):
    """Status, and seconds."""
    host, port = address.rsplit(":", 1)
    begun = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := sock.recv(4096):
            answer += part
    return int(answer.split(b" ", 2)[1]), time.monotonic() - begun


def cores():
    return len(os.sched_getaffinity(0))


def command(*words, **more):
    return subprocess.run([str(word) for word in words], **more)
