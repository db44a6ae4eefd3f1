"""The REST catalog's answers, request by request: logins, pages, requirements that fail, and what hostile clients send.

    python rest_protocol.py --rest http://HOST:PORT --url postgresql://admin:P@HOST:PORT/staffa --password P --data DIRECTORY
"""
import argparse
import base64
import gzip
import http.client
import json
import sys
import time
import urllib.parse
import uuid
from pathlib import Path

import psycopg
import requests

from engines import Checks

FIELD = {"id": 1, "name": "id", "type": "long", "required": False}


def schema(*fields):
    return {"type": "struct", "schema-id": 0, "fields": list(fields) or [FIELD]}


class Client:
    def __init__(self, a):
        self.rest, self.password, self.data = a.rest, a.password, Path(a.data)
        self.session = requests.Session()
        self.checks = Checks()

    def login(self, **form):
        return requests.post(f"{self.rest}/v1/oauth/tokens", data=form)

    def call(self, method, path, body=None, **more):
        return self.session.request(method, f"{self.rest}/v1/{path}", json=body, **more)

    def expect(self, what, status, kind, method, path, body=None, **more):
        """The answer's status and, for errors, its type; gives the answer."""
        answer = self.call(method, path, body, **more)
        got = (answer.status_code, None)
        if answer.status_code >= 400 and method != "HEAD":
            error = answer.json()["error"]
            self.checks.same(f"{what}: the code in the body", answer.status_code, error["code"])
            got = (answer.status_code, error["type"])
        if (status, kind) != got:
            print(answer.text[:400])
        self.checks.same(what, (status, kind if method != "HEAD" else None), got)
        return answer

    def raw(self, method, path, body=None, headers=None):
        """Without any client that tidies the path up."""
        place = urllib.parse.urlsplit(self.rest)
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
        connection.request(method, path, body=body, headers={**(headers or {}), "Authorization": self.session.headers["Authorization"]})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text


