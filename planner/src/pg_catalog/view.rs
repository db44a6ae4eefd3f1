//! The catalog as one session sees it: which names it can leave the schema out of, and how objects are written.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use staffa_catalog::{ObjectKind, Privileges, Rounding, SqlType, SystemType, quote_identifier};

use super::deparse;
use super::facts::{self, DumpedRows};
use super::image::{CATALOG_SCHEMA, Image, Named, Relation, system_schemas};
use super::index::{IndexColumn, ShownIndex};
use super::names::{TypeName, invalid_name, qualified, split_name};
use super::part::{KeyKind, Kind};
use super::roles::Roles;
use crate::authorize::denied;
use crate::error::{Error, ErrorKind, Result};

/// An image, and the path its names are looked up in.
#[derive(Clone)]
pub struct CatalogView {
    pub(crate) image: Arc<Image>,
    pub(crate) roles: Arc<Roles>,
    /// Every schema that is searched, in order; `pg_catalog` among them.
    pub(crate) path: Vec<String>,
}

impl fmt::Debug for CatalogView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogView")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

// Two are the same when they show the same state by the same path.
impl PartialEq for CatalogView {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.image, &other.image) && self.roles == other.roles && self.path == other.path
    }
}

impl Eq for CatalogView {}

impl std::hash::Hash for CatalogView {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.image).hash(state);
        self.roles.hash(state);
        self.path.hash(state);
    }
}

/// A function of PostgreSQL.
pub(crate) struct Function {
    pub(crate) oid: u32,
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<u32>,
    pub(crate) result: u32,
    pub(crate) returns_set: bool,
    names: &'static str,
    modes: &'static str,
    all_arguments: Vec<u32>,
    variadic: u32,
    /// Its place among the rows of `pg_proc`.
    row: usize,
}

static FUNCTION_ROWS: LazyLock<Option<DumpedRows>> = LazyLock::new(|| DumpedRows::of("pg_proc"));

static FUNCTIONS: LazyLock<Vec<Function>> = LazyLock::new(|| {
    let Some(rows) = &*FUNCTION_ROWS else {
        return Vec::new();
    };
    (0..rows.len())
        .map(|row| Function {
            oid: rows.number(row, "oid"),
            name: rows.text(row, "proname"),
            arguments: rows.numbers(row, "proargtypes"),
            result: rows.number(row, "prorettype"),
            returns_set: rows.text(row, "proretset") == "t",
            names: rows.text(row, "proargnames"),
            modes: rows.text(row, "proargmodes"),
            all_arguments: rows.numbers(row, "proallargtypes"),
            variadic: rows.number(row, "provariadic"),
            row,
        })
        .collect()
});
static FUNCTIONS_BY_OID: LazyLock<HashMap<u32, usize>> = LazyLock::new(|| {
    FUNCTIONS
        .iter()
        .enumerate()
        .map(|(at, function)| (function.oid, at))
        .collect()
});

/// Comments on PostgreSQL's own objects: catalog and text, by object and column.
static DESCRIPTIONS: LazyLock<HashMap<(u32, i32), Vec<(u32, &'static str)>>> = LazyLock::new(|| {
    let mut all: HashMap<(u32, i32), Vec<(u32, &'static str)>> = HashMap::new();
    if let Some(rows) = DumpedRows::of("pg_description") {
        for row in 0..rows.len() {
            let number = rows.text(row, "objsubid").parse().unwrap_or_default();
            let comments = all.entry((rows.number(row, "objoid"), number)).or_default();
            comments.push((rows.number(row, "classoid"), rows.text(row, "description")));
        }
    }
    all
});

impl Function {
    /// What its row says; `None` is NULL.
    fn said(&self, column: &str) -> Option<String> {
        let text = FUNCTION_ROWS.as_ref()?.text(self.row, column);
        (text != "\\N").then(|| facts::unescaped(text))
    }

