//! The SQL types of columns, parameters and results, as a Postgres user names them.
//!
//! One list for the whole warehouse: the catalog stores it, the planner maps it to Arrow, the server to the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rounding::Rounding;

/// How many digits after the point a `numeric` is shown with. PostgreSQL keeps that with every value; here all values of a
/// column have one scale, and this says which of its zeros count. Other digits than zeros are always shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Digits {
    /// All of the scale, because the type was written `numeric(p, s)`.
    #[default]
    Declared,
    /// All of the scale, of a computed value: a `numeric` without modifiers.
    All,
    /// Of a `numeric` without modifiers: the fewest of these numbers of digits that leave out only zeros. Bit 0 of the
    /// first mask stands for none, bit 2 for two, and so on. The second mask: whole numbers up to 63 that have none.
    Among(u64, u64),
    /// As [`Digits::Among`]; where none of these is enough, as [`Digits::Quotient`].
    Mixed(u64, u64),
    /// At least this many, and as many as PostgreSQL's division gives: 16 significant ones.
    Quotient(u8),
    /// As [`Digits::Quotient`], but a zero has none: a variance.
    Variance(u8),
    /// As [`Digits::Variance`] of the value's square: a standard deviation.
    Root(u8),
    /// At least this many, and 16 significant ones as PostgreSQL counts them for `exp` and `power`.
    Power(u8),
    /// The same for `sqrt`, which counts in groups of four digits.
    SquareRoot(u8),
    /// The same for `ln`, which counts by the size of what it is the logarithm of.
    Logarithm(u8),
    /// The same for logarithms to base 10.
    CommonLogarithm(u8),
}

/// A SQL type with its modifiers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlType {
    /// `boolean`
    Boolean,
    /// `smallint`, 16 bits. Iceberg has no such type: stored as `int`.
    SmallInt,
    /// `integer`, 32 bits
    Integer,
    /// `bigint`, 64 bits
    BigInt,
    /// `real`, 32 bits
    Real,
    /// `double precision`, 64 bits
    Double,
    /// `numeric(precision, scale)`, 1 to 38 digits. A bare `numeric` is stored as `numeric(38, 10)`.
    Numeric {
        /// Digits in all, 1 to 38; of computed values up to 76.
        precision: u8,
        /// Digits after the point, 0 to `precision`.
        scale: i8,
        /// How many of them a value is shown with.
        #[serde(default)]
        digits: Digits,
    },
    /// `text`
    Text,
    /// `varchar(n)` in characters; `None` is a bare `varchar`.
    Varchar(Option<u32>),
    /// `char(n)` in characters, blank padded.
    Char(u32),
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `time without time zone`, microseconds
    Time,
    /// `timestamp without time zone`, microseconds
    Timestamp,
    /// `timestamp with time zone`, microseconds since 1970-01-01 UTC
    TimestampTz,
    /// `interval`: months, days and microseconds kept apart. Iceberg has no such type: stored as `string`.
    Interval,
    /// One of the four before with a modifier: `timestamp(3)`, `interval day to minute`.
    Rounded(Box<SqlType>, Rounding),
    /// `uuid`
    Uuid,
    /// `json`, stored as `string`
    Json,
    /// `jsonb`, stored as `string`
    Jsonb,
    /// `T[]`; elements may be null
    Array(Box<SqlType>),
    /// A composite (row) value: named, nullable fields
    Struct(Vec<(String, SqlType)>),
    /// A type of PostgreSQL's own catalogs
    System(SystemType),
    /// The type of a bare NULL or of a parameter nothing is known about; never that of a column.
    Unknown,
}

impl SqlType {
    /// `numeric(precision, scale)`
    pub const fn numeric(precision: u8, scale: i8) -> Self {
        SqlType::Numeric {
            precision,
            scale,
            digits: Digits::Declared,
        }
    }

    /// The type without the modifier of a type of times.
    pub fn plain(&self) -> &SqlType {
        match self {
            SqlType::Rounded(plain, _) => plain,
            other => other,
        }
    }
}

