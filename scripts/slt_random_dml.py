"""Writes a file of random DML statements for scripts/slt_bless.py to answer:

    python scripts/slt_random_dml.py SEED COUNT plain > FILE     # INSERT, UPDATE, DELETE, MERGE in transactions
    python scripts/slt_random_dml.py SEED COUNT keyed > FILE     # ON CONFLICT, RETURNING, TRUNCATE; defaults, checks, a generated column
"""
import random
import sys

seed, count, kind_of_file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
r = random.Random(seed)
next_id = 1000


def number(low=-5, high=45):
    return "null" if r.random() < 0.05 else str(r.randint(low, high))


def condition(t):
    kind = r.randrange(9)
    if kind == 0:
        return f"{t}.id % {r.randint(2, 9)} = {r.randint(0, 3)}"
    if kind == 1:
        return f"{t}.val between {number()} and {number()}"
    if kind == 2:
        return f"{t}.grp in ({number(0, 6)}, {number(0, 6)})"
    if kind == 3:
        return f"{t}.name like '%{r.choice('abcdexyz')}%'"
    if kind == 4:
        return f"exists (select 1 from b where b.grp = {t}.grp and b.val > {number()})"
    if kind == 5:
        return f"{t}.grp in (select grp from b where val < {number()})"
    if kind == 6:
        return f"{t}.val > (select avg(val) from a)"
    if kind == 7:
        return f"({condition(t)}) and not ({condition(t)})"
    return f"({condition(t)}) or {t}.id = {r.randint(1, 60)}"


def value(t):
    return r.choice([
        f"{t}.val + {r.randint(-3, 3)}", number(), f"{t}.id % 7", f"coalesce({t}.val, 0) * 2 % 50", f"{t}.grp",
        f"case when {t}.val > 10 then {t}.val - 10 else {t}.val + 1 end",
        f"(select max(b.val) from b where b.grp = {t}.grp)",
    ])


def insert():
    global next_id
    rows = []
    for _ in range(r.randint(1, 6)):
        next_id += 1
        rows.append(f"({next_id}, {number(0, 6)}, {number()}, '{''.join(r.choices('abcdexyz', k=3))}')")
    return f"insert into a values {', '.join(rows)}"


def copy():
    global next_id
    next_id += 100
    return f"insert into a select a.id + {next_id}, grp, val, name from a where {condition('a')} order by id, grp, val, name limit 8"


def delete():
    if r.random() < 0.3:
        return f"delete from a using b where a.grp = b.grp and b.val = {r.randint(0, 9)} and {condition('a')}"
    return f"delete from a where {condition('a')} and a.id % {r.randint(1, 4)} = 0"


def update():
    kind = r.randrange(4)
    if kind == 0:
        return f"update a set val = s.v, name = upper(a.name) from (select grp, max(val) v from b group by grp) s where s.grp = a.grp and {condition('a')}"
    if kind == 1:
        return f"update a set (grp, val) = ({number(0, 6)}, {value('a')}) where {condition('a')}"
    if kind == 2:
        return f"update a set name = a.name || '{r.choice('abc')}', val = {value('a')} where length(a.name) < 6 and {condition('a')}"
    return f"update a as x set val = {value('x')}, grp = {r.choice(['x.grp', 'x.val % 6', number(0, 6)])} where {condition('x')}"


def merge():
    global next_id
    next_id += 100
    source = "(select min(id) id, grp, sum(val) val from b where grp is not null group by grp)"
    clauses = [
        f"when matched and a.val > {number()} then update set val = s.val % 40, name = 'm'",
        "when matched and s.val % 2 = 0 then delete",
        "when matched then do nothing",
        f"when not matched and s.grp > {r.randint(0, 5)} then insert (id, grp, name) values ({next_id} + s.grp, s.grp, 'ins')",
        "when not matched then do nothing",
    ]
    kept = [clause for clause in clauses if r.random() < 0.7] or clauses[2:3]
    on = r.choice(["a.grp = s.grp and a.id % 9 = 1", "a.id = s.id", "a.grp = s.grp and a.val = s.val"])
    return f"merge into a using {source} s on {on} {' '.join(kept)}"


def other():
    return r.choice([
        f"insert into b select id, grp, val from a where {condition('a')} order by id, grp, val, name limit 3",
        f"delete from b where val = {r.randint(0, 30)}", f"update b set val = (val + {r.randint(1, 9)}) % 30",
    ])

# A table with a key, defaults, checks and a generated column. Ids are below 40, so that keys meet.
KEYED = """create table k (id int primary key, val int default 7 check (val < 60), name text not null default 'none',
  grp int, twice int generated always as (val * 2) stored, constraint apart check (grp is null or grp <> val))"""
COLUMNS = "k.id, k.val, k.name, k.grp, k.twice"


def returning(items=COLUMNS):
    return f" returning {r.choice([items, '*', 'k.id, k.val + 1 as more', 'twice, upper(name)'])}"


def keyed_condition():
    return r.choice([f"k.id % {r.randint(2, 5)} = {r.randint(0, 2)}", f"k.val > {r.randint(-5, 50)}", "k.grp is null",
                     f"k.id in (select id from b where val > {r.randint(0, 15)})", f"k.name like '%{r.choice('anoxm')}%'"])


