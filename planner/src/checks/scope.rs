//! Which columns a name can mean, and what PostgreSQL says where it means none.

use std::ops::ControlFlow;

use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::sql::sqlparser::ast::{Expr, Function, Ident, ObjectName, Query, Visitor};
use datafusion::sql::sqlparser::tokenizer::Location;
use staffa_catalog::{SqlType, Table};

use super::windows::Named;
use super::{Checker, Type};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::is_reserved;
use crate::resolve::{Relations, fold};
use crate::statement::change::TARGET;
use crate::types::sql_type;
use crate::value::type_oid;
use crate::walk::Visit;

/// Names and types; a name that is not sure is `None`. `None` in all: not known here.
pub(super) type Columns = Option<Vec<(Option<String>, Type)>>;

/// Names that differ by more letters are not meant.
const DISTANCE_MAX: usize = 3;
/// Columns every table has.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
/// What the grammar reads as a call.
const CALLS: &[&str] = &[
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "current_user",
    "session_user",
    "user",
    "current_role",
    "current_catalog",
    "current_schema",
    "default",
];

#[derive(Debug)]
pub(super) struct Relation {
    pub(super) alias: String,
    /// Its own name, where it is a table or a view.
    pub(super) table: Option<String>,
    pub(super) columns: Columns,
}

impl Relation {
    /// One whose columns are not known.
    pub(super) fn opaque(alias: String) -> Self {
        Self {
            alias,
            table: None,
            columns: None,
        }
    }

    /// The table of an INSERT.
    pub(super) fn target(table: &Table) -> Self {
        let columns = table.schema().columns.iter();
        Self {
            alias: table.name().name.clone(),
            table: None,
            columns: Some(columns.map(|column| (Some(column.name.clone()), None)).collect()),
        }
    }

    /// The types of the columns of this name; an error stands for what is not known.
    pub(super) fn named(&self, name: &str) -> Result<Vec<Type>, ()> {
        let columns = self.columns.as_ref().ok_or(())?;
        let named = columns.iter().filter(|(known, _)| known.as_deref() == Some(name));
        let types: Vec<Type> = named.map(|(_, ty)| *ty).collect();
        let all_named = columns.iter().all(|(name, _)| name.is_some());
        if types.is_empty() && !all_named {
            Err(())
        } else {
            Ok(types)
        }
    }
}

/// The relations of one query.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) relations: Vec<Relation>,
    /// Those before are no part of the join, or must not be named here.
    pub(super) first_visible: usize,
    /// The first of the relations that stand on the other side of an outer join which lets nothing from there through.
    pub(super) beyond_join: Option<usize>,
    /// The columns that USING and NATURAL make one of.
    pub(super) merged: Vec<String>,
    pub(super) windows: Vec<Named>,
    /// Where its SELECT stands.
    pub(super) select: Option<Location>,
    /// Whether the place is in its FROM.
    pub(super) in_from: bool,
    /// The clause and the aggregate that the query further in stands in, as in [`Checker`].
    pub(super) clause: Option<&'static str>,
    pub(super) aggregate: bool,
}

impl Level {
    pub(super) fn add(&mut self, relation: Relation) {
        self.relations.push(relation);
    }

    fn visible(&self) -> &[Relation] {
        self.relations.get(self.first_visible..).unwrap_or_default()
    }

    /// Whether a name is one of its relations or columns, for all that is known.
    pub(super) fn knows(&self, name: &str) -> bool {
        let may_have = |relation: &Relation| !matches!(relation.named(name), Ok(types) if types.is_empty());
        let mut relations = self.relations.iter();
        relations.any(|relation| relation.alias == name || may_have(relation))
    }

    /// The relation of each column of `*`, as far as all are known.
    pub(super) fn aliases(&self) -> Vec<String> {
        let mut all = Vec::new();
        for relation in &self.relations {
            let Some(columns) = &relation.columns else {
                return Vec::new();
            };
            all.extend(columns.iter().map(|_| relation.alias.clone()));
        }
        all
    }

    /// The relation whose column a bare name is.
    pub(super) fn only_alias(&self, name: &str) -> Option<String> {
        let mut found = self.relations.iter().filter(|relation| match relation.named(name) {
            Ok(types) => !types.is_empty(),
            Err(()) => true,
        });
        match (found.next(), found.next()) {
            (Some(one), None) => Some(one.alias.clone()),
            _ => None,
        }
    }

    /// Whether two relations are called the same, which is the mistake then.
    fn has_namesakes(&self) -> bool {
        let all = self.visible();
        let mut namesakes = all
            .iter()
            .enumerate()
            .flat_map(|(at, one)| all[..at].iter().map(move |other| (one, other)));
        namesakes.any(|(one, other)| one.alias == other.alias)
    }

    /// What `*` stands for.
    pub(super) fn columns(&self) -> Columns {
        let mut all = Vec::new();
        for relation in &self.relations {
            all.extend(relation.columns.clone()?);
        }
        Some(all)
    }
}

/// Whether the grammar reads a name as a call.
pub(super) fn is_call(ident: &Ident) -> bool {
    ident.quote_style.is_none() && CALLS.contains(&fold(ident).as_str())
}

