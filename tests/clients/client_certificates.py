"""Clients' certificates: whom rules of logins let in by them, on Staffa and on a PostgreSQL 15 with the same files beside it.

    python client_certificates.py PATH_OF_THE_SERVER_PROGRAM
"""
import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import oracle

PROGRAM = sys.argv[1]

RULES = """hostssl all ann,nobody,ANN,zoë,bob,eve 127.0.0.1/32 cert
hostssl all carl 127.0.0.1/32 scram-sha-256 clientcert=verify-ca
hostssl all dora 127.0.0.1/32 scram-sha-256 clientcert=verify-full
hostssl all emil all trust clientcert=verify-full clientname=CN
host all admin 127.0.0.1/32 scram-sha-256
"""

MISTAKES = """host all all 127.0.0.1/32 cert
hostnossl all all 127.0.0.1/32 cert
host all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca
hostssl all all 127.0.0.1/32 scram-sha-256 clientcert
hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=1
hostssl all all 127.0.0.1/32 scram-sha-256 clientname=x
hostssl all all 127.0.0.1/32 cert clientcert=verify-ca
hostssl all all 127.0.0.1/32 cert clientcert=verify-full
hostssl all all 127.0.0.1/32 reject
"""

ROLES = """create role ann login; create role "ANN" login; create role "zoë" login; create role bob login; create role eve nologin;
create role carl login password 'secret'; create role dora login password 'secret'; create role emil login"""


class Authority:
    """Signs certificates, by `openssl ca`."""

    def __init__(self, place, name):
        self.home = Path(place) / name
        self.home.mkdir()
        (self.home / "index").touch()
        # As long as serial numbers may be.
        (self.home / "serial").write_text("7fedcba98765432100112233445566778899aabb\n")
        (self.home / "crlnumber").write_text("01\n")
        (self.home / "config").write_text(
            f"[ca]\ndefault_ca=a\n[a]\ndir={self.home}\ndatabase=$dir/index\nserial=$dir/serial\ncrlnumber=$dir/crlnumber\nnew_certs_dir=$dir\n"
            "certificate=$dir/ca.pem\nprivate_key=$dir/ca.key\ndefault_md=sha256\npolicy=p\nunique_subject=no\ndefault_crl_days=2\nutf8=yes\n"
            "string_mask=utf8only\npreserve=yes\n[p]\ncommonName=optional\norganizationName=optional\ncountryName=optional\nemailAddress=optional\n"
            "[client]\nbasicConstraints=CA:false\nextendedKeyUsage=clientAuth\n[server]\nbasicConstraints=CA:false\nextendedKeyUsage=serverAuth\n"
            "subjectAltName=DNS:localhost,IP:127.0.0.1\n[authority]\nbasicConstraints=critical,CA:true\nkeyUsage=keyCertSign,cRLSign\n[req]\ndistinguished_name=d\n[d]\n")
        openssl("req", "-x509", *KEY, "-subj", f"/O=Staffa, \"Inc\"/CN={name}", "-days", "3", "-keyout", self.home / "ca.key", "-out", self.home / "ca.pem",
                "-addext", "keyUsage=keyCertSign,cRLSign", "-config", self.home / "config", "-addext", "basicConstraints=critical,CA:true")
        self.ca = self.home / "ca.pem"

    def sign(self, name, subject, kind="client", start=None, end=None):
        """Certificate and key."""
        key, request, pem = (self.home / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        openssl("req", "-new", *KEY, "-utf8", "-subj", subject, "-multivalue-rdn", "-keyout", key, "-out", request)
        day = lambda offset: time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + 86400 * offset))
        openssl("ca", "-batch", "-notext", "-config", self.home / "config", "-extensions", kind, "-startdate", day(start or -1), "-enddate", day(end or 2),
                "-in", request, "-out", pem)
        key.chmod(0o600)
        return pem, key

    def intermediate(self, place, name):
        below = Authority(place, name)
        below.ca, key = self.sign(name, f"/CN={name}", "authority")
        shutil.copy(below.ca, below.home / "ca.pem")
        shutil.copy(key, below.home / "ca.key")
        return below

    def revoke(self, pem):
        openssl("ca", "-config", self.home / "config", "-revoke", pem)

    def revoked(self):
        openssl("ca", "-config", self.home / "config", "-gencrl", "-out", self.home / "crl")
        return (self.home / "crl").read_text()


KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def keep(path, text):
    """Writes a file that both servers read, whose time of change differs from before."""
    path.write_text(text)
    path.chmod(0o644)