    /// Whether a call with so many arguments may be one of it.
    pub(crate) fn takes(&self, count: usize) -> bool {
        let defaults = FUNCTION_ROWS
            .as_ref()
            .map_or(0, |rows| rows.number(self.row, "pronargdefaults"));
        let most = self.arguments.len();
        self.variadic != 0 || (count <= most && count + defaults as usize >= most)
    }

    /// Whether operators, casts or types are made of it, which are used without its name.
    pub(crate) fn is_behind_others(&self) -> bool {
        static REFERRED: LazyLock<HashSet<u32>> = LazyLock::new(super::relations::referred_functions);
        REFERRED.contains(&self.oid)
    }

    pub(crate) fn is_procedure(&self) -> bool {
        self.is("prokind", "p")
    }

    fn is(&self, column: &str, value: &str) -> bool {
        let rows = FUNCTION_ROWS.as_ref();
        rows.is_some_and(|rows| rows.text(self.row, column) == value)
    }
}

pub(crate) fn function(oid: u32) -> Option<&'static Function> {
    FUNCTIONS.get(*FUNCTIONS_BY_OID.get(&oid)?)
}

/// Those of a name.
pub(crate) fn functions_named(name: &str) -> impl Iterator<Item = &'static Function> + use<'_> {
    FUNCTIONS.iter().filter(move |function| function.name == name)
}

/// What the functions of a name call their arguments, of those that take in all they name.
pub(crate) fn argument_names(name: &str) -> impl Iterator<Item = Vec<&'static str>> + use<'_> {
    let plain = functions_named(name).filter(|function| function.all_arguments.is_empty() && function.variadic == 0);
    plain.filter_map(|function| {
        let names = function.names.strip_prefix('{')?.strip_suffix('}')?;
        Some(names.split(',').collect())
    })
}

/// The name as SQL must write it.
fn quoted(name: &str) -> String {
    quote_identifier(name).to_string()
}

impl CatalogView {
    pub(crate) fn new(image: Arc<Image>, roles: Arc<Roles>, path: Vec<String>) -> Self {
        Self { image, roles, path }
    }

    /// The role that asks.
    pub(crate) fn user(&self) -> &Named {
        &self.roles.user
    }

    /// The number of the role that is called just this.
    pub(crate) fn role_named(&self, name: &str) -> Result<u32> {
        self.roles.named(name).map(|role| role.oid).ok_or_else(|| {
            let message = format!("role \"{name}\" does not exist");
            Error::new(ErrorKind::UndefinedObject, message)
        })
    }

    /// The number of the schema that is called just this.
    pub(crate) fn schema_named(&self, name: &str) -> Result<u32> {
        self.image.schema_oid(name).ok_or_else(|| {
            let message = format!("schema \"{name}\" does not exist");
            Error::new(ErrorKind::UndefinedSchema, message)
        })
    }

    /// What stands for an object number of this type in text; the number itself when there is no such object.
    pub(crate) fn shown(&self, ty: SystemType, oid: u32) -> String {
        if oid == 0 {
            return "-".to_owned();
        }
        let name = match ty {
            SystemType::RegClass => self.relation_name(oid),
            SystemType::RegType => Some(self.type_name(oid, None)).filter(|name| name != "???"),
            SystemType::RegNamespace => self.image.schema(oid).map(|name| quoted(&name)),
            SystemType::RegRole => self.roles.with_oid(oid).map(|role| quoted(&role.name)),
            SystemType::RegProc => function(oid).map(|function| quoted(function.name)),
            SystemType::RegProcedure => function(oid).map(|function| {
                let arguments: Vec<String> = function.arguments.iter().map(|ty| self.type_name(*ty, None)).collect();
                format!("{}({})", quoted(function.name), arguments.join(","))
            }),
            SystemType::RegOper => dumped_name("pg_operator", "oprname", oid),
            SystemType::RegOperator => self.operator(oid),
            SystemType::RegCollation => dumped_name("pg_collation", "collname", oid).map(|name| quoted(&name)),
            _ => None,
        };
        name.unwrap_or_else(|| oid.to_string())
    }