impl fmt::Display for SqlType {
    /// The name as Postgres' `format_type` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Boolean => f.write_str("boolean"),
            SqlType::SmallInt => f.write_str("smallint"),
            SqlType::Integer => f.write_str("integer"),
            SqlType::BigInt => f.write_str("bigint"),
            SqlType::Real => f.write_str("real"),
            SqlType::Double => f.write_str("double precision"),
            SqlType::Numeric {
                precision,
                scale,
                digits: Digits::Declared,
            } => write!(f, "numeric({precision},{scale})"),
            SqlType::Numeric { .. } => f.write_str("numeric"),
            SqlType::Text => f.write_str("text"),
            SqlType::Varchar(None) => f.write_str("character varying"),
            SqlType::Varchar(Some(length)) => write!(f, "character varying({length})"),
            SqlType::Char(length) => write!(f, "character({length})"),
            SqlType::Bytea => f.write_str("bytea"),
            SqlType::Date => f.write_str("date"),
            SqlType::Time => f.write_str("time without time zone"),
            SqlType::Timestamp => f.write_str("timestamp without time zone"),
            SqlType::TimestampTz => f.write_str("timestamp with time zone"),
            SqlType::Interval => f.write_str("interval"),
            SqlType::Rounded(plain, rounding) => {
                let (name, zone) = match plain.as_ref() {
                    SqlType::Time => ("time", " without time zone"),
                    SqlType::Timestamp => ("timestamp", " without time zone"),
                    SqlType::TimestampTz => ("timestamp", " with time zone"),
                    _ => ("interval", ""),
                };
                f.write_str(name)?;
                if let Some(fields) = rounding.fields {
                    write!(f, " {fields}")?;
                }
                if let Some(digits) = rounding.digits {
                    write!(f, "({digits})")?;
                }
                f.write_str(zone)
            }
            SqlType::Uuid => f.write_str("uuid"),
            SqlType::Json => f.write_str("json"),
            SqlType::Jsonb => f.write_str("jsonb"),
            SqlType::Array(element) => write!(f, "{element}[]"),
            SqlType::Struct(fields) => {
                f.write_str("struct(")?;
                for (index, (name, ty)) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} {ty}", crate::quote_identifier(name))?;
                }
                f.write_str(")")
            }
            SqlType::System(ty) => f.write_str(ty.name()),
            SqlType::Unknown => f.write_str("unknown"),
        }
    }
}

/// The types PostgreSQL has for its catalogs only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemType {
    /// An object's number
    Oid,
    /// A function, shown by name
    RegProc,
    /// A function, shown with its arguments
    RegProcedure,
    /// An operator, shown by name
    RegOper,
    /// An operator, shown with its arguments
    RegOperator,
    /// A relation, shown by name
    RegClass,
    /// A type, shown by name
    RegType,
    /// A role, shown by name
    RegRole,
    /// A schema, shown by name
    RegNamespace,
    /// A collation, shown by name
    RegCollation,
    /// A transaction's number
    Xid,
    /// An identifier
    Name,
    /// One byte
    Char,
    /// A privilege
    AclItem,
    /// An expression
    NodeTree,
    /// A network address
    Inet,
    /// A place in a log
    Lsn,
    /// An array of whatever type a column has
    AnyArray,
    /// Counts of distinct values
    NDistinct,
    /// Dependencies between columns
    Dependencies,
    /// Most common values
    McvList,
    /// `smallint`s, counted from 0
    Int2Vector,
    /// Object numbers, counted from 0
    OidVector,
    /// A path into `jsonb`
    JsonPath,
    /// What a function gives that gives nothing
    Void,
}

/// What holds the values of a [`SystemType`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemStorage {
    /// 32 bits without a sign
    Number,
    /// Text
    Text,
    /// A list of `smallint`
    SmallInts,
    /// A list of 32 bits without a sign
    Oids,
}