/// The type of what the grammar reads as a call, of those that are reckoned with.
pub(super) fn type_of_call(name: &str) -> Type {
    match name {
        "current_date" => Some(1082),
        "current_timestamp" => Some(1184),
        "localtimestamp" => Some(1114),
        "localtime" => Some(1083),
        _ => None,
    }
}

/// Whether the grammar keeps a word to itself, and does not read it as a call.
fn is_reserved_name(word: &str) -> bool {
    is_reserved(word) && !CALLS.contains(&word)
}

/// The columns of a table or view that was loaded. Types of PostgreSQL's own catalogs are let through.
pub(super) fn columns_of(relations: &Relations, name: &ObjectName) -> Columns {
    let fields = relations.fields(name)?;
    let column = |field: &arrow::datatypes::FieldRef| {
        let ty = match sql_type(field) {
            SqlType::System(_) | SqlType::Struct(_) => None,
            SqlType::Array(element) if matches!(*element, SqlType::System(_) | SqlType::Struct(_)) => None,
            // A bare `bpchar` is text here.
            SqlType::Char(_) => Some(1042),
            ty => Some(type_oid(&ty)),
        };
        (Some(field.name().clone()), ty)
    };
    Some(fields.iter().map(column).collect())
}

/// The name of the table itself, where a statement reads what it changes by another.
pub(super) fn own_name(relations: &Relations, name: &ObjectName) -> Option<String> {
    let is_target = matches!(name.0.as_slice(), [part] if part.as_ident().is_some_and(|part| part.value == TARGET));
    is_target.then(|| relations.table_called(name))?
}