    /// The object number a text of this type means.
    pub(crate) fn number(&self, ty: SystemType, text: &str) -> Result<u32> {
        let found = self.look_up(ty, text)?;
        found.ok_or_else(|| {
            let parts = split_name(text).map(|parts| parts.join("."));
            let name = parts.as_deref().unwrap_or(text);
            match ty {
                SystemType::RegClass => {
                    Error::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"))
                }
                SystemType::RegType => {
                    Error::new(ErrorKind::UndefinedObject, format!("type \"{name}\" does not exist"))
                }
                SystemType::RegNamespace => {
                    Error::new(ErrorKind::UndefinedSchema, format!("schema \"{name}\" does not exist"))
                }
                SystemType::RegRole => {
                    Error::new(ErrorKind::UndefinedObject, format!("role \"{name}\" does not exist"))
                }
                SystemType::RegProc | SystemType::RegProcedure => Error::new(
                    ErrorKind::UndefinedFunction,
                    format!("function \"{text}\" does not exist"),
                ),
                SystemType::RegCollation => Error::new(
                    ErrorKind::UndefinedObject,
                    format!("collation \"{name}\" for encoding \"UTF8\" does not exist"),
                ),
                _ => Error::new(ErrorKind::UndefinedFunction, format!("operator does not exist: {text}")),
            }
        })
    }

    /// As [`CatalogView::number`]; `None` when there is no such object.
    pub(crate) fn look_up(&self, ty: SystemType, text: &str) -> Result<Option<u32>> {
        Ok(match ty {
            SystemType::RegClass => {
                let parts = split_name(text)?;
                match qualified(&parts, &self.image.database.name, "relation name")? {
                    (None, name) => {
                        let mut path = self.path.iter().filter(|schema| self.may_use(schema));
                        path.find_map(|schema| self.relation_in(schema, name))
                    }
                    (Some(schema), _) if !self.may_use(schema) => return Err(denied("schema", schema)),
                    (Some(schema), name) => self.relation_in(schema, name),
                }
            }
            SystemType::RegType => self.type_named(text)?,
            SystemType::RegNamespace => match split_name(text)?.as_slice() {
                [name] => self.image.schema_oid(name),
                _ => return Err(invalid_name()),
            },
            SystemType::RegRole => match split_name(text)?.as_slice() {
                [name] => self.roles.named(name).map(|role| role.oid),
                _ => return Err(invalid_name()),
            },
            SystemType::RegProc => {
                let parts = split_name(text)?;
                let Some(name) = in_catalog(&parts) else {
                    return Ok(None);
                };
                let mut named = functions_named(name);
                match (named.next(), named.next()) {
                    (Some(only), None) => Some(only.oid),
                    (Some(_), Some(_)) => {
                        let message = format!("more than one function named \"{text}\"");
                        return Err(Error::new(ErrorKind::AmbiguousFunction, message));
                    }
                    _ => None,
                }
            }
            SystemType::RegProcedure => {
                let Some((name, arguments)) = text.trim().strip_suffix(')').and_then(|text| text.split_once('('))
                else {
                    return Err(Error::new(
                        ErrorKind::InvalidTextRepresentation,
                        "expected a left parenthesis",
                    ));
                };
                let parts = split_name(name)?;
                let Some(name) = in_catalog(&parts) else {
                    return Ok(None);
                };
                let mut types = Vec::new();
                for argument in arguments
                    .split(',')
                    .map(str::trim)
                    .filter(|argument| !argument.is_empty())
                {
                    let Some(oid) = self.type_named(argument)? else {
                        return Ok(None);
                    };
                    types.push(oid);
                }
                functions_named(name)
                    .find(|function| function.arguments == types)
                    .map(|function| function.oid)
            }
            SystemType::RegCollation => {
                let parts = split_name(text)?;
                let Some(rows) = DumpedRows::of("pg_collation") else {
                    return Ok(None);
                };
                in_catalog(&parts).and_then(|name| {
                    let found = (0..rows.len()).find(|row| rows.text(*row, "collname") == name);
                    found.map(|row| rows.number(row, "oid"))
                })
            }
            SystemType::RegOper | SystemType::RegOperator => {
                return Err(Error::unsupported(format!(
                    "input of type {} is not supported",
                    ty.name()
                )));
            }
            _ => None,
        })
    }

