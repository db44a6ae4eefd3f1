"""psql's commands that describe a database: the same text from the same small one."""
import re
import subprocess

import psycopg

import target

FIXTURE = """
drop schema if exists shop cascade;
drop table if exists plain;
create schema shop;
create table shop.client (
    id bigint primary key,
    name varchar(40) not null,
    credit numeric(12,2) default 0,
    since timestamptz,
    labels text[],
    key uuid
);
comment on table shop.client is 'who buys';
comment on column shop.client.name is 'as on the bill';
create table shop.bill (
    id bigint primary key,
    client_id bigint references shop.client (id),
    day date not null,
    code char(4),
    paid boolean default false,
    unique (client_id, day)
);
create table shop.line (id int generated always as identity, n smallint, r real, f double precision, b bytea);
create table shop."Odd Name" ("Column A" int, "select" text);
create sequence shop.numbers start 5 increment 2;
create view shop.open_bills as select id, day from shop.bill;
create table plain (a int, b text);
"""

COMMANDS = r"""
\d
\dt
\dt shop.*
\dt *.client
\dt nothing.*
\dv
\dv shop.*
\ds shop.*
\di shop.*
\dm
\dE
\d plain
\d shop.client
\d+ shop.client
\d shop.bill
\d shop.line
\d shop.numbers
\d shop.open_bills
\d shop."Odd Name"
\d nosuchtable
\dn
\dn shop
\dn+ shop
\df
\df nosuch
\df pg_catalog.pg_table_is_visible
\da pg_catalog.bool_and
\dT
\dT pg_catalog.int4
\dD
\dC nosuch
\dx
\dy
\dd
\db
\dp shop.*
\z plain
\drds
\dF nosuch
\dRp
\dP
\dO
\du nosuch
\sv shop.numbers
\d+
\d sales.orders
\d sales.customer
\d+ sales.orders
\d+ sales.v_orders
\d part
\d part_2024
\dt+
\dt *.*
\di
\ds
\dn+
\df+
\da
\do
\dT+
\dC
\dc
\dL
\dF
\du
\du+
\dp
\z
\ddp
\l
\l+
\sf add1
\sv sales.v_orders
"""


def psql(command):
    out = subprocess.run(
        ["psql", "-X", "-P", "pager=off", "-P", "format=unaligned", "-d", target.URL, "-c", command],
        capture_output=True, text=True, timeout=300)
    # A column's bytes are each server's own.
    return re.sub(r"\b\d+ (bytes|kB|MB)\b", "SIZE", out.stdout + out.stderr).strip()


report = target.Report()
with psycopg.connect(target.URL, autocommit=True) as connection:
    connection.execute(FIXTURE)
for command in COMMANDS.strip().splitlines():
    report.check(command, lambda: psql(command))
report.finish()
