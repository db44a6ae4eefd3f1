//! PostgreSQL's kinds of indexes, and the classes of operators each has for a type.

use std::sync::LazyLock;

use super::facts::{self, DumpedRows};

/// A kind of index.
#[derive(Debug)]
pub(crate) struct AccessMethod {
    pub(crate) oid: u32,
    pub(crate) name: &'static str,
    pub(crate) can_be_unique: bool,
    pub(crate) can_include: bool,
    pub(crate) can_have_columns: bool,
    /// Whether keys have an order: ASC, DESC, NULLS FIRST, NULLS LAST.
    pub(crate) is_ordered: bool,
}

/// How a kind of index works on a type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OperatorClass {
    pub(crate) oid: u32,
    pub(crate) name: &'static str,
    method: u32,
    takes: u32,
    /// The type of what is kept of a value; 0: its own.
    keeps: u32,
    is_default: bool,
}

#[rustfmt::skip]
const METHODS: &[AccessMethod] = &[
    AccessMethod { oid: 403, name: "btree", can_be_unique: true, can_include: true, can_have_columns: true, is_ordered: true },
    AccessMethod { oid: 405, name: "hash", can_be_unique: false, can_include: false, can_have_columns: false, is_ordered: false },
    AccessMethod { oid: 783, name: "gist", can_be_unique: false, can_include: true, can_have_columns: true, is_ordered: false },
    AccessMethod { oid: 2742, name: "gin", can_be_unique: false, can_include: false, can_have_columns: true, is_ordered: false },
    AccessMethod { oid: 3580, name: "brin", can_be_unique: false, can_include: false, can_have_columns: true, is_ordered: false },
    AccessMethod { oid: 4000, name: "spgist", can_be_unique: false, can_include: true, can_have_columns: false, is_ordered: false },
];

static CLASSES: LazyLock<Vec<OperatorClass>> = LazyLock::new(|| {
    let Some(rows) = DumpedRows::of("pg_opclass") else {
        return Vec::new();
    };
    (0..rows.len())
        .map(|row| OperatorClass {
            oid: rows.number(row, "oid"),
            name: rows.text(row, "opcname"),
            method: rows.number(row, "opcmethod"),
            takes: rows.number(row, "opcintype"),
            keeps: rows.number(row, "opckeytype"),
            is_default: rows.text(row, "opcdefault") == "t",
        })
        .collect()
});

/// The method a statement names.
pub(crate) fn named(name: &str) -> Option<&'static AccessMethod> {
    METHODS.iter().find(|method| method.name == name)
}

/// That of the indexes of keys.
pub(crate) fn btree() -> &'static AccessMethod {
    &METHODS[0]
}

impl AccessMethod {
    /// The number of the class that an index has for a type when it names none.
    pub(crate) fn default_class(&self, ty: u32) -> Option<u32> {
        let mut classes = self.classes().filter(|class| class.is_default);
        let exact = classes.clone().find(|class| class.takes == ty);
        exact
            .or_else(|| classes.find(|class| class.takes(ty)))
            .map(|class| class.oid)
    }

    /// The type of what an index keeps of values of a type.
    pub(crate) fn kept_type(&self, class: u32, ty: u32) -> u32 {
        let (integer, any_element) = (23, 2283);
        let keeps = self.classes().find(|known| known.oid == class);
        match keeps.map_or(0, |class| class.keeps) {
            // A hash.
            _ if self.name == "hash" => integer,
            0 => ty,
            keeps if keeps == any_element => facts::type_with_oid(ty).map_or(ty, |facts| facts.element),
            keeps => keeps,
        }
    }

    /// The classes of this name; for several types there may be one each.
    pub(crate) fn classes_named(&self, name: &str) -> Vec<&'static OperatorClass> {
        self.classes().filter(|class| class.name == name).collect()
    }

    fn classes(&self) -> impl Iterator<Item = &'static OperatorClass> + Clone {
        let method = self.oid;
        CLASSES.iter().filter(move |class| class.method == method)
    }
}

impl OperatorClass {
    /// Whether it works on values of the type as they are.
    pub(crate) fn takes(&self, ty: u32) -> bool {
        let (text, varchar, any_array) = (25, 1043, 2277);
        let is_array = || facts::type_with_oid(ty).is_some_and(|facts| facts.is_array);
        self.takes == ty || (self.takes == text && ty == varchar) || (self.takes == any_array && is_array())
    }
}

/// The number of a collation of `pg_catalog`.
pub(crate) fn collation(name: &str) -> Option<u32> {
    let rows = DumpedRows::of("pg_collation")?;
    let row = (0..rows.len()).find(|row| rows.text(*row, "collname") == name)?;
    Some(rows.number(row, "oid"))
}

/// Whether values of the type have a collation.
pub(crate) fn is_collated(ty: u32) -> bool {
    facts::type_with_oid(ty).is_some_and(|facts| facts.collation != 0)
}