    /// Whether the role may know what is in a schema.
    fn may_use(&self, schema: &str) -> bool {
        if self.roles.authority.is_superuser() || !self.image.schemas.iter().any(|known| known.name == schema) {
            return true;
        }
        let rights = self.roles.of_schema(&self.image.database.name, schema);
        self.roles.authority.may(&rights, ObjectKind::Schema, Privileges::USAGE)
    }

    fn relation_in(&self, schema: &str, name: &str) -> Option<u32> {
        if let Some(system) = facts::relation(schema, name) {
            return Some(system.oid);
        }
        let schema = match schema {
            "pg_temp" => self.image.temporary_schema.as_deref()?,
            other => other,
        };
        let found = self.image.relation_named(schema, name).map(|relation| relation.oid);
        found.or_else(|| self.image.index_named(schema, name))
    }

    /// As `regclass` prints it: with its schema where the path does not lead to it.
    pub(crate) fn relation_name(&self, oid: u32) -> Option<String> {
        let (schema, name) = self.relation_parts(oid)?;
        Some(match self.relation_is_visible(oid) {
            Some(true) => quoted(&name),
            _ => format!("{}.{}", quoted(&schema), quoted(&name)),
        })
    }

    /// Schema and name of a relation, a system's too.
    pub(crate) fn relation_parts(&self, oid: u32) -> Option<(String, String)> {
        if let Some(relation) = self.image.relation(oid) {
            return Some((relation.schema.name.clone(), relation.name.clone()));
        }
        if let Some((relation, index)) = self.image.index(oid) {
            return Some((relation.schema.name.clone(), index.name.clone()));
        }
        let system = system_relation(oid)?;
        Some((system.schema.to_owned(), system.name.to_owned()))
    }

    /// Whether the path leads to it; `None` when there is no such relation.
    pub(crate) fn relation_is_visible(&self, oid: u32) -> Option<bool> {
        let (_, name) = self.relation_parts(oid)?;
        let mut found = self.path.iter().filter_map(|schema| self.relation_in(schema, &name));
        Some(found.next() == Some(oid))
    }

    /// Whether the path leads to a type; `None` when there is no such type.
    pub(crate) fn type_is_visible(&self, oid: u32) -> Option<bool> {
        match facts::type_with_oid(oid) {
            Some(ty) => {
                let schema = self.image.schema(ty.schema)?;
                Some(self.path.contains(&schema))
            }
            None => self.relation_is_visible(self.image.with_type(oid)?.oid),
        }
    }

    /// The comment on an object; of one of its columns, if there is one of that number.
    pub(crate) fn comment(&self, oid: u32, catalog: Option<&str>, number: i32) -> Option<String> {
        if let Some(relation) = self.image.relation(oid) {
            if catalog.is_some_and(|catalog| catalog != "pg_class") {
                return None;
            }
            return match number {
                0 => relation.comment.clone(),
                _ => relation.column(i16::try_from(number).ok()?)?.comment.clone(),
            };
        }
        if let Some((_, key)) = self.image.constraint(oid) {
            let is_asked = number == 0 && catalog.is_none_or(|catalog| catalog == "pg_constraint");
            return key.comment.clone().filter(|_| is_asked);
        }
        if let Some((_, index)) = self.image.index(oid) {
            let is_asked = number == 0 && catalog.is_none_or(|catalog| catalog == "pg_class");
            return index.comment.clone().filter(|_| is_asked);
        }
        let class = catalog.map(|name| facts::relation("pg_catalog", name).map(|relation| relation.oid));
        let rows = DESCRIPTIONS.get(&(oid, number))?;
        let found = match class {
            Some(class) => rows.iter().find(|(known, _)| Some(*known) == class),
            None => rows.first(),
        };
        found.map(|(_, text)| (*text).to_owned())
    }

