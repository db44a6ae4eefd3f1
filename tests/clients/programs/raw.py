"""The protocol by hand: sends messages, and tells what comes back one message a line."""
import socket
import struct
from urllib.parse import urlsplit


def text(value):
    return value.encode() + b"\0"


def message(tag, body=b""):
    return tag + struct.pack("!i", len(body) + 4) + body


def query(sql):
    return message(b"Q", text(sql))


def parse(sql, name="", types=()):
    return message(b"P", text(name) + text(sql) + struct.pack(f"!h{len(types)}I", len(types), *types))


def bind(portal="", statement="", values=(), formats=()):
    body = text(portal) + text(statement) + struct.pack("!hh", 0, len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message(b"B", body + struct.pack(f"!h{len(formats)}h", len(formats), *formats))


def describe(kind, name=""):
    return message(b"D", kind + text(name))


def execute(portal="", rows=0):
    return message(b"E", text(portal) + struct.pack("!i", rows))


def close(kind, name=""):
    return message(b"C", kind + text(name))


SYNC, FLUSH = message(b"S"), message(b"H")


def run(sql, rows=0, formats=()):
    """A statement as drivers send it, without the Sync."""
    return parse(sql) + bind(formats=formats) + describe(b"P") + execute(rows=rows)


def copy_data(data):
    return message(b"d", data)


COPY_DONE = message(b"c")


def copy_fail(reason):
    return message(b"f", text(reason))


class Raw:
    """A connection. `send` gives the answers up to ReadyForQuery as short texts."""

    def __init__(self, url):
        to = urlsplit(url)
        self.socket = socket.create_connection((to.hostname, to.port), timeout=60)
        self.input = b""
        body = struct.pack("!i", 196608) + text("user") + text(to.username) + text("database") + text(to.path[1:]) + b"\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self.until(b"Z")

    def more(self, count):
        while len(self.input) < count:
            got = self.socket.recv(65536)
            if not got:
                raise EOFError("closed")
            self.input += got

    def read(self):
        self.more(5)
        length = struct.unpack("!i", self.input[1:5])[0]
        self.more(length + 1)
        tag, body = self.input[:1], self.input[5:length + 1]
        self.input = self.input[length + 1:]
        return tag, body

    def until(self, *tags):
        answers = []
        while True:
            try:
                tag, body = self.read()
            except EOFError:
                return [*answers, "closed"]
            shown = show(tag, body)
            if shown:
                answers.append(shown)
            if tag in tags:
                return answers

    def send(self, *messages, tags=(b"Z",)):
        self.socket.sendall(b"".join(messages))
        return self.until(*tags)

    def copy(self, sql, *data, extended=False, end=COPY_DONE):
        """COPY FROM STDIN."""
        before = run(sql) + SYNC if extended else query(sql)
        answers = self.send(before, tags=(b"G", b"Z"))
        if answers and answers[-1].startswith("CopyIn"):
            answers += self.send(*map(copy_data, data), end, *([SYNC] if extended else []))
        return answers


def fields(body):
    return {part[:1].decode(): part[1:].decode() for part in body.split(b"\0") if part}


def cells(body):
    count, at, values = struct.unpack("!h", body[:2])[0], 2, []
    for _ in range(count):
        length = struct.unpack("!i", body[at:at + 4])[0]
        at += 4
        values.append(None if length < 0 else body[at:at + length])
        at += max(length, 0)
    return [value if value is None else value.decode("latin1") for value in values]


def columns(body):
    count, at, found = struct.unpack("!h", body[:2])[0], 2, []
    for _ in range(count):
        end = body.index(b"\0", at)
        _, _, oid, _, _, form = struct.unpack("!IhIhih", body[end + 1:end + 19])
        # A number in the text is a bigint in Staffa.
        oid = "number" if oid in (20, 23) and body[at:end] == b"?column?" else oid
        found.append(f"{body[at:end].decode()} {oid}{' binary' if form else ''}")
        at = end + 19
    return found


def show(tag, body):
    known = {b"1": "ParseComplete", b"2": "BindComplete", b"3": "CloseComplete", b"n": "NoData", b"s": "PortalSuspended",
             b"I": "EmptyQuery", b"c": "CopyDone"}
    if tag in known:
        return known[tag]
    if tag == b"C":
        return body[:-1].decode()
    if tag == b"Z":
        return f"Ready {body.decode()}"
    if tag == b"T":
        return f"Columns {columns(body)}"
    if tag == b"t":
        return f"Parameters {list(struct.unpack(f'!{len(body) // 4}I', body[2:]) if len(body) > 2 else [])}"
    if tag == b"D":
        return f"Row {cells(body)}"
    if tag == b"d":
        return f"Data {body!r}"
    if tag in b"GH":
        return f"Copy{'In' if tag == b'G' else 'Out'} {body[0]} {list(struct.unpack(f'!{(len(body) - 3) // 2}h', body[3:]))}"
    if tag in b"EN":
        told = fields(body)
        shown = [f"{told['S']} {told['C']} {told['M']}"]
        more = [("position", "P"), ("detail", "D"), ("hint", "H"), ("context", "W")]
        shown += [f"{name}: {told[key]}" for name, key in more if key in told]
        # Drivers go by it.
        shown += [told["R"]] if told.get("R") == "RevalidateCachedQuery" else []
        return "; ".join(shown)
    if tag == b"S":
        name, value = body.split(b"\0")[:2]
        return f"Set {name.decode()} {value.decode()}"
    return None
