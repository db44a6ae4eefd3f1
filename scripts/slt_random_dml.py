"""Writes a file of random DML statements for scripts/slt_bless.py to answer: python scripts/slt_random_dml.py SEED COUNT > FILE."""
import random
import sys

seed, count = int(sys.argv[1]), int(sys.argv[2])
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


out = [f"# scripts/slt_random_dml.py {seed} {count}",
       "statement ok\ncreate table a (id int, grp int, val int, name text)",
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
out.append("query ? rowsort\nselect * from a\n----")
out.append("query ? rowsort\nselect * from b\n----")
print("\n\n".join(out))
