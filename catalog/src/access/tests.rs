use super::*;
use crate::testing::{World, definition};

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn rights(owner: u128) -> Rights {
    Rights {
        owner: id(owner),
        ..Rights::default()
    }
}

#[test]
fn keys_are_told_apart_whatever_is_in_names() {
    let of = |database: &str, schema: &str| AccessKey::Schema(database.into(), schema.into()).print().unwrap();
    assert_ne!(of("a\",\"b", "c"), of("a", "b\",\"c"));
    assert_ne!(of("a/b", "c"), of("a", "b/c"));
    let key = AccessKey::Default(id(1), "d".into(), None, ObjectKind::Table);
    assert_eq!(serde_json::from_str::<AccessKey>(&key.print().unwrap()).unwrap(), key);
}

#[test]
fn what_was_given_on_goes_with_what_it_was_given_by() {
    let (owner, ann, bob) = (id(1), id(2), id(3));
    let select = Privileges::SELECT;
    let mut acl = Acl::default_of(ObjectKind::Table, owner);
    acl.grant(Some(ann), owner, select, select);
    acl.grant(Some(bob), ann, select, Privileges::NONE);
    let before = acl.clone();
    assert!(!acl.revoke(Some(ann), owner, select, false, owner, false));
    assert_eq!(acl, before);
    assert!(acl.revoke(Some(ann), owner, select, false, owner, true));
    assert_eq!(acl, Acl::default_of(ObjectKind::Table, owner));
}

/// A state with these roles; each with its id, whether it inherits, and whose member it is.
fn access(roles: &[(u128, bool, &[u128])]) -> Access {
    let kept = roles.iter().map(|(number, inherit, groups)| {
        let mut role = Role::new(&format!("r{number}"));
        role.id = id(*number);
        role.inherit = *inherit;
        let membership = Membership {
            grantor: Uuid::nil(),
            admin: false,
        };
        role.member_of = groups.iter().map(|group| (id(*group), membership)).collect();
        let entry = Arc::new(AccessEntry::Role(role.clone()));
        (AccessKey::Role(role.name), Kept { csn: 1, entry })
    });
    Access::of(kept.collect())
}

#[test]
fn privileges_come_from_oneself_everybody_and_the_roles_one_inherits() {
    let access = access(&[
        (1, true, &[]),
        (2, true, &[]),
        (3, true, &[2]),
        (4, false, &[2]),
        (5, true, &[4]),
    ]);
    let mut rights = rights(1);
    let may = |rights: &Rights, name: &str| {
        access
            .authority(name, "d")
            .may(rights, ObjectKind::Table, Privileges::SELECT)
    };
    assert!(may(&rights, "r1") && !may(&rights, "r2") && !may(&rights, "nobody"));
    let mut acl = rights.acl_of(ObjectKind::Table);
    acl.grant(Some(id(2)), id(1), Privileges::SELECT, Privileges::NONE);
    rights.acl = Some(acl.clone());
    assert!(may(&rights, "r2") && may(&rights, "r3"));
    // Neither without INHERIT, nor through one without.
    assert!(!may(&rights, "r4") && !may(&rights, "r5"));
    assert!(access.is_member(access.role("r5").unwrap(), id(2)));
    acl.grant(None, id(1), Privileges::SELECT, Privileges::NONE);
    rights.acl = Some(acl);
    assert!(may(&rights, "r5") && may(&rights, "nobody"));
}

#[test]
fn columns_add_to_what_is_granted_on_the_table() {
    let access = access(&[(1, true, &[]), (2, true, &[])]);
    let mut rights = rights(1);
    let mut acl = Acl::default();
    acl.grant(Some(id(2)), id(1), Privileges::SELECT, Privileges::NONE);
    rights.columns.insert(7, acl);
    let authority = access.authority("r2", "d");
    assert!(authority.may_with_column(&rights, 7, Privileges::SELECT));
    assert!(!authority.may_with_column(&rights, 8, Privileges::SELECT));
    assert!(!authority.may_with_column(&rights, 7, Privileges::UPDATE));
    assert!(!authority.may(&rights, ObjectKind::Table, Privileges::SELECT));
}

#[test]
fn everybody_may_use_the_schema_public_and_make_nothing_in_it() {
    let access = access(&[(2, true, &[])]);
    let of = |schema: &str| access.rights(&AccessKey::Schema("d".into(), schema.into()));
    let authority = access.authority("r2", "d");
    assert!(authority.may(&of("public"), ObjectKind::Schema, Privileges::USAGE));
    assert!(!authority.may(&of("public"), ObjectKind::Schema, Privileges::CREATE));
    assert!(!authority.may(&of("other"), ObjectKind::Schema, Privileges::USAGE));
}