/// Every type with its name, its OID, that of its array (0: it has none) and its storage.
const SYSTEM_TYPES: &[(SystemType, &str, u32, u32, SystemStorage)] = &[
    (SystemType::Oid, "oid", 26, 1028, SystemStorage::Number),
    (SystemType::RegProc, "regproc", 24, 1008, SystemStorage::Number),
    (
        SystemType::RegProcedure,
        "regprocedure",
        2202,
        2207,
        SystemStorage::Number,
    ),
    (SystemType::RegOper, "regoper", 2203, 2208, SystemStorage::Number),
    (
        SystemType::RegOperator,
        "regoperator",
        2204,
        2209,
        SystemStorage::Number,
    ),
    (SystemType::RegClass, "regclass", 2205, 2210, SystemStorage::Number),
    (SystemType::RegType, "regtype", 2206, 2211, SystemStorage::Number),
    (SystemType::RegRole, "regrole", 4096, 4097, SystemStorage::Number),
    (
        SystemType::RegNamespace,
        "regnamespace",
        4089,
        4090,
        SystemStorage::Number,
    ),
    (
        SystemType::RegCollation,
        "regcollation",
        4191,
        4192,
        SystemStorage::Number,
    ),
    (SystemType::Xid, "xid", 28, 1011, SystemStorage::Number),
    (SystemType::Name, "name", 19, 1003, SystemStorage::Text),
    (SystemType::Char, "\"char\"", 18, 1002, SystemStorage::Text),
    (SystemType::AclItem, "aclitem", 1033, 1034, SystemStorage::Text),
    (SystemType::NodeTree, "pg_node_tree", 194, 0, SystemStorage::Text),
    (SystemType::Inet, "inet", 869, 1041, SystemStorage::Text),
    (SystemType::Lsn, "pg_lsn", 3220, 3221, SystemStorage::Text),
    (SystemType::AnyArray, "anyarray", 2277, 0, SystemStorage::Text),
    (SystemType::NDistinct, "pg_ndistinct", 3361, 0, SystemStorage::Text),
    (
        SystemType::Dependencies,
        "pg_dependencies",
        3402,
        0,
        SystemStorage::Text,
    ),
    (SystemType::McvList, "pg_mcv_list", 5017, 0, SystemStorage::Text),
    (SystemType::Int2Vector, "int2vector", 22, 1006, SystemStorage::SmallInts),
    (SystemType::OidVector, "oidvector", 30, 1013, SystemStorage::Oids),
    (SystemType::JsonPath, "jsonpath", 4072, 4073, SystemStorage::Text),
    (SystemType::Void, "void", 2278, 0, SystemStorage::Text),
];

impl SystemType {
    fn facts(self) -> (&'static str, u32, u32, SystemStorage) {
        let found = SYSTEM_TYPES.iter().find(|(ty, ..)| *ty == self);
        found.map_or(
            ("oid", 26, 1028, SystemStorage::Number),
            |(_, name, oid, array, storage)| (*name, *oid, *array, *storage),
        )
    }

    /// The name as `format_type` prints it.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// PostgreSQL's number of the type.
    pub fn oid(self) -> u32 {
        self.facts().1
    }

    /// The number of the type of its arrays; 0 when there is none.
    pub fn array_oid(self) -> u32 {
        self.facts().2
    }

    /// What holds its values.
    pub fn storage(self) -> SystemStorage {
        self.facts().3
    }

    /// The type of this name.
    pub fn named(name: &str) -> Option<SystemType> {
        SYSTEM_TYPES
            .iter()
            .find(|(_, known, ..)| *known == name)
            .map(|(ty, ..)| *ty)
    }

    /// The type with this number.
    pub fn with_oid(oid: u32) -> Option<SystemType> {
        SYSTEM_TYPES
            .iter()
            .find(|(_, _, known, ..)| *known == oid)
            .map(|(ty, ..)| *ty)
    }

    /// The type whose arrays have this number.
    pub fn with_array_oid(oid: u32) -> Option<SystemType> {
        let known = SYSTEM_TYPES
            .iter()
            .find(|(_, _, _, array, _)| *array == oid && oid != 0);
        known.map(|(ty, ..)| *ty)
    }

    /// Whether it is a number shown by the name of what it stands for.
    pub fn is_reg(self) -> bool {
        self.name().starts_with("reg")
    }
}