    /// The type with a name of SQL or of the catalog.
    fn type_named(&self, text: &str) -> Result<Option<u32>> {
        let name = TypeName::parse(text)?;
        let found = match qualified(&name.parts, &self.image.database.name, "qualified name")? {
            (None, name) => self.path.iter().find_map(|schema| self.type_in(schema, name)),
            (Some(schema), name) => self.type_in(schema, name),
        };
        Ok(match found {
            Some(oid) if name.is_array => match self.image.with_type(oid) {
                Some(relation) => (relation.row_type == oid).then_some(relation.array_type),
                None => facts::type_with_oid(oid).map(|ty| ty.array).filter(|array| *array != 0),
            },
            found => found,
        })
    }

    fn type_in(&self, schema: &str, name: &str) -> Option<u32> {
        let schema_oid = self.image.schema_oid(schema)?;
        let system = facts::types()
            .iter()
            .find(|ty| ty.name == name && ty.schema == schema_oid);
        let found = system.map(|ty| ty.oid).or_else(|| {
            let row = |name: &str| self.image.relation_named(schema, name);
            // A relation may be called `_t` itself.
            let of_row = row(name).map(|relation| relation.row_type);
            of_row.or_else(|| row(name.strip_prefix('_')?).map(|relation| relation.array_type))
        });
        found.filter(|oid| *oid != 0)
    }

    /// `format_type`
    pub(crate) fn type_name(&self, oid: u32, modifier: Option<i32>) -> String {
        if oid == 0 {
            return "-".to_owned();
        }
        if let Some(ty) = facts::type_with_oid(oid) {
            if ty.is_array {
                return format!("{}[]", self.type_name(ty.element, modifier));
            }
            if ty.schema != CATALOG_SCHEMA {
                let schema = self.image.schema(ty.schema).unwrap_or_default();
                return format!("{}.{}", quoted(&schema), quoted(ty.name));
            }
            return sql_name(ty.oid, ty.name, modifier.unwrap_or(-1), modifier.is_some());
        }
        match self.image.with_type(oid) {
            Some(relation) => {
                let visible = self.relation_is_visible(relation.oid) == Some(true);
                let name = match visible {
                    true => quoted(&relation.name),
                    false => format!("{}.{}", quoted(&relation.schema.name), quoted(&relation.name)),
                };
                if relation.array_type == oid {
                    format!("{name}[]")
                } else {
                    name
                }
            }
            None => "???".to_owned(),
        }
    }

    fn operator(&self, oid: u32) -> Option<String> {
        let rows = DumpedRows::of("pg_operator")?;
        let row = (0..rows.len()).find(|row| rows.number(*row, "oid") == oid)?;
        let side = |column| match rows.number(row, column) {
            0 => "NONE".to_owned(),
            oid => self.type_name(oid, None),
        };
        Some(format!(
            "{}({},{})",
            rows.text(row, "oprname"),
            side("oprleft"),
            side("oprright")
        ))
    }

    /// `pg_get_constraintdef`
    pub(crate) fn constraint_definition(&self, oid: u32, pretty: bool) -> Option<String> {
        let (relation, key) = self.image.constraint(oid)?;
        let own = column_list(relation, &key.columns);
        Some(match &key.kind {
            KeyKind::Check(expression) => {
                let printed = deparse::check(self, relation, expression, pretty);
                format!("CHECK {}", printed.unwrap_or_else(|| format!("({expression})")))
            }
            KeyKind::Primary => format!("PRIMARY KEY ({own})"),
            KeyKind::Unique => format!("UNIQUE ({own})"),
            KeyKind::Foreign { table, columns, .. } => {
                let named = self
                    .image
                    .referred(key)
                    .and_then(|(other, numbers)| Some((self.relation_name(other.oid)?, column_list(other, &numbers))));
                let (other, columns) = named.unwrap_or_else(|| {
                    let columns: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
                    (format!("{}.{}", quoted(&table.0), quoted(&table.1)), columns.join(", "))
                });
                let (restricts_update, restricts_delete) = key.kind.restricts();
                let mut text = format!("FOREIGN KEY ({own}) REFERENCES {other}({columns})");
                if restricts_update {
                    text += " ON UPDATE RESTRICT";
                }
                if restricts_delete {
                    text += " ON DELETE RESTRICT";
                }
                text
            }
        })
    }

