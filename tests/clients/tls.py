"""TLS: psycopg over it, plaintext refused when it is required, and bad certificates that refuse to start.

    python tls.py PATH_OF_THE_SERVER_PROGRAM
"""
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import requests

PROGRAM = sys.argv[1]


def certificate(place, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-days", "2", "-keyout", f"{place}/{name}.key", "-out", f"{place}/{name}.pem"], check=True, capture_output=True)


def start(place, *flags):
    """The server and its port; the port is None when it ended instead."""
    log = open(f"{place}/log", "w+")
    command = [PROGRAM, "serve", "--data", f"{place}/data", "--listen", "127.0.0.1:0", "--auth", "trust", *flags]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    for _ in range(6000):
        text = Path(log.name).read_text()
        port = re.search(r"127\.0\.0\.1:([1-9]\d*)", text)
        if port or server.poll() is not None:
            return server, int(port[1]) if port else None, text
        time.sleep(0.02)
    raise SystemExit(f"not listening: {text}")


def connect(port, **options):
    return psycopg.connect(host="127.0.0.1", port=port, user="admin", dbname="staffa", **options)


def injected(port):
    """Plain bytes behind an SSLRequest must not reach the session that TLS will protect (CVE-2021-23214)."""
    login = b"\0\x03\0\0user\0admin\0database\0staffa\0\0"
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(struct.pack("!II", 8, 80877103) + struct.pack("!I", len(login) + 4) + login)
        answer = s.recv(1000)
    assert answer[:1] == b"E" and b"08P01" in answer and b"unencrypted data" in answer, answer


def rest_catalog(place):
    """The REST catalog speaks HTTPS only, with the same certificate."""
    for _ in range(3000):
        if url := re.search(r"https://127\.0\.0\.1:\d+\n", Path(f"{place}/log").read_text()):
            break
        time.sleep(0.02)
    config = requests.get(f"{url[0].strip()}/v1/config", verify=f"{place}/own.pem", timeout=60)
    assert config.json()["overrides"] == {"prefix": "staffa"}, config.text
    try:
        requests.get(f"{url[0].strip()}/v1/config".replace("https", "http"), timeout=60)
        raise AssertionError("plain HTTP got in")
    except requests.ConnectionError:
        pass


def main():
    with tempfile.TemporaryDirectory() as place:
        for name in ("own", "other"):
            certificate(place, name)
        own = ["--tls-cert", f"{place}/own.pem", "--tls-key", f"{place}/own.key"]
        server, port, log = start(place, *own, "--tls-required")
        try:
            assert port, log
            with connect(port, sslmode="verify-full", sslrootcert=f"{place}/own.pem") as c:
                assert c.execute("select 1").fetchone() == (1,)
                assert c.pgconn.ssl_in_use
                ssl, version, cipher, bits = c.execute(
                    "select ssl, version, cipher, bits from pg_stat_ssl where pid = pg_backend_pid()").fetchone()
                assert (ssl, version) == (True, "TLSv1.3") and cipher.startswith("TLS_") and bits in (128, 256), cipher
            for options, word in (({"sslmode": "disable"}, "TLS"), ({"sslmode": "verify-full", "sslrootcert": f"{place}/other.pem"}, "certificate")):
                try:
                    connect(port, **options).close()
                    raise AssertionError(f"{options} got in")
                except psycopg.OperationalError as error:
                    assert word.lower() in str(error).lower() or "ssl" in str(error).lower(), error
        finally:
            server.terminate()
            server.wait(60)
        server, port, log = start(place, *own, "--rest", "127.0.0.1:0")
        try:
            injected(port)
            rest_catalog(place)
        finally:
            server.terminate()
            server.wait(60)
        Path(f"{place}/garbage.pem").write_text("-----BEGIN CERTIFICATE-----\nnope\n-----END CERTIFICATE-----\n")
        for cert, key in (("own", "other.key"), ("garbage", "own.key"), ("own", "own.pem"), ("missing", "own.key")):
            server, port, log = start(place, "--tls-cert", f"{place}/{cert}.pem", "--tls-key", f"{place}/{key}")
            if port:
                server.kill()
            assert port is None and server.wait(60) != 0, f"{cert} with {key} started: {log}"
            assert "panicked" not in log, log
            print(f"{cert}.pem with {key}: {log.strip().splitlines()[-1]}")
    print("ok")


if __name__ == "__main__":
    main()
