//! Columns of a table that other engines change: what older files and rows need of them stays.

use super::*;

fn field(id: i32, name: &str, ty: &str, required: bool) -> Value {
    json!({"id": id, "name": name, "type": ty, "required": required})
}

fn add_schema(fields: &[Value]) -> Value {
    json!({"action": "add-schema", "schema": {"type": "struct", "schema-id": 9, "fields": fields}})
}

fn set_schema(id: i32) -> Value {
    json!({"action": "set-current-schema", "schema-id": id})
}

async fn refused(world: &World, name: &TableName, updates: Value, what: &str) {
    let error = commit(world, name, json!([]), updates)
        .await
        .map_err(|error| error.kind());
    let is_refused = matches!(error, Err(ErrorKind::InvalidDefinition | ErrorKind::Unsupported));
    assert!(is_refused, "{what}: {error:?}");
}

/// A table `n (id int, b int, c int)` that was partitioned by `id` and by `bucket(4, b)`, and is by `c`.
async fn partitioned(world: &World) -> TableName {
    let schema = json!({"type": "struct", "schema-id": 0, "fields": [
        field(1, "id", "int", false), field(2, "b", "int", false), field(3, "c", "int", false)]});
    let spec = json!({"spec-id": 0, "fields": [
        {"source-id": 1, "field-id": 1000, "name": "id", "transform": "identity"},
        {"source-id": 2, "field-id": 1001, "name": "b_bucket", "transform": "bucket[4]"}]});
    let request = json!({"name": "n", "schema": schema, "partition-spec": spec});
    let mut txn = world.begin().await;
    txn.create_table_as(&name("n"), &TableCreation::parse(request).unwrap())
        .await
        .unwrap();
    txn.commit().await.unwrap();
    let other = json!({"fields": [{"source-id": 3, "name": "c_part", "transform": "truncate[10]"}]});
    let updates = json!([{"action": "add-spec", "spec": other}, {"action": "set-default-spec", "spec-id": -1}]);
    commit(world, &name("n"), json!([]), updates).await.unwrap();
    name("n")
}

#[tokio::test]
async fn what_a_table_is_or_was_partitioned_by_stays() {
    let world = World::new().await;
    let n = partitioned(&world).await;
    let columns = |id: &str, b: &str, c: &str| {
        [
            field(1, "id", id, false),
            field(2, "b", b, false),
            field(3, "c", c, false),
        ]
    };
    let all = columns("int", "int", "int");
    for (what, fields) in [
        ("drop what it was partitioned by", vec![all[1].clone(), all[2].clone()]),
        ("drop what it was in buckets by", vec![all[0].clone(), all[2].clone()]),
        ("drop what it is partitioned by", vec![all[0].clone(), all[1].clone()]),
        ("widen what its values are of", columns("long", "int", "int").to_vec()),
        ("widen what is cut", columns("int", "int", "long").to_vec()),
    ] {
        refused(&world, &n, json!([add_schema(&fields), set_schema(-1)]), what).await;
    }
    // Renamed it is the same column, and in buckets an int is what a long is.
    let mut fields = columns("int", "long", "int");
    fields[0]["name"] = json!("renamed");
    let updates = json!([add_schema(&fields), set_schema(-1)]);
    commit(&world, &n, json!([]), updates).await.unwrap();
    assert_eq!(table(&world, &n).await.schema().columns[0].name, "renamed");
}

#[tokio::test]
async fn two_commits_do_not_what_one_may_not() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    let (id, text) = (field(1, "id", "int", false), field(2, "text", "string", false));
    // Without rows a new column may be required. It is not the table's yet when the first rows come.
    let fields = [id.clone(), text.clone(), field(3, "new", "long", true)];
    commit(&world, &t, json!([]), json!([add_schema(&fields)]))
        .await
        .unwrap();
    add(&world, &t, 1).await;
    let schema_id = 1;
    refused(&world, &t, json!([set_schema(schema_id)]), "rows lack it").await;
    for (what, fields) in [
        ("another type", vec![field(1, "id", "string", false), text.clone()]),
        ("a required column", vec![field(1, "id", "int", true), text.clone()]),
        (
            "a type that cannot be read",
            vec![id.clone(), text.clone(), field(4, "x", "timestamp_ns", false)],
        ),
        (
            "an old id",
            vec![id.clone(), text.clone(), field(3, "x", "string", false)],
        ),
    ] {
        refused(&world, &t, json!([add_schema(&fields)]), what).await;
    }
    // Rows that no branch has may be the table's again.
    let none = json!([{"action": "remove-snapshot-ref", "ref-name": "main"}]);
    commit(&world, &t, json!([]), none).await.unwrap();
    let required = [field(1, "id", "int", true), text.clone()];
    refused(
        &world,
        &t,
        json!([add_schema(&required), set_schema(-1)]),
        "rows of the past",
    )
    .await;
}

#[tokio::test]
async fn what_is_new_as_a_whole_may_require_parts_of_itself() {
    let world = World::new().await;
    let t = world.create_table("t").await;
    add(&world, &t, 1).await;
    let (id, text) = (field(1, "id", "int", false), field(2, "text", "string", false));
    let parts = |fields: &[Value]| json!({"id": 3, "name": "s", "required": false, "type": {"type": "struct", "fields": fields}});
    let x = field(4, "x", "int", true);
    let updates = json!([
        add_schema(&[id.clone(), text.clone(), parts(std::slice::from_ref(&x))]),
        set_schema(-1)
    ]);
    commit(&world, &t, json!([]), updates).await.unwrap();
    let more = [x.clone(), field(5, "y", "int", true)];
    refused(
        &world,
        &t,
        json!([add_schema(&[id, text, parts(&more)]), set_schema(-1)]),
        "rows lack y",
    )
    .await;
}