    /// The constraint that has an index of this name, and its table.
    pub(crate) fn key_of_index(&self, schema: &str, name: &str) -> Option<(String, String)> {
        let (relation, index) = self.image.index(self.image.index_named(schema, name)?)?;
        index.constraint?;
        Some((index.name.clone(), relation.name.clone()))
    }

    /// `pg_get_indexdef`; of one of its columns, if that is asked.
    pub(crate) fn index_definition(&self, oid: u32, column: i32, short: bool) -> Option<String> {
        let (relation, index) = self.image.index(oid)?;
        if column > 0 {
            let column = usize::try_from(column - 1).ok().and_then(|at| index.columns.get(at));
            return Some(column.map(|column| index_term(column, short)).unwrap_or_default());
        }
        let table = match short {
            true => self.relation_name(relation.oid)?,
            false => format!("{}.{}", quoted(&relation.schema.name), quoted(&relation.name)),
        };
        let unique = if index.is_unique { "UNIQUE " } else { "" };
        let (name, method) = (quoted(&index.name), index.method.name);
        let keys: Vec<String> = index.keys().iter().map(|key| index_key(index, key, short)).collect();
        let mut text = format!(
            "CREATE {unique}INDEX {name} ON {table} USING {method} ({})",
            keys.join(", ")
        );
        let included = index.columns.get(index.key_count..).unwrap_or_default().iter();
        let included: Vec<String> = included.map(|column| index_term(column, short)).collect();
        if !included.is_empty() {
            text += &format!(" INCLUDE ({})", included.join(", "));
        }
        if index.nulls_are_equal {
            text += " NULLS NOT DISTINCT";
        }
        let parameters = index.parameters.iter();
        let parameters: Vec<String> = parameters
            .map(|(name, value)| match quoted(value) == *value {
                true => format!("{}={value}", quoted(name)),
                false => format!("{}='{}'", quoted(name), value.replace('\'', "''")),
            })
            .collect();
        if !parameters.is_empty() {
            text += &format!(" WITH ({})", parameters.join(", "));
        }
        if let Some(predicate) = &index.predicate {
            let predicate = match short {
                true => predicate.text.clone(),
                false => predicate.in_parentheses(),
            };
            text += &format!(" WHERE {predicate}");
        }
        Some(text)
    }

    /// `pg_get_viewdef`
    pub(crate) fn view_definition(&self, oid: u32, pretty: bool) -> Option<String> {
        let relation = self.image.relation(oid)?;
        match &relation.kind {
            Kind::View { sql, .. } => deparse::view(self, relation, pretty)
                .or_else(|| Some(format!("{};", sql.trim_end().trim_end_matches(';')))),
            Kind::MaterializedView { sql, .. } => Some(format!("{};", sql.trim_end().trim_end_matches(';'))),
            _ => None,
        }
    }