#[test]
fn public_belongs_to_whoever_owns_the_database() {
    let owned = (AccessKey::Database("d".into()), Some(AccessEntry::Rights(rights(2))));
    let access = access(&[(2, true, &[]), (3, true, &[2]), (4, true, &[])]).with(&BTreeMap::from([owned]));
    let may = |name: &str, database: &str| {
        let public = access.rights(&AccessKey::Schema(database.into(), "public".into()));
        let authority = access.authority(name, database);
        authority.may(&public, ObjectKind::Schema, Privileges::CREATE) && authority.owns(&public)
    };
    assert!(may("r2", "d") && may("r3", "d") && !may("r4", "d"));
    assert!(!may("r2", "other"));
}

#[tokio::test]
async fn roles_and_grants_are_committed_with_their_transaction() {
    let world = World::new().await;
    let first = world.catalog.snapshot().await.unwrap();
    assert!(first.access().role(FIRST_ROLE).unwrap().superuser);
    let mut role = Role::new("ann");
    role.verifier = Some("SCRAM-SHA-256$1".to_owned());
    let mut txn = world.begin().await;
    txn.create_role(role.clone()).unwrap();
    assert_eq!(txn.snapshot().access().role("ann"), Some(&role));
    // Nobody else sees it yet.
    assert!(world.catalog.snapshot().await.unwrap().access().role("ann").is_none());
    txn.act_as(role.id);
    let table = txn.create_table(definition("t")).await.unwrap().uuid();
    txn.commit().await.unwrap();
    let second = world.second().await.snapshot().await.unwrap();
    assert_eq!(second.access().role("ann"), Some(&role));
    assert_eq!(second.access().rights(&AccessKey::Relation(table)).owner, role.id);

    let mut txn = world.begin().await;
    let name = definition("t").name;
    txn.drop_table(&name).await.unwrap();
    txn.drop_role("ann").unwrap();
    txn.commit().await.unwrap();
    let after = world.catalog.snapshot().await.unwrap();
    assert!(after.access().role("ann").is_none());
    assert_eq!(after.access().all_rights().count(), 0);
}

#[tokio::test]
async fn two_that_change_one_role_at_a_time_do_not_both_win() {
    let world = World::new().await;
    let mut one = world.begin().await;
    let mut other = world.begin().await;
    one.create_role(Role::new("ann")).unwrap();
    other.create_role(Role::new("ann")).unwrap();
    one.commit().await.unwrap();
    assert_eq!(other.commit().await.unwrap_err().kind(), ErrorKind::DuplicateRole);

    let ann = world
        .catalog
        .snapshot()
        .await
        .unwrap()
        .access()
        .role("ann")
        .unwrap()
        .clone();
    let mut one = world.begin().await;
    let mut other = world.begin().await;
    one.alter_role(
        "ann",
        Role {
            createdb: true,
            ..ann.clone()
        },
    )
    .unwrap();
    other.alter_role("ann", Role { login: true, ..ann }).unwrap();
    one.commit().await.unwrap();
    assert_eq!(other.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_catalog_from_before_keeps_its_roles_which_may_do_everything() {
    let world = World::new().await;
    world.foreign_sql("delete from staffa_access").await.unwrap();
    world
        .foreign_sql(
            "insert into staffa_role(name, verifier) values ('admin', 'SCRAM-SHA-256$2'), ('ann', 'SCRAM-SHA-256$3')",
        )
        .await
        .unwrap();
    let second = world.second().await.snapshot().await.unwrap();
    let access = second.access();
    let admin = access.role("admin").unwrap();
    assert!(admin.is_first() && admin.verifier.as_deref() == Some("SCRAM-SHA-256$2"));
    let ann = access.role("ann").unwrap();
    assert!(ann.superuser && ann.login && !ann.is_first() && ann.verifier.as_deref() == Some("SCRAM-SHA-256$3"));
    assert_eq!(world.foreign_number("select count(*) from staffa_role").await, 0);
}

#[tokio::test]
async fn what_is_kept_moves_with_its_schema_and_its_view() {
    let world = World::new().await;
    let ann = Role::new("ann");
    let mut txn = world.begin().await;
    let database = definition("t").name.database;
    txn.create_role(ann.clone()).unwrap();
    txn.act_as(ann.id);
    txn.create_schema(&database, "old").await.unwrap();
    txn.commit().await.unwrap();
    let mut txn = world.begin().await;
    txn.rename_schema(&database, "old", "new").await.unwrap();
    txn.commit().await.unwrap();
    let after = world.catalog.snapshot().await.unwrap();
    let owner = |schema: &str| {
        after
            .access()
            .rights(&AccessKey::Schema(database.clone(), schema.into()))
            .owner
    };
    assert_eq!((owner("new"), owner("old")), (ann.id, Uuid::nil()));
}
