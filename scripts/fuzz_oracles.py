"""Random queries whose answers check each other, without another database: TLP, NoREC and the order of joins.

    python scripts/fuzz_oracles.py --program target/release/staffa --seed 1 --count 20000

Relation and condition are made as in `fuzz_select.py`, and over larger tables, whose joins are put in order. Of a relation R and a condition p:

    partition   R, and R where p, where not p, where p is null together, have the same rows; also distinct, grouped, and summed up
    no_rewrite  R where p has as many rows as p is true in `select p from R`, which the optimiser cannot push down
    as_written  R where p is the same with the joins in the order of the text (join_collapse_limit = 1)

Check number i of a seed is always the same: `--first i --count 1`. What fails for a reason in the data (`1 / 0`) is left out.
"""
import argparse
import collections
import sys
import tempfile
import time

import psycopg

import fuzz_select as made
import server

LARGE = {
    "b0": ([("a", "i"), ("b", "i"), ("c", "t"), ("e", "n")], 30_000),
    "b1": ([("a", "i"), ("c", "t"), ("d", "d")], 12_000),
    "b2": ([("b", "i"), ("c", "t"), ("f", "b")], 500),
}
# An expression per type that spreads over few or many values, with some nulls, from the row's number `i`.
SPREAD = {
    "i": "case when i % 11 = {0} then null else (i * 7919 + {0}) % {1} end",
    "t": "case when i % 13 = {0} then null else chr(97 + (i * 31 + {0}) % 26) || i % {1} end",
    "n": "case when i % 17 = {0} then null else (i % {1}) * 0.25 end",
    "d": "case when i % 19 = {0} then null else date '2024-01-01' + i % {1} end",
    "b": "case when i % 5 = {0} then null else i % 3 = 0 end",
}
TOLD_MAX = 20


def set_up(connection, seed):
    for statement in made.setup_sql(seed, staffa=True):
        connection.execute(statement)
    made.R.seed(seed)
    for table, (columns, rows) in LARGE.items():
        values = ", ".join(f"{SPREAD[ty].format(made.R.randint(0, 4), made.R.choice((50, 3000, rows)))} as {name}" for name, ty in columns)
        connection.execute(f"create table {table} as select {values} from generate_series(1, {rows}) as g(i)")


def large_relation():
    """Some of the larger tables and a small one, joined by columns of one type."""
    names = made.R.sample(sorted(LARGE) + ["t0", "t3"], made.R.randint(2, 4))
    text, columns = "", []
    for name in names:
        alias = made.alias()
        of_it = [(f"{alias}.{column}", ty) for column, ty in (LARGE.get(name) or made.TABLES[name])[0]]
        if not text:
            text, columns = f"{name} {alias}", of_it
            continue
        pairs = [f"{left} = {right}" for left, ty in columns for right, other in of_it if ty == other == "i"]
        on = made.R.sample(pairs, min(len(pairs), made.pick(1, 1, 2)))
        if made.chance(0.2):
            on.append(made.boolean(made.Scope(columns + of_it), 1, False).sql())
        text += f"{made.pick(' join ', ' join ', ' left join ', ' right join ', ' full join ')}{name} {alias} on {' and '.join(on)}"
        columns = columns + of_it
    return text, columns


def relation_and_condition():
    made.ctr[0] = 0
    if made.chance(0.4):
        relation, columns = large_relation()
    else:
        node, columns = made.from_clause(None, 1)
        relation = node.sql()
    condition = made.boolean(made.Scope(columns), made.pick(1, 2, 2), made.chance(0.3)).sql()
    return relation, columns, condition


class Answers:
    """Asks one server, and notes what cannot be compared."""

    def __init__(self, url):
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True, options="-c statement_timeout=20s")

    def rows(self, statement):
        return collections.Counter(self.connection.execute(statement).fetchall())


def parts_of(condition):
    return (f"({condition})", f"not ({condition})", f"({condition}) is null")


def partition(answers, relation, columns, condition):
    name, _ = made.R.choice(columns)
    summed = [column for column, ty in columns if ty in "in"][:3]
    whole = f"select count(*), count({name})" + "".join(f", coalesce(sum({column}), 0)" for column in summed) + f" from {relation}"
    shape = made.pick("sums", "groups", "distinct", "rows")
    if shape == "sums":
        statements = [whole] + [f"{whole} where {part}" for part in parts_of(condition)]
        first, *parts = [next(iter(answers.rows(statement))) for statement in statements]
        return first, tuple(map(sum, zip(*parts))), statements
    if shape == "groups":
        whole = f"select {name}, count(*) from {relation}"
        statements = [f"{whole} group by 1"] + [f"{whole} where {part} group by 1" for part in parts_of(condition)]
        tables = [collections.Counter({key: count for key, count in answers.rows(statement)}) for statement in statements]
        return tables[0], sum(tables[1:], collections.Counter()), statements
    some = ", ".join(column for column, _ in columns[:3])
    whole = f"select {'distinct ' if shape == 'distinct' else ''}{some} from {relation}"
    statements = [whole] + [f"{whole} where {part}" for part in parts_of(condition)]
    first, *parts = [answers.rows(statement) for statement in statements]
    if shape == "distinct":
        return set(first), set().union(*parts), statements
    return first, sum(parts, collections.Counter()), statements


def no_rewrite(answers, relation, columns, condition):
    statements = [f"select count(*) from {relation} where {condition}", f"select ({condition}), count(*) from {relation} group by 1"]
    counted = next(iter(answers.rows(statements[0])))[0]
    by_value = {value: count for value, count in answers.rows(statements[1])}
    return counted, by_value.get(True, 0), statements


def as_written(answers, relation, columns, condition):
    named = ", ".join(column for column, _ in columns[-4:])
    statement = f"select {named} from {relation} where {condition}"
    ordered = answers.rows(statement)
    answers.connection.execute("set join_collapse_limit = 1")
    try:
        return ordered, answers.rows(statement), [statement]
    finally:
        answers.connection.execute("reset join_collapse_limit")


def compare(answers, arguments):
    counts, failures = collections.Counter(), []
    for number in range(arguments.first, arguments.first + arguments.count):
        made.R.seed(arguments.seed * 1_000_003 + number)
        check = made.pick(partition, partition, no_rewrite, as_written)
        asked = relation_and_condition()
        begun = time.monotonic()
        try:
            one, other, statements = check(answers, *asked)
        except psycopg.Error as error:
            code = error.sqlstate or "connection lost"
            counts[code] += 1
            if not error.sqlstate or code.startswith(("XX", "58")):
                failures.append(f"-- {number} {check.__name__}: {error}\n{asked[0]} where {asked[2]}")
                answers = Answers(answers.url)
            continue
        counts[check.__name__] += 1
        if one != other:
            shown = [str(side)[:300] for side in (one, other)]
            failures.append("\n".join([f"-- {number} {check.__name__}", *(f"{statement};" for statement in statements), *(f"--   {side}" for side in shown)]))
        if time.monotonic() - begun > 10:
            counts["slow"] += 1
        if len(failures) >= TOLD_MAX:
            break
    print("\n".join(failures))
    print(f"-- seed {arguments.seed}: {dict(counts)}, {len(failures)} failures")
    return len(failures)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/staffa")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        with server.running(arguments.program, "serve", "--data", data, "--maintenance=false") as staffa:
            answers = Answers(staffa.url)
            set_up(answers.connection, arguments.seed)
            failed = compare(answers, arguments)
            if "panicked at" in staffa.log():
                sys.exit("a task panicked: " + staffa.log().partition("panicked at")[2][:400])
            sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