    /// `pg_get_functiondef`: the statement that would make one of PostgreSQL's functions there.
    pub(crate) fn function_definition(&self, oid: u32) -> Result<Option<String>> {
        let Some(function) = function(oid) else {
            return Ok(None);
        };
        let said = |column: &str| function.said(column).unwrap_or_default();
        let (kind, language) = (said("prokind"), said("prolang"));
        if kind == "a" {
            let message = format!("\"{}\" is an aggregate function", function.name);
            return Err(Error::new(ErrorKind::WrongObjectType, message));
        }
        let language = dumped_name("pg_language", "lanname", language.parse().unwrap_or_default()).unwrap_or_default();
        let schema = self.image.schema(said("pronamespace").parse().unwrap_or_default());
        let mut text = format!(
            "CREATE OR REPLACE FUNCTION {}.{}({})\n RETURNS {}\n LANGUAGE {language}\n",
            quoted(&schema.unwrap_or_default()),
            quoted(function.name),
            self.function_arguments(oid).unwrap_or_default(),
            self.function_result(oid).unwrap_or_default(),
        );
        let (cost, rows) = (said("procost"), said("prorows"));
        let usual_cost = if language == "sql" { "100" } else { "1" };
        let usual_rows = if function.returns_set { "1000" } else { "0" };
        let options = [
            (kind == "w").then(|| "WINDOW".to_owned()),
            function.is("provolatile", "i").then(|| "IMMUTABLE".to_owned()),
            function.is("provolatile", "s").then(|| "STABLE".to_owned()),
            function.is("proparallel", "s").then(|| "PARALLEL SAFE".to_owned()),
            function
                .is("proparallel", "r")
                .then(|| "PARALLEL RESTRICTED".to_owned()),
            function.is("proisstrict", "t").then(|| "STRICT".to_owned()),
            function.is("proleakproof", "t").then(|| "LEAKPROOF".to_owned()),
            (cost != usual_cost).then(|| format!("COST {cost}")),
            (rows != usual_rows).then(|| format!("ROWS {rows}")),
            function.said("support").map(|name| format!("SUPPORT {name}")),
        ];
        let options: Vec<String> = options.into_iter().flatten().collect();
        if !options.is_empty() {
            text += &format!(" {}\n", options.join(" "));
        }
        text += &match function.said("sqlbody") {
            Some(body) => format!("{body}\n"),
            None => format!("AS $function${}$function$\n", said("prosrc")),
        };
        Ok(Some(text))
    }

    /// `pg_get_function_sqlbody`
    pub(crate) fn function_body(&self, oid: u32) -> Option<String> {
        function(oid)?.said("sqlbody")
    }

    /// `pg_get_function_arguments`
    pub(crate) fn function_arguments(&self, oid: u32) -> Option<String> {
        let with_defaults = function(oid)?.said("arguments");
        with_defaults.or_else(|| self.function_identity(oid))
    }

    /// `pg_get_function_identity_arguments`
    pub(crate) fn function_identity(&self, oid: u32) -> Option<String> {
        let function = function(oid)?;
        let words = |text: &'static str| -> Vec<&'static str> {
            let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
            inner.map(|inner| inner.split(',').collect()).unwrap_or_default()
        };
        let (names, modes) = (words(function.names), words(function.modes));
        let types = if function.all_arguments.is_empty() {
            &function.arguments
        } else {
            &function.all_arguments
        };
        let shown = types.iter().enumerate().filter_map(|(at, ty)| {
            let mode = match modes.get(at).copied() {
                Some("o") => "OUT ",
                Some("b") => "INOUT ",
                Some("v") => "VARIADIC ",
                // Columns of a table are its result.
                Some("t") => return None,
                _ if at + 1 == types.len() && function.variadic != 0 => "VARIADIC ",
                _ => "",
            };
            let name = names.get(at).filter(|name| !name.is_empty() && **name != "\"\"");
            let name = name.map(|name| format!("{} ", quoted(name))).unwrap_or_default();
            Some(format!("{mode}{name}{}", self.type_name(*ty, None)))
        });
        Some(shown.collect::<Vec<_>>().join(", "))
    }

    /// `pg_get_function_result`
    pub(crate) fn function_result(&self, oid: u32) -> Option<String> {
        let function = function(oid)?;
        let result = self.type_name(function.result, None);
        Some(if function.returns_set {
            format!("SETOF {result}")
        } else {
            result
        })
    }
}

fn column_list(relation: &Relation, numbers: &[i16]) -> String {
    let names = numbers
        .iter()
        .filter_map(|number| relation.column(*number))
        .map(|column| quoted(&column.name));
    names.collect::<Vec<_>>().join(", ")
}