def logins(c):
    answer = requests.get(f"{c.rest}/v1/config")
    c.checks.same("without a token", (401, "NotAuthorizedException", "Bearer"),
                  (answer.status_code, answer.json()["error"]["type"], answer.headers.get("WWW-Authenticate")))
    for what, form, wanted in [
        ("a wrong password", {"grant_type": "client_credentials", "client_id": "admin", "client_secret": "no"}, (401, "invalid_client")),
        ("no such role", {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": c.password}, (401, "invalid_client")),
        ("no secret", {"grant_type": "client_credentials", "client_id": "admin"}, (400, "invalid_request")),
        ("another grant", {"grant_type": "password"}, (400, "unsupported_grant_type")),
        ("a made-up token", {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "x"}, (400, "invalid_grant")),
    ]:
        answer = c.login(**form)
        c.checks.same(what, wanted, (answer.status_code, answer.json()["error"]))
    basic = requests.post(f"{c.rest}/v1/oauth/tokens", data={"grant_type": "client_credentials"}, auth=("admin", c.password))
    c.checks.same("credentials in the header", 200, basic.status_code)
    quoted = requests.post(f"{c.rest}/v1/oauth/tokens", data={"grant_type": "client_credentials"}, auth=("admin", urllib.parse.quote_plus(c.password)))
    c.checks.same("written as in a form", 200, quoted.status_code)
    # Java's library has its token exchanged also when that has ended, with the credentials beside it.
    exchange = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "x"}
    for secret, wanted in ((c.password, 200), ("no", 401)):
        answer = requests.post(f"{c.rest}/v1/oauth/tokens", data=exchange, auth=("admin", secret))
        c.checks.same("an ended token with credentials", wanted, answer.status_code)
    c.checks.same("a form of many keys", 413, c.login(grant_type="client_credentials", **{f"k{i}": "" for i in range(20_000)}).status_code)
    answer = c.login(grant_type="client_credentials", client_id="admin", client_secret=c.password, scope="catalog")
    c.checks.same("a login", (200, "bearer", 3600), (answer.status_code, answer.json()["token_type"], answer.json()["expires_in"]))
    token = answer.json()["access_token"]
    answer = c.login(grant_type="urn:ietf:params:oauth:grant-type:token-exchange", subject_token=token)
    c.checks.same("a token for a token", (200, True), (answer.status_code, answer.json()["access_token"] != token))
    for header in ("Bearer x", "Basic " + base64.b64encode(b"admin:" + c.password.encode()).decode(), "x"):
        c.checks.same(f"authorization {header[:8]}", 401, requests.get(f"{c.rest}/v1/config", headers={"Authorization": header}).status_code)
    c.session.headers["Authorization"] = f"Bearer {token}"
    config = c.expect("config", 200, None, "GET", "config").json()
    c.checks.same("the prefix", "staffa", config["overrides"]["prefix"])
    c.checks.same("endpoints", True, "POST /v1/{prefix}/transactions/commit" in config["endpoints"])
    c.expect("another warehouse", 404, "NoSuchWarehouseException", "GET", "config?warehouse=nope")
    c.expect("another prefix", 404, "NoSuchWarehouseException", "GET", "nope/namespaces")
    c.expect("no such route", 404, "NotFoundException", "GET", "staffa/nothing")
    c.expect("no such method", 405, "UnsupportedOperationException", "PATCH", "staffa/namespaces")


def roles(c, server):
    """Tokens are for those who may use them."""
    secret = "a password of many"
    server.execute(f"create role plain login password '{secret}'; create role shut superuser password '{secret}'; create role boss superuser login password '{secret}'")
    form = {"grant_type": "client_credentials", "client_secret": secret}
    for role, why in (("plain", "The REST catalog is for superusers only"), ("shut", 'role "shut" is not permitted to log in')):
        answer = c.login(**form, client_id=role)
        c.checks.same(f"a token for {role}", (401, "invalid_client", why),
                      (answer.status_code, answer.json().get("error"), answer.json().get("error_description")))
        answer = c.login(**{**form, "client_secret": "no"}, client_id=role)
        c.checks.same(f"a wrong password of {role}", (401, "no such role, or another password"), (answer.status_code, answer.json()["error_description"]))
    c.checks.same("a very long name", 401, c.login(**form, client_id="n" * 60_000).status_code)
    longest = server.execute("""select max(length("user")) from staffa.audit""").fetchone()
    c.checks.same("what is written of it", (63,), longest)
    token = c.login(**form, client_id="boss").json()["access_token"]
    use = lambda: requests.get(f"{c.rest}/v1/config", headers={"Authorization": f"Bearer {token}"})
    c.checks.same("its use", 200, use().status_code)
    exchange = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": token}
    for change, why in (("nologin", 'role "boss" is not permitted to log in'), ("login nosuperuser", "The REST catalog is for superusers only")):
        server.execute(f"alter role boss {change}")
        answer = use()
        c.checks.same(f"a token of before, {change}", (403, why), (answer.status_code, answer.json()["error"]["message"]))
        answer = c.login(**exchange)
        c.checks.same(f"another for it, {change}", (400, "invalid_grant", why), (answer.status_code, answer.json().get("error"), answer.json().get("error_description")))
    server.execute("alter role boss login superuser")
    c.checks.same("once more", 200, use().status_code)
    server.execute("drop role plain, shut, boss")


def namespaces(c):
    for name in ("n1", "n2", "n.3"):
        c.expect(f"create {name}", 200, None, "POST", "staffa/namespaces", {"namespace": [name], "properties": {"k": "v"}})
    c.expect("create again", 409, "AlreadyExistsException", "POST", "staffa/namespaces", {"namespace": ["n1"]})
    c.expect("nested", 406, "UnsupportedOperationException", "POST", "staffa/namespaces", {"namespace": ["a", "b"]})
    c.expect("empty", 400, "BadRequestException", "POST", "staffa/namespaces", {"namespace": [""]})
    for name in ("pg_catalog", "pg_x", "pg_temp_1_1", "information_schema"):
        c.expect(f"create {name}", 400, "BadRequestException", "POST", "staffa/namespaces", {"namespace": [name]})
    c.expect("no list", 400, "BadRequestException", "POST", "staffa/namespaces", {"namespace": "a"})
    c.expect("with a place", 400, "BadRequestException", "POST", "staffa/namespaces", {"namespace": ["n4"], "properties": {"location": "file:///x"}})
    listed = c.expect("list", 200, None, "GET", "staffa/namespaces").json()
    c.checks.same("all of them", [["n.3"], ["n1"], ["n2"], ["public"]], listed["namespaces"])
    seen, token = [], ""
    while token is not None:
        page = c.call("GET", "staffa/namespaces", params={"pageToken": token, "pageSize": "3"}).json()
        c.checks.same("a page is not too long", True, len(page["namespaces"]) <= 3)
        seen, token = seen + page["namespaces"], page.get("next-page-token")
    c.checks.same("page by page", listed["namespaces"], seen)
    c.expect("a bad page", 400, "BadRequestException", "GET", "staffa/namespaces?pageToken=%25&pageSize=3")
    c.expect("a bad size", 400, "BadRequestException", "GET", "staffa/namespaces?pageSize=-1")
    c.checks.same("below one", [], c.expect("parent", 200, None, "GET", "staffa/namespaces?parent=n1").json()["namespaces"])
    c.expect("below none", 404, "NoSuchNamespaceException", "GET", "staffa/namespaces?parent=nope")
    c.expect("there", 204, None, "HEAD", "staffa/namespaces/n.3")
    c.expect("not there", 404, None, "HEAD", "staffa/namespaces/nope")
    c.expect("two levels", 404, "NoSuchNamespaceException", "GET", "staffa/namespaces/n1%1Fn2")
    change = {"removals": ["k", "none"], "updates": {"a": "b"}}
    changed = c.expect("properties", 200, None, "POST", "staffa/namespaces/n1/properties", change).json()
    c.checks.same("what changed", {"updated": ["a"], "removed": ["k"], "missing": ["none"]}, changed)
    c.checks.same("properties", {"a": "b"}, c.call("GET", "staffa/namespaces/n1").json()["properties"])
    both = {"removals": ["a"], "updates": {"a": "c"}}
    c.expect("set and removed", 422, "UnprocessableEntityException", "POST", "staffa/namespaces/n1/properties", both)
    c.expect("too long", 400, "BadRequestException", "POST", "staffa/namespaces/n1/properties", {"updates": {"a": "x" * 1001}})
    c.expect("drop", 204, None, "DELETE", "staffa/namespaces/n.3")
    c.expect("drop again", 404, "NoSuchNamespaceException", "DELETE", "staffa/namespaces/n.3")


def tables(c):
    here = "staffa/namespaces/n1/tables"
    for name in ("t", "u", "w/ö"):
        c.expect(f"create {name}", 200, None, "POST", here, {"name": name, "schema": schema()})
    c.expect("create again", 409, "AlreadyExistsException", "POST", here, {"name": "t", "schema": schema()})
    c.expect("no namespace", 404, "NoSuchNamespaceException", "POST", "staffa/namespaces/nope/tables", {"name": "t", "schema": schema()})
    for what, body, status, kind in [
        ("no schema", {"name": "x"}, 400, "BadRequestException"),
        ("an unknown type", {"name": "x", "schema": schema({**FIELD, "type": "money"})}, 400, "BadRequestException"),
        ("a map", {"name": "x", "schema": schema({**FIELD, "type": {"type": "map", "key-id": 2, "key": "string", "value-id": 3, "value": "long", "value-required": False}})}, 406, "UnsupportedOperationException"),
        ("one name twice", {"name": "x", "schema": schema(FIELD, {**FIELD, "id": 2})}, 400, "BadRequestException"),
        ("no name", {"name": "", "schema": schema()}, 400, "BadRequestException"),
        ("a column without a name", {"name": "x", "schema": schema({**FIELD, "name": ""})}, 400, "BadRequestException"),
        ("a null in a column's name", {"name": "x", "schema": schema({**FIELD, "name": "a\0b"})}, 400, "BadRequestException"),
        ("too many columns", {"name": "x", "schema": schema(*({**FIELD, "id": i, "name": f"c{i}"} for i in range(1, 1602)))}, 400, "BadRequestException"),
        ("a default for writers", {"name": "x", "schema": schema({**FIELD, "write-default": 1}), "properties": {"format-version": "3"}}, 406, "UnsupportedOperationException"),
        ("an old version", {"name": "x", "schema": schema(), "properties": {"format-version": "1"}}, 406, "UnsupportedOperationException"),
        ("a property of the server's", {"name": "x", "schema": schema(), "properties": {"staffa.constraints": "[]"}}, 400, "BadRequestException"),
        ("a place that is none", {"name": "x", "schema": schema(), "location": "../../etc"}, 400, "BadRequestException"),
        ("a place with steps up", {"name": "x", "schema": schema(), "location": "file:///tmp/../etc/x"}, 400, "BadRequestException"),
        ("a place that is not allowed", {"name": "x", "schema": schema(), "location": "file:///tmp/staffa-not-allowed/x"}, 403, "ForbiddenException"),
    ]:
        c.expect(what, status, kind, "POST", here, body)
    loaded = c.expect("load", 200, None, "GET", f"{here}/t")
    metadata = loaded.json()["metadata"]
    c.expect("a taken place", 400, "BadRequestException", "POST", here, {"name": "x", "schema": schema(), "location": metadata["location"] + "/in"})
    tag = loaded.headers["ETag"]
    c.checks.same("not modified", (304, b""), (lambda r: (r.status_code, r.content))(c.call("GET", f"{here}/t", headers={"If-None-Match": tag})))
    c.expect("modified", 200, None, "GET", f"{here}/t", headers={"If-None-Match": '"x"'})
    short = c.expect("refs only", 200, None, "GET", f"{here}/t?snapshots=refs")
    c.checks.same("another tag", True, short.headers["ETag"] != tag)
    c.expect("other snapshots", 400, "BadRequestException", "GET", f"{here}/t?snapshots=some")
    c.expect("there", 204, None, "HEAD", f"{here}/t")
    c.expect("not there", 404, None, "HEAD", f"{here}/nope")
    c.expect("not there", 404, "NoSuchTableException", "GET", f"{here}/nope")
    c.expect("an odd name", 200, None, "GET", f"{here}/{urllib.parse.quote('w/ö', safe='')}")
    page = c.call("GET", here, params={"pageToken": "", "pageSize": "2"}).json()
    c.checks.same("a page", ["t", "u"], [i["name"] for i in page["identifiers"]])
    page = c.call("GET", here, params={"pageToken": page["next-page-token"], "pageSize": "2"}).json()
    c.checks.same("the next", (["w/ö"], None), ([i["name"] for i in page["identifiers"]], page.get("next-page-token")))
    c.expect("metrics", 204, None, "POST", f"{here}/t/metrics", {"report-type": "scan-report"})
    c.expect("drop what is not empty", 409, "NamespaceNotEmptyException", "DELETE", "staffa/namespaces/n1")
    move = lambda a, b, n="n1": {"source": {"namespace": ["n1"], "name": a}, "destination": {"namespace": [n], "name": b}}
    c.expect("rename over another", 409, "AlreadyExistsException", "POST", "staffa/tables/rename", move("t", "u"))
    c.expect("rename to nowhere", 404, "NoSuchNamespaceException", "POST", "staffa/tables/rename", move("t", "u", "nope"))
    c.expect("rename nothing", 404, "NoSuchTableException", "POST", "staffa/tables/rename", move("nope", "x"))
    c.expect("rename", 204, None, "POST", "staffa/tables/rename", move("u", "moved", "n2"))
    staged = c.expect("stage", 200, None, "POST", here, {"name": "staged", "schema": schema(), "stage-create": True}).json()
    c.checks.same("nothing is made", False, "metadata-location" in staged)
    c.expect("nothing is there", 404, "NoSuchTableException", "GET", f"{here}/staged")
    location = c.call("GET", f"{here}/{urllib.parse.quote('w/ö', safe='')}").json()["metadata-location"]
    register = "staffa/namespaces/n1/register"
    c.expect("register what is there", 400, "BadRequestException", "POST", register, {"name": "again", "metadata-location": location})
    c.expect("register over", 406, "UnsupportedOperationException", "POST", register, {"name": "t", "metadata-location": location, "overwrite": True})
    for outside in ("file:///etc/passwd", "file:///nope/metadata/x.metadata.json", location + "x", "x", "", "http://127.0.0.1:1/x"):
        answer = c.call("POST", register, {"name": "again", "metadata-location": outside})
        c.checks.same(f"register {outside!r}", True, 400 <= answer.status_code < 500)
    places(c, here, register, metadata["location"])
    c.expect("purge", 204, None, "DELETE", f"{here}/{urllib.parse.quote('w/ö', safe='')}?purgeRequested=true")
    c.expect("purge again", 404, "NoSuchTableException", "DELETE", f"{here}/{urllib.parse.quote('w/ö', safe='')}?purgeRequested=true")


def places(c, here, register, location):
    """Nothing of the data directory but the warehouse is a place of tables."""
    warehouse = c.data / "warehouse"
    assert location.startswith(f"file://{warehouse}/"), location
    (warehouse / "link").symlink_to(c.data / "audit")
    before = sorted(str(path) for path in c.data.rglob("*") if warehouse not in path.parents)
    for where in ("audit", "audit/x", "spill/x", "catalog.db/x", "catalog.db", "elsewhere", "warehouse/link", "warehouse/link/x"):
        for more in ({}, {"stage-create": True}):
            c.expect(f"a table in {where}", 403, "ForbiddenException", "POST", here, {"name": "x", "schema": schema(), "location": f"file://{c.data}/{where}", **more})
    for where in ("%2e%2e/out", "%2E./out", "a%2fb", "a%2Fb", "a%5cb", "../out", ".", "x/../../audit"):
        c.expect(f"a table in {where}", 400, "BadRequestException", "POST", here, {"name": "x", "schema": schema(), "location": f"file://{warehouse}/{where}"})
    (c.data / "x.metadata.json").write_text("{}")
    for where in ("catalog.db", "catalog.db-wal", "audit/audit.jsonl", "x.metadata.json", "warehouse/link/audit.jsonl", "warehouse/../catalog.db"):
        answer = c.expect(f"register {where}", 400, "BadRequestException", "POST", register, {"name": "x", "metadata-location": f"file://{c.data}/{where}"})
        told = answer.json()["error"]["message"]
        c.checks.same(f"why not {where}: {told}", True, "outside the allowed" in told or '".."' in told)
    (c.data / "x.metadata.json").unlink()
    (warehouse / "link").unlink()
    c.checks.same("the data directory", before, sorted(str(path) for path in c.data.rglob("*") if warehouse not in path.parents))


def snapshot(metadata, **more):
    parent = metadata.get("current-snapshot-id")
    base = {"snapshot-id": uuid.uuid4().int >> 66, "sequence-number": metadata["last-sequence-number"] + 1,
            "timestamp-ms": int(time.time() * 1000), "manifest-list": metadata["location"] + "/metadata/snap-1.avro",
            "summary": {"operation": "append"}, "schema-id": metadata["current-schema-id"]}
    if parent not in (None, -1):
        base["parent-snapshot-id"] = parent
    return {**base, **more}


def commits(c, server):
    path = "staffa/namespaces/n1/tables/t"
    server.execute("insert into n1.t values (1)")
    server.execute("insert into n1.t values (2)")
    metadata = c.call("GET", path).json()["metadata"]
    current = metadata["current-snapshot-id"]
    commit = lambda updates, requirements=(): {"requirements": list(requirements), "updates": updates}
    main = lambda id: {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id}
    for requirement in [
        {"type": "assert-create"}, {"type": "assert-table-uuid", "uuid": str(uuid.uuid4())},
        {"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 1},
        {"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": None},
        {"type": "assert-last-assigned-field-id", "last-assigned-field-id": 7},
        {"type": "assert-current-schema-id", "current-schema-id": 7},
        {"type": "assert-last-assigned-partition-id", "last-assigned-partition-id": 7},
        {"type": "assert-default-spec-id", "default-spec-id": 7},
        {"type": "assert-default-sort-order-id", "default-sort-order-id": 7},
    ]:
        c.expect(f"required: {requirement}", 409, "CommitFailedException", "POST", path, commit([{"action": "set-properties", "updates": {"x": "y"}}], [requirement]))
    stale = snapshot(metadata, **{"sequence-number": metadata["last-sequence-number"]})
    orphan = snapshot(metadata)
    orphan.pop("parent-snapshot-id")
    for what, updates, status, kind in [
        ("an unknown update", [{"action": "fly"}], 400, "BadRequestException"),
        ("an unknown requirement", None, 400, "BadRequestException"),
        ("another uuid", [{"action": "assign-uuid", "uuid": str(uuid.uuid4())}], 400, "BadRequestException"),
        ("another place", [{"action": "set-location", "location": "file:///tmp/x"}], 406, "UnsupportedOperationException"),
        ("encryption", [{"action": "remove-encryption-key", "key-id": "x"}], 406, "UnsupportedOperationException"),
        ("an older version", [{"action": "upgrade-format-version", "format-version": 1}], 400, "BadRequestException"),
        ("the server's property", [{"action": "set-properties", "updates": {"staffa.constraints": "[]"}}], 400, "BadRequestException"),
        ("the server's property away", [{"action": "remove-properties", "removals": ["staffa.constraints"]}], 400, "BadRequestException"),
        ("an old sequence number", [{"action": "add-snapshot", "snapshot": stale}], 409, "CommitFailedException"),
        ("a snapshot beside the branch", [{"action": "add-snapshot", "snapshot": orphan}, main(orphan["snapshot-id"])], 409, "CommitFailedException"),
        ("a list that is not there", [{"action": "add-snapshot", "snapshot": snapshot(metadata)}], 400, "BadRequestException"),
        ("a list elsewhere", [{"action": "add-snapshot", "snapshot": snapshot(metadata, **{"manifest-list": "file:///etc/passwd"})}], 400, "BadRequestException"),
        ("a list a step up", [{"action": "add-snapshot", "snapshot": snapshot(metadata, **{"manifest-list": metadata["location"] + "/metadata/../../x"})}], 400, "BadRequestException"),
        ("no Avro", [{"action": "add-snapshot", "snapshot": snapshot(metadata, **{"manifest-list": c.call("GET", path).json()["metadata-location"]})}], 400, "BadRequestException"),
        ("a snapshot that is there", [{"action": "add-snapshot", "snapshot": {**snapshot(metadata), "snapshot-id": current}}], 400, "BadRequestException"),
        ("a branch to nowhere", [main(12345)], 400, "BadRequestException"),
        ("main as a tag", [{**main(current), "type": "tag"}], 400, "BadRequestException"),
        ("a snapshot of tomorrow", [{"action": "add-snapshot", "snapshot": snapshot(metadata, **{"timestamp-ms": int(time.time() * 1000) + 86_400_000})}], 400, "BadRequestException"),
        ("a number that is not the next", [{"action": "add-snapshot", "snapshot": snapshot(metadata, **{"sequence-number": 1000})}], 400, "BadRequestException"),
        ("the current snapshot away", [{"action": "remove-snapshots", "snapshot-ids": [current]}], 400, "BadRequestException"),
        ("statistics elsewhere", [{"action": "set-statistics", "snapshot-id": current, "statistics": {"snapshot-id": current, "statistics-path": "file:///etc/passwd", "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1, "blob-metadata": []}}], 400, "BadRequestException"),
        ("a narrower column", [{"action": "add-schema", "schema": schema({**FIELD, "type": "int"})}, {"action": "set-current-schema", "schema-id": -1}], 400, "BadRequestException"),
        ("a required column", [{"action": "add-schema", "schema": schema({**FIELD, "required": True})}, {"action": "set-current-schema", "schema-id": -1}], 400, "BadRequestException"),
        ("a list instead of a spec", [{"action": "add-spec", "spec": [0, []]}], None, None),
    ]:
        body = commit(updates) if updates else commit([], [{"type": "assert-luck"}])
        if status is None:
            c.checks.same(what, True, c.call("POST", path, body).status_code < 500)
        else:
            c.expect(what, status, kind, "POST", path, body)
    c.expect("no such table", 404, "NoSuchTableException", "POST", path + "x", commit([]))
    new = [{"action": "add-schema", "schema": schema()}, {"action": "set-current-schema", "schema-id": -1}]
    made = [{"type": "assert-create"}, {"type": "assert-current-schema-id", "current-schema-id": 0}]
    c.expect("a new table that is there", 409, "CommitFailedException", "POST", path + "x", commit(new, made))
    after = c.call("GET", path).json()["metadata"]
    c.checks.same("nothing of it happened", (metadata["last-sequence-number"], current), (after["last-sequence-number"], after["current-snapshot-id"]))
    c.checks.same("and no row is lost", [(2, 3)], server.execute("select count(*)::int, sum(id)::int from n1.t").fetchall())
    required = [{"type": "assert-table-uuid", "uuid": metadata["table-uuid"]}, {"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": current}]
    done = c.expect("properties", 200, None, "POST", path, commit([{"action": "set-properties", "updates": {"a": "b"}}], required)).json()
    c.checks.same("the new metadata", "b", done["metadata"]["properties"]["a"])
    listed = snapshot(metadata, **{"manifest-list": [s for s in metadata["snapshots"] if s["snapshot-id"] == current][0]["manifest-list"]})
    again = commit([{"action": "add-snapshot", "snapshot": listed}, main(listed["snapshot-id"])], required)
    c.expect("a snapshot", 200, None, "POST", path, again)
    c.expect("the same once more: its answer was lost", 200, None, "POST", path, again)
    c.checks.same("it happened once", metadata["last-sequence-number"] + 1, c.call("GET", path).json()["metadata"]["last-sequence-number"])
    two = lambda name, requirements, namespace="n1": {"identifier": {"namespace": [namespace], "name": name}, "requirements": requirements,
                                                     "updates": [{"action": "set-properties", "updates": {"both": "yes"}}]}
    no = [{"type": "assert-current-schema-id", "current-schema-id": 99}]
    c.expect("one of two fails", 409, "CommitFailedException", "POST", "staffa/transactions/commit", {"table-changes": [two("t", []), two("moved", no, "n2")]})
    c.checks.same("so does the other", False, "both" in c.call("GET", path).json()["metadata"]["properties"])
    c.expect("one twice", 400, "BadRequestException", "POST", "staffa/transactions/commit", {"table-changes": [two("t", []), two("t", [])]})
    c.expect("one of two is not there", 404, "NoSuchTableException", "POST", "staffa/transactions/commit", {"table-changes": [two("t", []), two("nope", [])]})
    c.expect("without names", 400, "BadRequestException", "POST", "staffa/transactions/commit", {"table-changes": [{"requirements": [], "updates": []}]})
    c.expect("both", 204, None, "POST", "staffa/transactions/commit", {"table-changes": [two("t", []), two("moved", [], "n2")]})
    for place in (path, "staffa/namespaces/n2/tables/moved"):
        c.checks.same("both changed", "yes", c.call("GET", place).json()["metadata"]["properties"]["both"])
    keep = {"action": "remove-snapshots", "snapshot-ids": [s["snapshot-id"] for s in metadata["snapshots"] if s["snapshot-id"] != current]}
    c.expect("expire", 200, None, "POST", path, commit([keep]))
    c.checks.same("the rows stay", [(2,)], server.execute("select count(*)::int from n1.t").fetchall())


def hostile(c):
    here = "/v1/staffa/namespaces/n1/tables"
    for what, method, path, body, headers, wanted in [
        ("steps up", "GET", "/v1/staffa/namespaces/n1/tables/../../../../etc/passwd", None, None, range(400, 500)),
        ("encoded steps up", "GET", here + "/%2E%2E", None, None, [404]),
        ("an encoded slash", "GET", here + "/..%2F..%2Fetc%2Fpasswd", None, None, [404]),
        ("no UTF-8", "GET", here + "/%FF%FE", None, None, [400]),
        ("a null", "GET", here + "/a%00b", None, None, [404]),
        ("a null in a new name", "POST", here, json.dumps({"name": "a\0b", "schema": schema()}), None, [400]),
        ("a very long name", "POST", here, json.dumps({"name": "a" * 300, "schema": schema()}), None, [400]),
        ("no JSON", "POST", here, "{", None, [400]),
        ("nothing", "POST", here, "", None, [400]),
        ("deep JSON", "POST", here, "[" * 100_000 + "]" * 100_000, None, [400]),
        ("deep in a name", "POST", here, '{"name":' + "[" * 5_000 + "]" * 5_000 + "}", None, [400]),
        ("compressed", "POST", here, gzip.compress(b"{}"), {"Content-Encoding": "gzip"}, [415]),
        ("100 MB", "POST", here, b" " * 100_000_000, None, [413]),
        ("100 MB at the door", "POST", "/v1/oauth/tokens", b"a=" + b"b" * 100_000_000, None, [413]),
        ("a schema of schemas", "POST", here, json.dumps({"name": "x", "schema": schema({**FIELD, "type": nested(60)})}), None, range(200, 500)),
        ("numbers that are too large", "POST", here, json.dumps({"name": "x", "schema": schema({**FIELD, "id": 2**70})}), None, [400]),
        ("a very large id", "POST", here, json.dumps({"name": "big", "schema": schema({**FIELD, "id": 2**31 - 1})}), None, range(200, 500)),
    ]:
        status, text = c.raw(method, path, body, headers)
        c.checks.same(f"{what}: {text[:200]}", True, status in wanted)


def nested(depth):
    ty = "long"
    for i in range(depth):
        ty = {"type": "list", "element-id": 100 + i, "element": ty, "element-required": False}
    return ty


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--rest", required=True)
    p.add_argument("--url", required=True)
    p.add_argument("--password", required=True)
    p.add_argument("--data", required=True)
    a = p.parse_args()
    c = Client(a)
    server = psycopg.connect(a.url, autocommit=True)
    logins(c)
    roles(c, server)
    namespaces(c)
    tables(c)
    commits(c, server)
    hostile(c)
    sys.exit(c.checks.end())


if __name__ == "__main__":
    main()