impl Checker<'_> {
    /// A relation cannot be called by a word of the grammar without quotes.
    pub(super) fn check_relation_name(&self, name: &ObjectName) -> Result<()> {
        let ident = name.0.first().and_then(|part| part.as_ident());
        match ident.filter(|ident| ident.quote_style.is_none() && is_reserved_name(&fold(ident))) {
            Some(ident) => {
                let message = format!("syntax error at or near \"{}\"", ident.value);
                Err(self.places.at(Error::new(ErrorKind::SyntaxError, message), ident))
            }
            None => Ok(()),
        }
    }

    /// The type of a column named without its table.
    pub(super) fn column(&self, ident: &Ident) -> Result<Type> {
        let name = fold(ident);
        if is_call(ident) {
            return Ok(type_of_call(&name));
        }
        for level in self.levels.iter().rev() {
            let mut found = Vec::new();
            let mut is_sure = true;
            for relation in level.visible() {
                match relation.named(&name) {
                    Ok(types) => found.extend(types),
                    Err(()) => is_sure = false,
                }
            }
            match found.as_slice() {
                [] if is_sure => {}
                [ty] => {
                    let mut all = level.visible().iter();
                    if let Some(relation) =
                        all.find(|relation| relation.named(&name).is_ok_and(|types| !types.is_empty()))
                    {
                        self.check_side(level, relation, ident)?;
                    }
                    return Ok(*ty);
                }
                [_, _, ..] if is_sure && !level.merged.contains(&name) && !level.has_namesakes() => {
                    let message = format!("column reference \"{name}\" is ambiguous");
                    let error = Error::new(ErrorKind::AmbiguousColumn, message);
                    return Err(self.places.at(error, ident));
                }
                _ => return Ok(None),
            }
        }
        let is_row = self.relation_named(&name).is_some();
        if is_row || SYSTEM_COLUMNS.contains(&name.as_str()) {
            return Ok(None);
        }
        let error = Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist"));
        Err(self.places.at(self.with_near(error, None, &name), ident))
    }

    /// The type of `table.column`.
    pub(super) fn qualified(&self, table: &Ident, column: &Ident) -> Result<Type> {
        let (alias, name) = (fold(table), fold(column));
        let Some(relation) = self.relation_named(&alias) else {
            // Only a column that may be a struct has parts without parentheses around it.
            let may_have_parts = |relation: &Relation| match relation.named(&alias) {
                Ok(types) => types.iter().any(Option::is_none),
                Err(()) => true,
            };
            if self.levels.iter().flat_map(|level| level.visible()).any(may_have_parts) {
                return Ok(None);
            }
            return Err(self.missing_relation(table));
        };
        for level in &self.levels {
            self.check_side(level, relation, table)?;
        }
        match relation.named(&name).as_deref() {
            Ok([]) if SYSTEM_COLUMNS.contains(&name.as_str()) => Ok(None),
            Ok([]) => {
                let message = format!("column {alias}.{name} does not exist");
                let error = Error::new(ErrorKind::UndefinedColumn, message);
                Err(self.places.at(self.with_near(error, Some(&alias), &name), table))
            }
            Ok([ty]) => Ok(*ty),
            Ok(_) => {
                let message = format!("column reference \"{name}\" is ambiguous");
                Err(self.places.at(Error::new(ErrorKind::AmbiguousColumn, message), table))
            }
            Err(()) => Ok(None),
        }
    }

    /// A term of FROM cannot name what an outer join may have no row of.
    fn check_side(&self, level: &Level, relation: &Relation, ident: &Ident) -> Result<()> {
        let beyond = level.beyond_join.and_then(|first| level.relations.get(first..));
        if !beyond.is_some_and(|beyond| beyond.iter().any(|other| std::ptr::eq(other, relation))) {
            return Ok(());
        }
        let message = format!(
            "invalid reference to FROM-clause entry for table \"{}\"",
            relation.alias
        );
        let error = Error::new(ErrorKind::InvalidColumnReference, message)
            .with_detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference.");
        Err(self.places.at(error, ident))
    }

    /// The query around this one that an aggregate belongs to: the innermost of those whose columns it names. None where it is this
    /// one, or not known.
    pub(super) fn owner(&self, call: &Function) -> Option<usize> {
        struct Innermost<'c> {
            checker: &'c Checker<'c>,
            level: Option<usize>,
        }
        impl Visitor for Innermost<'_> {
            type Break = ();

            fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
                ControlFlow::Break(())
            }

            fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
                let level = match expression {
                    Expr::Identifier(ident) if is_call(ident) => return ControlFlow::Continue(()),
                    Expr::Identifier(ident) => self.checker.level_of_column(&fold(ident)),
                    Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                        [table, _] => self.checker.level_of_relation(&fold(table)),
                        _ => None,
                    },
                    _ => return ControlFlow::Continue(()),
                };
                match level {
                    Some(level) => {
                        self.level = self.level.max(Some(level));
                        ControlFlow::Continue(())
                    }
                    None => ControlFlow::Break(()),
                }
            }
        }
        if self.levels.len() < 2 {
            return None;
        }
        let mut innermost = Innermost {
            checker: self,
            level: None,
        };
        match call.visit(&mut innermost) {
            ControlFlow::Continue(()) => innermost.level.filter(|level| level + 1 < self.levels.len()),
            ControlFlow::Break(()) => None,
        }
    }

    fn level_of_column(&self, name: &str) -> Option<usize> {
        for (at, level) in self.levels.iter().enumerate().rev() {
            for relation in level.visible() {
                match relation.named(name) {
                    Ok(types) if types.is_empty() => {}
                    Ok(_) => return Some(at),
                    Err(()) => return None,
                }
            }
        }
        self.level_of_relation(name)
    }

    fn level_of_relation(&self, alias: &str) -> Option<usize> {
        let has = |level: &Level| level.visible().iter().any(|relation| relation.alias == alias);
        self.levels.iter().rposition(has)
    }

    /// The relation that a name before a point means.
    pub(super) fn relation_named(&self, alias: &str) -> Option<&Relation> {
        let levels = self.levels.iter().rev();
        levels
            .flat_map(|level| level.visible())
            .find(|relation| relation.alias == alias)
    }

    pub(super) fn missing_relation(&self, ident: &Ident) -> Error {
        let name = fold(ident);
        let all = || self.levels.iter().rev().flat_map(|level| &level.relations);
        let invalid = || {
            let message = format!("invalid reference to FROM-clause entry for table \"{name}\"");
            Error::new(ErrorKind::UndefinedTable, message)
        };
        let error = if all().any(|relation| relation.alias == name) {
            invalid().with_hint(format!(
                "There is an entry for table \"{name}\", but it cannot be referenced from this part of the query."
            ))
        } else if let Some(relation) = all().find(|relation| relation.table.as_deref() == Some(&name)) {
            let hint = format!("Perhaps you meant to reference the table alias \"{}\".", relation.alias);
            invalid().with_hint(hint)
        } else {
            let message = format!("missing FROM-clause entry for table \"{name}\"");
            Error::new(ErrorKind::UndefinedTable, message)
        };
        self.places.at(error, ident)
    }

    /// Adds the columns that are spelt alike: `errorMissingColumn` of PostgreSQL.
    fn with_near(&self, error: Error, alias: Option<&str>, name: &str) -> Error {
        let mut best = DISTANCE_MAX + 1;
        let mut near: Vec<String> = Vec::new();
        let around = self.levels.iter().rev().flat_map(|level| &level.relations);
        for relation in around.chain(&self.target) {
            let penalty = alias.map_or(0, |alias| levenshtein(alias, &relation.alias));
            for (column, _) in relation.columns.iter().flatten() {
                let Some(column) = column else { continue };
                if column == name && penalty == 0 {
                    return error.with_hint(format!(
                        "There is a column named \"{name}\" in table \"{}\", but it cannot be referenced from this part of the query.",
                        relation.alias
                    ));
                }
                let letters = levenshtein(name, column);
                if letters > name.chars().count() / 2 {
                    continue;
                }
                let distance = letters + penalty;
                let shown = format!("column \"{}.{column}\"", relation.alias);
                if distance < best {
                    best = distance;
                    near = vec![shown];
                } else if distance == best && best <= DISTANCE_MAX {
                    near.push(shown);
                }
            }
        }
        match near.as_slice() {
            [one] => error.with_hint(format!("Perhaps you meant to reference the {one}.")),
            [one, other] => error.with_hint(format!("Perhaps you meant to reference the {one} or the {other}.")),
            _ => error,
        }
    }
}