def keyed_row(columns):
    given = {"id": str(r.randint(1, 40)), "val": r.choice([number(-5, 63), "default"]), "grp": r.choice([number(0, 9), "default"]),
             "name": r.choice(["default", f"'{r.choice('abxyz')}{r.randint(0, 9)}'"] * 6 + ["null"])}
    return "(" + ", ".join(given[column] for column in columns) + ")"


def upsert():
    columns = ["id"] + r.sample(["val", "name", "grp"], r.randint(0, 3))
    rows = ", ".join(keyed_row(columns) for _ in range(r.randint(1, 4)))
    action = r.choice([
        "on conflict do nothing", "on conflict (id) do nothing", "on conflict (id) do update set val = excluded.val",
        "on conflict on constraint k_pkey do update set name = k.name || excluded.name, val = default",
        f"on conflict (id) do update set val = k.val + {r.randint(-3, 9)}, grp = excluded.grp where {keyed_condition()}",
    ])
    return f"insert into k ({', '.join(columns)}) values {rows} {action}", True


def keyed_insert():
    global next_id
    next_id += 100
    return r.choice([
        f"insert into k (id, val, grp) select b.id + {next_id}, b.val, b.grp from b where b.id < {r.randint(1, 6)}",
        f"insert into k (id) values ({next_id})", f"insert into k values ({next_id}, {number(0, 63)}, 'given', default, default)",
    ]), True


def keyed_update():
    return r.choice([
        f"update k set val = {r.choice(['default', 'k.val + 5', 'k.grp', number(-9, 63)])} where {keyed_condition()}",
        f"update k set name = {r.choice(['default', 'upper(k.name)', 'null'])}, grp = k.val % 7 where {keyed_condition()} and k.id > 20",
        f"update k set (val, grp) = (select b.val, b.grp from b where b.id = k.id) where k.id < {r.randint(2, 15)} and {keyed_condition()}",
        f"update k set val = b.val from b where b.id = k.id and {keyed_condition()}",
    ]), True


def keyed_delete():
    if r.random() < 0.15:
        return "truncate k", False
    return f"delete from k where {keyed_condition()} and k.id % 3 = {r.randint(0, 2)}", True


def keyed_merge():
    source = f"(select id, val, grp from b where id <> {r.randint(1, 15)})"
    clauses = [
        f"when matched and k.val > {number(0, 40)} then update set val = default, grp = s.grp", "when matched and s.val % 3 = 0 then delete",
        "when matched then update set name = 'm' || k.name", "when not matched and s.val > 9 then insert (id, val) values (s.id, s.val)",
        "when not matched and s.val < 3 then insert (id, name) values (s.id, default)",
    ]
    kept = [clause for clause in clauses if r.random() < 0.6] or clauses[:1]
    return f"merge into k using {source} s on k.id = s.id {' '.join(kept)}", False


SUMMARY = "select count(*), sum(id), sum(val), sum(grp), sum(twice), min(name), max(name) from k"


def keyed():
    """Every statement is a transaction: many break a check or name a row twice, and leave nothing."""
    out = [f"statement ok\n{KEYED}", "statement ok\ncreate table b (id int, grp int, val int)",
           "statement ok\ninsert into b select i, i % 5, i * 3 % 20 from generate_series(1, 15) i",
           "statement ok\ninsert into k (id, val, grp) select i, i * 3, i % 8 from generate_series(1, 12) i where i * 3 <> i % 8"]
    for step in range(count):
        make = r.choices([upsert, keyed_insert, keyed_update, keyed_delete, keyed_merge], [5, 2, 3, 2, 2])[0]
        statement, returns = make()
        if returns and r.random() < 0.5:
            statement += returning()
            out.append("query ? rowsort\n" + statement + "\n----")
        else:
            out.append(("statement ok\n" if statement == "truncate k" else "statement count 0\n") + statement)
        out.append(f"query ?\n{SUMMARY}\n----" if step % 10 else "query ? rowsort\nselect * from k\n----")
    return out + ["query ? rowsort\nselect * from k\n----"]


def plain():
    out = ["statement ok\ncreate table a (id int, grp int, val int, name text)",
           "statement ok\ncreate table b (id int, grp int, val int)",
           "statement ok\ninsert into a select i, i % 6, i * 7 % 40, 'r' || chr(97 + i % 5) from generate_series(1, 60) i",
           "statement ok\ninsert into b select i, i % 5, i * 3 % 20 from generate_series(1, 15) i"]
    inside = False
    for step in range(count):
        roll = r.random()
        if inside and roll < 0.15 or not inside and roll < 0.05:
            out.append("statement ok\n" + (r.choice(["commit", "rollback"]) if inside else "begin"))
            inside = not inside
            continue
        make = r.choices([insert, copy, delete, update, merge, other], [3, 1, 3, 4, 3, 1])[0]
        out.append("statement count 0\n" + make())
        if step % 9 == 0:
            out.append("query ? rowsort\nselect * from a\n----")
        else:
            out.append("query ?\nselect count(*), count(grp), sum(id), sum(val), min(val), max(val), count(distinct name), min(name) from a\n----")
    if inside:
        out.append("statement ok\ncommit")
    return out + ["query ? rowsort\nselect * from a\n----", "query ? rowsort\nselect * from b\n----"]


made = keyed() if kind_of_file == "keyed" else plain()
print("\n\n".join([f"# scripts/slt_random_dml.py {seed} {count} {kind_of_file}"] + made))
