"""S2: guesses at passwords are slow, and whether there is such a role cannot be told."""
import concurrent.futures
import contextlib
import socket
import statistics
import struct
import time

import psycopg

from kit import served, startup

PASSWORD = "correct horse battery staple"

# Guesses that are free, for each role and address.
FREE = 5


def guess(server, user):
    """How long a wrong password takes, and what it is told."""
    begun = time.monotonic()
    try:
        psycopg.connect(host="127.0.0.1", port=server.port, user=user, password="wrong", dbname="staffa", sslmode="disable").close()
    except psycopg.OperationalError as error:
        text = str(error).strip().rsplit("FATAL:", 1)[-1].strip().replace(user, "NAME")
        return time.monotonic() - begun, text
    return time.monotonic() - begun, "let in"


def a_minute_of_guesses(server, seconds, figures):
    for user in ("known_0", "nobody"):
        for _ in range(FREE):
            guess(server, user)
        # As many at a time as one likes.
        end, looked_at = time.monotonic() + seconds, 0

        def guess_on():
            count = 0
            while time.monotonic() < end:
                took, text = guess(server, user)
                count += "password authentication failed" in text and time.monotonic() < end
                if took < 0.05:
                    time.sleep(0.05)
            return count

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            looked_at = sum(future.result() for future in [pool.submit(guess_on) for _ in range(8)])
        figures.at_most(f"guesses: a minute, after {FREE} wrong ones, at {user}", looked_at * 60 / seconds, 20)


def known_or_not(server, count, figures):
    times, texts = {"known": [], "unknown": []}, {"known": set(), "unknown": set()}
    for number in range(count):
        # Each guess is among the free ones of its role; kinds take turns, so that the machine is as busy for both.
        for kind in times:
            took, text = guess(server, f"{kind}_{number // (FREE - 1) + 1}")
            times[kind].append(took)
            texts[kind].add(text)
    figures.equal("guesses: what is told of an unknown role", texts["unknown"], texts["known"])
    known, unknown = (statistics.median(times[kind]) for kind in ("known", "unknown"))
    figures.note(f"medians of {count}: {known * 1000:.2f} ms for known, {unknown * 1000:.2f} ms for unknown roles")
    figures.at_most("guesses: median time of an unknown role, apart from a known one's", abs(unknown / known - 1) * 100, 5.0, "%")


def strangers(server, figures):
    """Connections that never log in."""
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(150)]
    time.sleep(1)
    figures.at_most("guesses: sockets before login", server.files_open() - server.files_idle, 110)
    begun = time.monotonic()
    sockets[0].settimeout(60)
    with contextlib.suppress(OSError):
        while sockets[0].recv(4096):
            pass
    figures.at_most("guesses: time before login", time.monotonic() - begun + 1, 11.5, "s")
    for sock in sockets:
        sock.close()

    # A message before the login may not be long.
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.settimeout(20)
        sock.sendall(startup(user="known_0", database="staffa"))
        sock.recv(4096)
        before = server.resident_bytes()
        with contextlib.suppress(OSError):
            sock.sendall(b"Q" + struct.pack("!i", 1 << 30) + b"x" * (64 << 20))
        time.sleep(0.5)
        figures.at_most("guesses: memory that a stranger's message takes", (server.resident_bytes() - before) / 2**20, 1.0, "MiB")


def run(size, figures):
    count, seconds = size.of(100, 1000), size.of(15, 60)
    with served(size.program, auth="scram", settings={"STAFFA_ADMIN_PASSWORD": PASSWORD}) as server:
        server.files_idle = server.files_open()
        with psycopg.connect(host="127.0.0.1", port=server.port, user="admin", password=PASSWORD, dbname="staffa", autocommit=True) as admin:
            for number in range(count // (FREE - 1) + 2):
                admin.execute(f"create user known_{number} password '{PASSWORD} {number}'")
        known_or_not(server, count, figures)
        a_minute_of_guesses(server, seconds, figures)
        strangers(server, figures)
        server.check_well(figures, "guesses")
