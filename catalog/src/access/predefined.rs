//! Roles of PostgreSQL's that are there from the beginning, for whoever is to watch or to stop others without being a superuser. They
//! cannot be changed; who is a member of them is kept with the members. Only of `pg_database_owner`, whose the schema `public`
//! is, nobody is made a member: in each database it stands for who owns that one.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::role::{Membership, Role};

/// May see what all sessions do.
pub(super) const READ_ALL_STATS: &str = "pg_read_all_stats";
/// May stop what sessions do that are not superusers'.
pub(super) const SIGNAL_BACKEND: &str = "pg_signal_backend";

/// Whoever owns the database.
pub(crate) const DATABASE_OWNER: Uuid = Uuid::from_u128(6171);

const MONITOR: u32 = 3373;

/// Names, and PostgreSQL's numbers: their ids are these.
const ROLES: [(&str, u32); 5] = [
    ("pg_monitor", MONITOR),
    ("pg_read_all_settings", 3374),
    (READ_ALL_STATS, 3375),
    (SIGNAL_BACKEND, 4200),
    ("pg_database_owner", 6171),
];

/// What `pg_monitor` is a member of.
const MONITORS: [u32; 2] = [3374, 3375];

/// All of them.
pub(super) fn roles() -> impl Iterator<Item = Role> {
    ROLES.into_iter().map(|(name, number)| {
        let membership = Membership {
            grantor: Uuid::nil(),
            admin: false,
        };
        let groups = MONITORS.into_iter().filter(|_| number == MONITOR);
        Role {
            id: Uuid::from_u128(number.into()),
            member_of: groups
                .map(|group| (Uuid::from_u128(group.into()), membership))
                .collect::<BTreeMap<_, _>>(),
            ..Role::new(name)
        }
    })
}

impl Role {
    /// The number by which PostgreSQL knows it, if it is one of PostgreSQL's.
    pub fn number_of_postgres(&self) -> Option<u32> {
        let number = u32::try_from(self.id.as_u128()).ok()?;
        ROLES.iter().any(|(_, known)| *known == number).then_some(number)
    }

    /// Whether it stands for who owns the database.
    pub fn is_database_owner(&self) -> bool {
        self.id == DATABASE_OWNER
    }
}