@contextlib.contextmanager
def postgres(place, files):
    home = Path(tempfile.mkdtemp(prefix="staffa-certificates-"))
    run = lambda *words: subprocess.run([*oracle.as_user(), *map(str, words)], check=True, cwd=home, stdout=subprocess.DEVNULL)
    key = home / "server.key"
    shutil.copy(files["key"], key)
    if os.getuid() == 0:
        owner = pwd.getpwnam("postgres")
        for path in (home, key):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    key.chmod(0o600)
    data, port = home / "data", oracle.free_port()
    (home / "password").write_text("correct horse")
    (home / "password").chmod(0o644)
    run(f"{oracle.binaries()}/initdb", "-D", data, "-A", "trust", "-U", "admin", "--pwfile", home / "password", "-E", "UTF8", "--locale=C.UTF-8")
    with open(data / "postgresql.conf", "a") as conf:
        conf.write(f"port={port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories='{home}'\nfsync=off\nssl=on\nssl_cert_file='{files['cert']}'\n"
                   f"ssl_key_file='{key}'\nssl_ca_file='{files['ca']}'\nssl_crl_file='{files['crl']}'\nhba_file='{files['hba']}'\n")
    run(f"{oracle.binaries()}/pg_ctl", "-D", data, "-l", home / "log", "-w", "start")
    try:
        yield port, lambda: run(f"{oracle.binaries()}/pg_ctl", "-D", data, "reload")
    except BaseException:
        print((home / "log").read_text()[-3000:])
        raise
    finally:
        run(f"{oracle.binaries()}/pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(home, ignore_errors=True)


def start(place, *flags):
    """The process and what it wrote, as soon as it listens or has ended."""
    log = open(f"{place}/log", "w+")
    command = [PROGRAM, "serve", "--data", f"{place}/data", "--listen", "127.0.0.1:0", *flags]
    environment = os.environ | {"STAFFA_ADMIN_PASSWORD": "correct horse"}
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    for _ in range(6000):
        text = Path(log.name).read_text()
        if "psql " in text or server.poll() is not None:
            return server, text
        time.sleep(0.02)
    raise SystemExit(f"not listening: {text}")


@contextlib.contextmanager
def staffa(place, files):
    server, log = start(place, *flags_of(files), "--hba-file", f"{files['hba']}", "--rest", "127.0.0.1:0")
    try:
        port = re.search(r"127\.0\.0\.1 port=(\d+)", log)
        assert port, log
        yield int(port[1]), lambda: server.send_signal(signal.SIGHUP), re.search(r"https://127\.0\.0\.1:\d+\n", log)[0].strip()
    except BaseException:
        print(Path(f"{place}/log").read_text()[-3000:])
        raise
    finally:
        server.terminate()
        server.wait(60)


def flags_of(files):
    return ["--tls-cert", f"{files['cert']}", "--tls-key", f"{files['key']}", "--tls-client-ca", f"{files['ca']}", "--tls-client-crl", f"{files['crl']}"]


def connect(port, user, shown=None, database="db", **more):
    certificate = {"sslcert": str(shown[0]), "sslkey": str(shown[1])} if shown else {"sslcert": "/nonexistent", "sslkey": "/nonexistent"}
    options = {"host": "127.0.0.1", "port": port, "user": user, "dbname": database, "sslmode": "require", **certificate, **more}
    return psycopg.connect(**options)


def attempt(port, user, shown=None, **more):
    """Whom the server takes it for and what it knows of the certificate, or why it does not come in."""
    try:
        with connect(port, user, shown, **more) as c:
            return c.execute("select current_user, ssl, client_dn, client_serial::text, issuer_dn from pg_stat_ssl where pid = pg_backend_pid()").fetchone()
    except psycopg.OperationalError as error:
        text = str(error).strip()
        for part in (r"FATAL:.*", r"SSL error:.*", r"server closed.*"):
            if found := re.search(part, text):
                return found[0]
        return text


def code(port, user, shown=None):
    """SQLSTATE of a login that is refused."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if shown:
        context.load_cert_chain(*map(str, shown))
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(struct.pack("!II", 8, 80877103))
        assert plain.recv(1) == b"S"
        with context.wrap_socket(plain) as s:
            login = b"\0\x03\0\0user\0" + user.encode() + b"\0database\0db\0\0"
            s.sendall(struct.pack("!I", len(login) + 4) + login)
            answer = s.recv(4000)
    return re.search(rb"\0C(.{5})\0", answer)[1].decode() if answer[:1] == b"E" else answer[:1]


def rest_catalog(url, port, files, certificates):
    """A rule that wants a certificate wants it of the REST catalog's clients, too."""
    login = lambda shown: requests.post(f"{url}/v1/oauth/tokens", verify=str(files["root"]), timeout=60, cert=shown and tuple(map(str, shown)), data={
        "grant_type": "client_credentials", "client_id": "root", "client_secret": "secret"})
    refused = login(None)
    assert (refused.status_code, refused.json()["error_description"]) == (401, "connection requires a valid client certificate"), refused.text
    headers = {"Authorization": f"Bearer {login(certificates['root']).json()['access_token']}"}
    get = lambda shown: requests.get(f"{url}/v1/config", headers=headers, verify=str(files["root"]), timeout=60, cert=shown and tuple(map(str, shown)))
    for shown, wanted in ((None, "connection requires a valid client certificate"), (certificates["ann"], 'certificate authentication failed for user "root"')):
        answer = get(shown)
        assert (answer.status_code, answer.json()["error"]["message"]) == (403, wanted), answer.text
    assert get(certificates["root"]).status_code == 200
    try:
        get(certificates["other"])
        raise AssertionError("another authority's certificate got in")
    except (requests.ConnectionError, requests.exceptions.SSLError):
        pass


def refusals(place, files):
    """What keeps the server from starting."""
    bad, hba = place / "bad.pem", place / "own.hba"
    keep(bad, "nothing")
    keep(hba, RULES)
    cert = ["--tls-cert", f"{files['cert']}", "--tls-key", f"{files['key']}"]
    for flags, wanted in (
        ([*cert, "--tls-client-ca", f"{bad}"], "bad.pem"), ([*cert, "--tls-client-ca", "/nonexistent"], "/nonexistent"),
        (["--tls-client-ca", f"{files['ca']}"], "tls_cert is not"), ([*cert, "--tls-client-crl", f"{files['crl']}"], "tls_client_ca is not"),
        ([*cert, "--tls-client-ca", f"{files['ca']}", "--tls-client-crl", f"{bad}"], "revocation list"),
        ([*cert, "--hba-file", f"{hba}"], "client certificates can only be checked if a root certificate store is available"),
    ):
        home = Path(tempfile.mkdtemp(dir=place))
        server, log = start(home, *flags)
        if server.poll() is None:
            server.kill()
        assert server.wait(60) != 0 and wanted in log and "panicked" not in log, (flags, log)


def main():
    place = Path(tempfile.mkdtemp(prefix="staffa-certificates-"))
    place.chmod(0o755)
    try:
        check(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print("ok")


def check(place):
    own, other = Authority(place, "own"), Authority(place, "other")
    below = own.intermediate(place, "below")
    server = own.sign("server", "/CN=localhost", "server")
    certificates = {
        "ann": own.sign("ann", "/C=DE/O=B\u00fcro, \"x\"\\+y#/emailAddress=a@b.example/CN=ann"),
        "zoë": own.sign("zoe", "/CN=zoë"),
        "bob": own.sign("bob", "/CN=bob"),
        "carl": own.sign("carl", "/CN=carl"),
        "dora": own.sign("dora", "/CN=dora"),
        "emil": own.sign("emil", "/CN=emil"),
        "eve": own.sign("eve", "/CN=eve"),
        "nobody": own.sign("nobody", "/CN=nobody"),
        "root": own.sign("root", "/CN=root"),
        "two": own.sign("two", "/CN=ann/CN=bob"),
        "nameless": own.sign("nameless", "/O=Staffa"),
        "expired": own.sign("expired", "/CN=ann", start=-3, end=-1),
        "early": own.sign("early", "/CN=ann", start=1),
        "server": own.sign("wrong", "/CN=ann", "server"),
        "other": other.sign("ann", "/CN=ann"),
        "revoked": own.sign("revoked", "/CN=ann"),
        "below": below.sign("ann", "/CN=ann"),
    }
    alone = certificates["below"]
    with_chain = place / "chain.pem"
    keep(with_chain, alone[0].read_text() + below.ca.read_text())
    certificates["chain"] = (with_chain, alone[1])
    files = {"cert": server[0], "key": server[1], "root": own.ca, "ca": place / "ca.pem", "crl": place / "crl.pem", "hba": place / "hba.conf"}
    keep(files["ca"], own.ca.read_text())
    keep(files["crl"], own.revoked() + below.revoked() + other.revoked())
    keep(files["hba"], RULES)
    for path in (own.home, below.home, other.home):
        path.chmod(0o755)
    refusals(place, files)
    with postgres(place, files) as (theirs, reload_theirs), staffa(place, files) as (ours, reload_ours, url):
        ports = (ours, theirs)
        admin = lambda port, database="db": connect(port, "admin", password="correct horse", database=database, autocommit=True)
        for port, first in ((ours, "staffa"), (theirs, "postgres")):
            with admin(port, first) as c:
                c.execute("create database db")
            with admin(port) as c:
                c.execute(ROLES)

        def alike(user, shown=None, **more):
            our, their = (attempt(port, user, shown and certificates[shown], **more) for port in ports)
            print(f"{user}, certificate {shown}, {more}: {our}")
            # The two libraries for TLS have alerts of their own for some certificates.
            assert our == their or all(str(told).startswith("SSL error: ") for told in (our, their)), f"PostgreSQL: {their}"
            return our

        # The right one, by what it says of itself.
        for user, shown in (("ann", "ann"), ("zoë", "zoë"), ("ann", "two"), ("ann", "chain"), ("emil", "emil")):
            assert alike(user, shown)[:2] == (user, True)
        # None, and names of others.
        assert alike("ann") == "FATAL:  connection requires a valid client certificate"
        for user, shown in (("ann", "bob"), ("ANN", "ann"), ("bob", "two"), ("ann", "nameless")):
            assert alike(user, shown) == f'FATAL:  certificate authentication failed for user "{user}"'
        alike("nobody", "nobody"), alike("eve", "eve"), alike("emil"), alike("emil", "ann"), alike("ann", "ann", sslmode="disable")
        # With a password.
        for user in ("carl", "dora"):
            for shown in (None, "ann", user):
                for password in ("secret", "wrong"):
                    alike(user, shown, password=password)
        assert attempt(ours, "carl", certificates["ann"], password="secret")[0] == "carl"
        # Certificates that do not verify end the handshake, also where no rule wants one.
        for shown in ("expired", "early", "server", "other", "below"):
            assert alike("ann", shown).startswith("SSL error: "), shown
            assert alike("admin", shown, password="correct horse").startswith("SSL error: "), shown
        for user, shown in (("ann", None), ("ann", "bob"), ("emil", "ann")):
            our, their = (code(port, user, shown and certificates[shown]) for port in ports)
            assert our == their == "28000", (user, our, their)
        # Files that change: another authority comes, a certificate is revoked.
        assert alike("ann", "revoked")[0] == "ann"
        own.revoke(certificates["revoked"][0])
        keep(files["ca"], own.ca.read_text() + other.ca.read_text())
        keep(files["crl"], own.revoked() + below.revoked() + other.revoked())
        reload_ours(), reload_theirs()
        for _ in range(300):
            if all(attempt(port, "ann", certificates["other"])[0] == "ann" for port in ports):
                break
            time.sleep(0.1)
        assert alike("ann", "other")[0] == "ann" and alike("ann", "ann")[0] == "ann"
        assert alike("ann", "revoked").startswith("SSL error: ")
        # A bad file changes nothing.
        keep(files["ca"], "nothing")
        reload_ours()
        time.sleep(1)
        assert attempt(ours, "ann", certificates["ann"])[0] == "ann"
        keep(files["ca"], own.ca.read_text())
        reload_ours()
        for _ in range(300):
            if attempt(ours, "ann", certificates["other"])[0] != "ann":
                break
            time.sleep(0.1)
        assert attempt(ours, "ann", certificates["other"]).startswith("SSL error: ")
        # Rules as both show them, and their mistakes.
        shown = "select line_number, type, database, user_name, address, netmask, auth_method, options, error from pg_hba_file_rules order by line_number"
        with admin(ours) as our, admin(theirs) as their:
            for rules in (RULES, MISTAKES):
                keep(files["hba"], rules)
                rows = [c.execute(shown).fetchall() for c in (our, their)]
                for mine, wanted in zip(*rows, strict=True):
                    # PostgreSQL 15 logs what is wrong with a value and leaves it out here.
                    assert mine == wanted or mine[8] and set(wanted[1:]) == {None}, f"{mine}\nPostgreSQL: {wanted}"
            keep(files["hba"], RULES + "hostssl all root 127.0.0.1/32 cert\n")
            our.execute("create role root superuser login password 'secret'")
            rest_catalog(url, ours, files, certificates)


if __name__ == "__main__":
    main()
