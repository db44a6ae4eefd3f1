//! What declared keys let a plan leave out, and what they do not.

use super::fixture::Fixture;

async fn star() -> Fixture {
    let fixture = Fixture::new().await;
    for sql in [
        "create table fact (id int, d1 int, d2 int, amount int)",
        "create table dim1 (id int primary key, name text, region text)",
        "create table dim2 (a int, b int, name text, unique (a, b))",
        "create table free (id int, name text)",
        "insert into fact values (1, 1, 1, 10), (2, 1, 9, 20), (3, null, 2, 30), (3, 7, 2, 30)",
        "insert into dim1 values (1, 'one', 'n'), (2, 'two', 's')",
        "insert into dim2 values (1, 1, 'x'), (2, 1, 'y'), (null, 1, 'z'), (null, 1, 'z')",
        "insert into free values (1, 'a'), (1, 'b')",
        "create view wide as select f.id, f.amount, d1.name as one, d1.region, d2.name as two from fact f \
         left join dim1 d1 on d1.id = f.d1 left join dim2 d2 on d2.a = f.d2 and d2.b = 1",
    ] {
        fixture.change(sql).await;
    }
    fixture
}

#[tokio::test]
async fn dimensions_nobody_asks_for_are_not_joined() {
    let fixture = star().await;
    for (joins, sql, rows) in [
        (0, "select sum(amount) from wide", vec!["90"]),
        (
            0,
            "select id from wide where amount > 10 order by amount, id limit 2",
            vec!["2", "3"],
        ),
        (1, "select count(*) from wide where one = 'one'", vec!["2"]),
        (
            1,
            "select id from wide order by region nulls last, id limit 1",
            vec!["1"],
        ),
        (2, "select one, two from wide where id = 1", vec!["one|x"]),
        (
            0,
            "select count(f.id) from fact f left join dim1 d on f.d1 = d.id and d.region = 'n'",
            vec!["4"],
        ),
        (
            0,
            "select f.id from fact f left join (select d1, count(*) from fact group by d1) g on g.d1 = f.d1 where f.id = 1",
            vec!["1"],
        ),
        // Without a key, or with part of one, rows come out more than once.
        (
            1,
            "select count(f.id) from fact f left join free d on f.d1 = d.id",
            vec!["6"],
        ),
        (
            1,
            "select count(f.id) from fact f left join dim2 d on d.b = f.d1",
            vec!["10"],
        ),
        (
            1,
            "select count(f.id) from fact f left join dim2 d on d.a is not distinct from f.d1 and d.b = 1",
            vec!["5"],
        ),
        (
            1,
            "select count(f.id) from fact f join dim1 d on f.d1 = d.id",
            vec!["2"],
        ),
        (
            1,
            "select count(f.id) from fact f full join dim1 d on f.d1 = d.id",
            vec!["4"],
        ),
    ] {
        let plan = format!("{:?}", fixture.physical(sql).await);
        assert_eq!(plan.matches("JoinExec {").count(), joins, "{sql}");
        let mut found = fixture.rows(sql).await;
        found.sort();
        assert_eq!(found, rows, "{sql}");
    }
}

#[tokio::test]
async fn rows_with_a_key_are_not_made_distinct() {
    let fixture = star().await;
    for (groupings, sql, count) in [
        (false, "select distinct id, name from dim1", 2),
        (
            false,
            "select name, id from dim1 where region <> 'x' group by id, name",
            2,
        ),
        (true, "select distinct name from dim1", 2),
        (true, "select id, count(*) from dim1 group by id", 2),
        // Two nulls are one value here, and UNIQUE allows them.
        (true, "select distinct a, b, name from dim2", 3),
        (true, "select distinct a, b, name from dim2 where a is null", 1),
    ] {
        let plan = format!("{:?}", fixture.physical(sql).await);
        assert_eq!(plan.contains("AggregateExec"), groupings, "{sql}");
        assert_eq!(fixture.rows(sql).await.len(), count, "{sql}");
    }
}