/// A system relation by its number.
pub(crate) fn system_relation(oid: u32) -> Option<&'static facts::SystemRelation> {
    let all = facts::relations();
    let at = all.binary_search_by_key(&oid, |relation| relation.oid).ok()?;
    all.get(at)
}

fn dumped_name(relation: &str, column: &str, oid: u32) -> Option<String> {
    let rows = DumpedRows::of(relation)?;
    let row = (0..rows.len()).find(|row| rows.number(*row, "oid") == oid)?;
    Some(rows.text(row, column).to_owned())
}

/// The name of an object of `pg_catalog`.
fn in_catalog(parts: &[String]) -> Option<&str> {
    match parts {
        [name] => Some(name),
        [schema, name] if schema == "pg_catalog" => Some(name),
        _ => None,
    }
}

/// What `format_type` calls a type of `pg_catalog`.
fn sql_name(oid: u32, name: &str, modifier: i32, with_modifier: bool) -> String {
    let length = |name: &str| match modifier {
        0.. => format!("{name}({})", modifier - 4),
        _ => name.to_owned(),
    };
    let precise = |name: &str, zone: &str| match modifier {
        0.. => format!("{name}({modifier}) {zone}"),
        _ => format!("{name} {zone}"),
    };
    match oid {
        16 => "boolean".to_owned(),
        18 => "\"char\"".to_owned(),
        20 => "bigint".to_owned(),
        21 => "smallint".to_owned(),
        23 => "integer".to_owned(),
        700 => "real".to_owned(),
        701 => "double precision".to_owned(),
        1042 if with_modifier && modifier == -1 => "bpchar".to_owned(),
        1042 => length("character"),
        1043 => length("character varying"),
        1083 => precise("time", "without time zone"),
        1114 => precise("timestamp", "without time zone"),
        1184 => precise("timestamp", "with time zone"),
        1186 => Rounding::of_modifier(modifier, &SqlType::Interval).map_or_else(
            || "interval".to_owned(),
            |rounding| SqlType::Rounded(Box::new(SqlType::Interval), rounding).to_string(),
        ),
        1266 => "time with time zone".to_owned(),
        1560 => "bit".to_owned(),
        1700 if modifier < 4 => "numeric".to_owned(),
        1562 => "bit varying".to_owned(),
        1700 if modifier >= 4 => {
            let bits = modifier - 4;
            let scale = ((bits & 0x7ff) ^ 1024) - 1024;
            format!("numeric({},{scale})", (bits >> 16) & 0xffff)
        }
        _ => quoted(name),
    }
}

/// All schemas there are.
pub(crate) fn all_schemas(image: &Image) -> Vec<(u32, String)> {
    let own = image.schemas.iter().map(|schema| (schema.oid, schema.name.clone()));
    own.chain(system_schemas().map(|(oid, name)| (oid, name.to_owned())))
        .collect()
}

/// What a column of an index is of. An operator is in parentheses, and where these are not spared, in two pairs.
fn index_term(column: &IndexColumn, short: bool) -> String {
    let Some(expression) = &column.expression else {
        return quoted(&column.name);
    };
    let text = expression.in_parentheses();
    match short || text == expression.text {
        true => text,
        false => format!("({text})"),
    }
}

/// A key with what it says beyond its column.
fn index_key(index: &ShownIndex, key: &IndexColumn, short: bool) -> String {
    let mut text = index_term(key, short);
    if let Some(collation) = &key.collation_name {
        text += &format!(" COLLATE {}", quoted(collation));
    }
    if let Some(class) = &key.class_name {
        text += &format!(" {}", quoted(class));
    }
    if index.method.is_ordered {
        text += match (key.is_descending(), key.has_nulls_first()) {
            (false, false) => "",
            (false, true) => " NULLS FIRST",
            (true, true) => " DESC",
            (true, false) => " DESC NULLS LAST",
        };
    }
    text
}
