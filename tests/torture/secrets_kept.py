"""S5: passwords and keys, given in every way there is, come out nowhere."""
import os
import subprocess
import urllib.request

import psycopg

from kit import served

# Long and without sense, so that it is nowhere by chance.
CANARY = "canary8f3a{}zq"

ADMIN, S3_KEY, S3_TOKEN = (CANARY.format(name) for name in ("admin", "s3key", "s3token"))

# What tells or keeps something; `{}` is a secret of its own each.
STATEMENTS = [
    "create role kept_1 login password '{}'",
    "create user kept_2 with encrypted password '{}' valid until '2999-01-01'",
    "alter role kept_1 password '{}'",
    "alter user kept_2 with password E'{}' connection limit 3",
    "alter role kept_1 password $secret${}$secret$",
    # Those that fail say what is wrong, and not with what.
    "create role kept_1 password '{}'",
    "alter role nobody_is_called_that password '{}'",
    "alter role kept_1 password '{}' nonsense",
    "create user kept_3 unencrypted password '{}'",
    "prepare p as alter role kept_1 password '{}'",
    "explain alter role kept_1 password '{}'",
    "do $$ begin alter role kept_1 password '{}'; end $$",
    "/* one */ alter role kept_1 password '{}' ; select 1 / 0",
    "begin; alter role kept_1 password '{}'; rollback",
]

# Everywhere that somebody could look.
LOOKS = [
    "select * from staffa.queries",
    "select * from staffa.audit",
    "select * from pg_stat_activity",
    "select * from pg_roles",
    "select * from pg_user",
    "select * from pg_shadow",
    "select * from pg_authid",
    "select * from pg_settings",
    "select * from pg_prepared_statements",
    "select * from pg_cursors",
    "select * from pg_db_role_setting",
    "select * from pg_foreign_server",
    "show all",
]


def run(size, figures):
    hidden = [ADMIN, S3_KEY, S3_TOKEN]
    environment = {"STAFFA_ADMIN_PASSWORD": ADMIN, "STAFFA_S3_SECRET_KEY": S3_KEY, "STAFFA_S3_SESSION_TOKEN": S3_TOKEN,
                   "STAFFA_S3_ACCESS_KEY": "access"}
    flags = ["--log-level", "trace,hyper=info", "--slow-query", "1ms", "--audit", "all"]
    found = []

    def look(place, text):
        text = text if isinstance(text, bytes) else str(text).encode()
        found.extend(f"{secret} in {place}" for secret in hidden if secret.encode() in text)

    with served(size.program, *flags, auth="scram", settings=environment) as server:
        place = {"host": "127.0.0.1", "port": server.port, "dbname": "staffa", "user": "admin", "password": ADMIN}
        with psycopg.connect(**place, autocommit=True) as admin:
            notices = []
            admin.add_notice_handler(lambda notice: notices.append(notice.message_primary))
            for number, sql in enumerate(STATEMENTS):
                hidden.append(CANARY.format(f"sql{number}"))
                for how in (False, True):
                    try:
                        cursor = admin.execute(sql.format(hidden[-1]), prepare=how)
                        look(f"the answer to {sql}", cursor.statusmessage)
                    except psycopg.Error as error:
                        # As the server says it: the client shows the statement beside it.
                        told = error.diag
                        look(f"the error of {sql}", [told.message_primary, told.message_detail, told.message_hint, told.context,
                                                     told.internal_query])
                        admin.execute("rollback")
            look("notices", notices)
            # A wrong password, and one in a URL.
            hidden.append(CANARY.format("wrong"))
            try:
                psycopg.connect(**(place | {"password": hidden[-1]}))
            except psycopg.OperationalError as error:
                look("the refusal of a wrong password", str(error))
            # A parameter's value is somebody's, and not in what errors and lists of statements say.
            hidden.append(CANARY.format("parameter"))
            try:
                admin.execute("select 1 / (length(%s) - length(%s))", (hidden[-1], hidden[-1]))
            except psycopg.Error as error:
                look("the error of a parameter", str(error))
            for sql in LOOKS:
                try:
                    look(sql, repr(admin.execute(sql).fetchall()))
                except psycopg.errors.UndefinedTable:
                    figures.note(f"not there: {sql}")
        address = server.health()
        for page in ("/livez", "/readyz", "/metrics"):
            look(page, urllib.request.urlopen(f"http://{address}{page}").read())
        look("the log", server.log())
        look("the list of processes", subprocess.run(["ps", "-ww", "-p", str(server.pid), "-o", "args"], capture_output=True).stdout)
        shown = subprocess.run([size.program, "config", "show"], capture_output=True, env=os.environ | environment)
        look("the settings as shown", shown.stdout + shown.stderr)
        kept = [path for path in server.folder.rglob("*") if path.is_file()]
        for path in kept:
            look(path.name, path.read_bytes())
        for place in sorted(set(found))[:20]:
            figures.note(place)
        figures.note(f"{len(hidden)} secrets, looked for in {len(LOOKS)} relations, 3 pages, {len(kept)} files, the log, errors and notices")
        figures.equal("secrets: found", len(set(found)), 0)
        server.check_well(figures, "secrets")
