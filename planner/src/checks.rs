//! What PostgreSQL's parse analysis finds wrong in a query, in its words and at its places.
//!
//! The syntax tree is read as it was written, clause after clause in PostgreSQL's order: names are looked up, and operators,
//! functions and the types that must meet are chosen by PostgreSQL's catalogs (`signatures.rs`). What is not known here (a type,
//! the columns of a table function) is let through: planning has the last word. Nothing is changed, but what literals were read
//! as is handed on (`readings.rs`).

mod clauses;
mod definition;
mod expression;
mod forms;
mod place;
mod readings;
mod recursion;
mod scope;
mod signatures;
mod windows;

use std::cell::{Cell, RefCell};

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, Ident, Join, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, TableAlias, TableFactor, TableFunctionArgs, TableWithJoins,
    Visit,
};

use staffa_catalog::{Column, SqlType, Table};

use self::clauses::Output;
pub(crate) use self::definition::{column_options, definition};
pub(crate) use self::expression::signature;
use self::place::Places;
pub(crate) use self::readings::Readings;
use self::scope::{Columns, Level, Relation};
use self::signatures::{BIGINT, TEXT, UNKNOWN, can_assign, common_type, is_implicit, type_name};
pub(crate) use self::signatures::{is_aggregate, returns_set};
use crate::context::PlanContext;
use crate::error::{Error, ErrorKind, Result};
use crate::function::TextCasts;
use crate::resolve::{Relations, fold};
use crate::rewrite::{all_fields, gives_record, undefined_columns};
use crate::value::type_oid;

/// An OID; `None`: not known here.
type Type = Option<u32>;

/// Deeper parts of an expression are not looked at.
const DEPTH_MAX: usize = 100;

/// Finds the first mistake of a query; without one, what its literals are. The rows of VALUES may be stored in a table, each value
/// in its column. `parameters` are types that are given, not inferred.
pub(crate) fn query(
    context: &PlanContext,
    relations: &Relations,
    query: &Query,
    stored_in: Option<&Table>,
    parameters: &[Option<SqlType>],
    text: &str,
) -> Result<Readings> {
    let mut checker = Checker::new(context, relations, text)?;
    checker.parameters = parameters;
    checker.target = stored_in.map(Relation::target);
    checker.query(query, stored_in.is_none())?;
    Ok(checker.readings.into_inner())
}

/// Finds values that cannot be stored in their columns.
pub(crate) struct Assignments<'a> {
    checker: Checker<'a>,
}

impl<'a> Assignments<'a> {
    /// `relations` need not know those that the values name: what is not known is let through.
    /// `clause` names where they stand.
    pub(crate) fn new(
        context: &'a PlanContext,
        relations: &'a Relations,
        text: &'a str,
        clause: &'static str,
    ) -> Result<Self> {
        let mut checker = Checker::new(context, relations, text)?;
        checker.level().add(Relation::opaque(String::new()));
        checker.clause = Some(clause);
        Ok(Self { checker })
    }

    /// A literal must be one of the column's type.
    pub(crate) fn check_literal(&self, value: &Expr, column: &Column) -> Result<()> {
        match column.ty {
            SqlType::System(_) | SqlType::Struct(_) => Ok(()),
            _ => self.checker.literal(value, type_oid(&column.ty)),
        }
    }

    /// A literal must be one of the column's type, another value one that is cast on storing.
    pub(crate) fn check(&mut self, value: &Expr, column: &Column) -> Result<()> {
        self.checker.assigned(value, &column.name, &column.ty, "expression")
    }
}

/// Refuses aggregates, window functions and functions of rows where each row is computed alone.
pub(crate) fn row_by_row(items: &[SelectItem], clause: &str, text: &str) -> Result<()> {
    match items.iter().find_map(|item| clauses::computed(item, clause)) {
        Some((error, ident)) => Err(Places::new(text).at(error, &ident)),
        None => Ok(()),
    }
}

/// Whether the part itself (not a query in it) calls such a function.
pub(crate) fn has_call(part: &impl Visit, is_wanted: impl Fn(&Function, &str) -> bool) -> bool {
    clauses::find_call(part, is_wanted).is_some()
}

/// What messages call a type: without its modifiers.
pub(crate) fn type_called(ty: &SqlType) -> String {
    match ty {
        SqlType::Struct(_) | SqlType::Unknown => ty.to_string(),
        ty => type_name(type_oid(ty)),
    }
}

/// The error at a name.
pub(crate) fn at_ident(error: Error, ident: &Ident, text: &str) -> Error {
    Places::new(text).at(error, ident)
}

/// The error at the parenthesis around a list of names.
pub(crate) fn at_list(error: Error, ident: &Ident, text: &str) -> Error {
    Places::new(text).before(error, &Expr::Identifier(ident.clone()), &["("])
}

/// The error at what follows a name.
pub(crate) fn behind(error: Error, ident: &Ident, text: &str) -> Error {
    Places::new(text).behind(error, ident)
}

/// The error at the word before the last one of these.
pub(crate) fn before_word(error: Error, word: &str, text: &str) -> Error {
    Places::new(text).before_last(error, word)
}

/// Where an expression begins, in characters counted from 1.
pub(crate) fn position(expression: &Expr, text: &str) -> Option<usize> {
    Places::new(text).of(expression)
}

/// The error at an expression.
pub(crate) fn at(error: Error, expression: Option<&Expr>, text: &str) -> Error {
    Places::new(text).put(error, expression)
}

struct Checker<'a> {
    context: &'a PlanContext,
    relations: &'a Relations,
    places: Places<'a>,
    casts: TextCasts,
    /// The queries around the place, outermost first.
    levels: Vec<Level>,
    /// The names in `WITH`, outermost first.
    with: Vec<(String, Columns)>,
    /// The clause that does not take every kind of function, by the name messages give it.
    clause: Option<&'static str>,
    /// Whether the place is in the arguments of an aggregate.
    aggregate: bool,
    depth: Cell<usize>,
    parameters: &'a [Option<SqlType>],
    /// What an INSERT stores in: nothing can name its columns, but may have meant to.
    target: Option<Relation>,
    /// The query in WITH RECURSIVE whose first part comes next, by its place in `with`.
    recursive: Option<(usize, TableAlias)>,
    readings: RefCell<Readings>,
}

impl<'a> Checker<'a> {
    fn new(context: &'a PlanContext, relations: &'a Relations, text: &'a str) -> Result<Self> {
        Ok(Self {
            context,
            relations,
            places: Places::new(text),
            casts: TextCasts::of(context)?,
            levels: Vec::new(),
            with: Vec::new(),
            clause: None,
            aggregate: false,
            depth: Cell::new(0),
            parameters: &[],
            target: None,
            recursive: None,
            readings: RefCell::default(),
        })
    }

    /// The columns of a query. `unify`: the rows of VALUES become columns of one type.
    fn query(&mut self, query: &Query, unify: bool) -> Result<Columns> {
        let known = self.with.len();
        let outside = (self.clause.take(), std::mem::take(&mut self.aggregate));
        if let Some(level) = self.levels.last_mut() {
            (level.clause, level.aggregate) = outside;
        }
        let columns = self.query_inside(query, unify);
        (self.clause, self.aggregate) = outside;
        self.with.truncate(known);
        columns
    }

    fn query_inside(&mut self, query: &Query, unify: bool) -> Result<Columns> {
        let recursive = self.recursive.take();
        if let Some(with) = &query.with {
            for (at, cte) in with.cte_tables.iter().enumerate() {
                let name = fold(&cte.alias.name);
                if with.cte_tables[..at]
                    .iter()
                    .any(|other| fold(&other.alias.name) == name)
                {
                    let message = format!("WITH query name \"{name}\" specified more than once");
                    let error = Error::new(ErrorKind::DuplicateAlias, message);
                    return Err(self.places.at(error, &cte.alias.name));
                }
            }
            for cte in &with.cte_tables {
                let name = fold(&cte.alias.name);
                let known = self.with.len();
                if with.recursive {
                    recursion::check(cte, &self.places)?;
                    self.recursive = Some((known, cte.alias.clone()));
                    self.with.push((name.clone(), None));
                }
                let columns = self.query(&cte.query, true)?;
                self.with.truncate(known);
                if let Some(found) = columns.as_ref().map(Vec::len)
                    && found < cte.alias.columns.len()
                {
                    let given = cte.alias.columns.len();
                    let message =
                        format!("WITH query \"{name}\" has {found} columns available but {given} columns specified");
                    let error = Error::new(ErrorKind::InvalidColumnReference, message);
                    return Err(self.places.at(error, &cte.alias.name));
                }
                self.with.push((name, renamed(settled(columns), &cte.alias)));
            }
        }
        let depth = self.levels.len();
        self.recursive = recursive;
        let columns = self.body(&query.body, Some(query), unify)?;
        self.levels.truncate(depth);
        Ok(columns)
    }

    fn body(&mut self, body: &SetExpr, query: Option<&Query>, unify: bool) -> Result<Columns> {
        if self.depth.get() >= DEPTH_MAX {
            return Ok(None);
        }
        self.depth.set(self.depth.get() + 1);
        let columns = self.body_inside(body, query, unify);
        self.depth.set(self.depth.get() - 1);
        columns
    }

    fn body_inside(&mut self, body: &SetExpr, query: Option<&Query>, unify: bool) -> Result<Columns> {
        let recursive = self.recursive.take();
        match body {
            SetExpr::Select(select) => self.select(select, query),
            SetExpr::Query(inner) => self.query(inner, unify),
            SetExpr::Values(values) => {
                let rows: Vec<&Vec<Expr>> = values.rows.iter().map(|row| &row.content).collect();
                self.levels.push(Level::default());
                self.clause = Some("VALUES");
                let columns = self.values(&rows, unify);
                self.clause = None;
                self.levels.pop();
                columns
            }
            SetExpr::SetOperation { left, op, right, .. } => {
                let depth = self.levels.len();
                let first = self.body(left, None, true)?;
                self.levels.truncate(depth);
                if let Some((at, alias)) = &recursive {
                    self.with[*at].1 = renamed(settled(first.clone()), alias);
                }
                let second = self.body(right, None, true)?;
                self.levels.truncate(depth);
                let (Some(mut first), Some(second)) = (first, second) else {
                    return Ok(None);
                };
                let name = match op {
                    SetOperator::Intersect => "INTERSECT",
                    SetOperator::Except | SetOperator::Minus => "EXCEPT",
                    SetOperator::Union => "UNION",
                };
                let outputs = [outputs_of(left), outputs_of(right)];
                if first.len() != second.len() {
                    let message = format!("each {name} query must have the same number of columns");
                    let error = Error::new(ErrorKind::SyntaxError, message);
                    let last = outputs[1].first().copied().flatten();
                    return Err(self.places.put(error, last));
                }
                for (at, ((_, left), (_, right))) in first.iter_mut().zip(second).enumerate() {
                    let pair = [0, 1].map(|side: usize| outputs[side].get(at).copied().flatten());
                    let both = self.unified(name, &[*left, right], &pair)?;
                    if let (Some((_, alias)), Some(begun), Some(overall)) = (&recursive, *left, both) {
                        let error = recursion::check_column(alias, at + 1, begun, overall);
                        error.map_err(|error| self.places.put(error, pair[0]))?;
                    }
                    *left = both;
                }
                let columns = Some(first);
                if let Some(query) = query {
                    self.keys_of_set(query, &columns)?;
                    self.levels.push(Level::default());
                    self.limits(query)?;
                }
                Ok(columns)
            }
            _ => Ok(None),
        }
    }

    fn values(&mut self, rows: &[&Vec<Expr>], unify: bool) -> Result<Columns> {
        let mut types: Vec<Vec<Type>> = Vec::with_capacity(rows.len().min(1000));
        let width = rows.first().map_or(0, |row| row.len());
        // A thousand rows show what the rest is like.
        for row in rows.iter().take(1000) {
            if row.len() != width {
                let error = Error::new(ErrorKind::SyntaxError, "VALUES lists must all be the same length");
                return Err(self.places.put(error, row.first()));
            }
            types.push(row.iter().map(|value| self.expression(value)).collect::<Result<_>>()?);
        }
        let mut columns = Vec::with_capacity(width);
        for at in 0..width {
            let column: Vec<Type> = types.iter().map(|row| row.get(at).copied().flatten()).collect();
            let values: Vec<Option<&Expr>> = rows.iter().take(1000).map(|row| row.get(at)).collect();
            let ty = match unify {
                true => self.unified("VALUES", &column, &values)?,
                false => None,
            };
            let differs = |other: &Type| other.is_some_and(|other| other != UNKNOWN && Some(other) != ty);
            if let (Some(ty), Some(Some(first)), true) = (ty, values.first(), column.iter().any(differs)) {
                self.readings.borrow_mut().note_column(first, ty);
            }
            columns.push((Some(format!("column{}", at + 1)), ty));
        }
        Ok(Some(columns))
    }

    fn select(&mut self, select: &Select, query: Option<&Query>) -> Result<Columns> {
        self.levels.push(Level {
            select: Some(select.select_token.0.span.start),
            in_from: true,
            ..Level::default()
        });
        for table in &select.from {
            self.joined(table)?;
        }
        self.level().in_from = false;
        if !select.lateral_views.is_empty() || !select.connect_by.is_empty() {
            return Ok(None);
        }
        self.windows(select)?;
        let mut columns: Columns = Some(Vec::new());
        let mut outputs = Some(Vec::new());
        for item in &select.projection {
            let found = self.item(item)?;
            match (&mut columns, &mut outputs, found) {
                (Some(columns), Some(outputs), Some(found)) => {
                    outputs.extend(Output::of(item, &found, self.levels.last()));
                    columns.extend(found);
                }
                _ => (columns, outputs) = (None, None),
            }
        }
        if let Some(condition) = &select.selection {
            self.clause = Some("WHERE");
            self.condition(condition, "WHERE")?;
        }
        if let Some(condition) = &select.having {
            self.clause = Some("HAVING");
            self.condition(condition, "HAVING")?;
        }
        self.clause = None;
        self.keys(select, query, outputs.as_deref())?;
        if let Some(query) = query {
            self.limits(query)?;
        }
        Ok(columns)
    }

    /// One term of the select list.
    fn item(&mut self, item: &SelectItem) -> Result<Columns> {
        let (expression, alias) = match item {
            SelectItem::UnnamedExpr(expression) => (expression, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(fold(alias))),
            SelectItem::Wildcard(options) if options.opt_exclude.is_none() && options.opt_except.is_none() => {
                let level = self.levels.last();
                if level.is_some_and(|level| level.relations.is_empty()) {
                    let message = "SELECT * with no tables specified is not valid";
                    let error = Error::new(ErrorKind::SyntaxError, message);
                    return Err(self.places.at_location(error, options.wildcard_token.0.span.start));
                }
                return Ok(level.filter(|level| level.merged.is_empty()).and_then(Level::columns));
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let [part] = name.0.as_slice() else { return Ok(None) };
                let Some(ident) = part.as_ident() else { return Ok(None) };
                return match self.relation_named(&fold(ident)) {
                    Some(relation) => Ok(relation.columns.clone()),
                    None if self.levels.iter().any(|level| level.columns().is_none()) => Ok(None),
                    None => Err(self.missing_relation(ident)),
                };
            }
            _ => return Ok(None),
        };
        if let Some(row) = all_fields::row_of(expression) {
            self.expression(row)?;
            return Ok(None);
        }
        let ty = self.expression(expression)?;
        Ok(Some(vec![(alias.or_else(|| name_of(expression)), ty)]))
    }

    /// Adds the relations of one term of FROM to the level.
    fn joined(&mut self, table: &TableWithJoins) -> Result<()> {
        let first = self.level().relations.len();
        self.factor(&table.relation)?;
        for Join {
            relation,
            join_operator,
            ..
        } in &table.joins
        {
            let is_outer = matches!(
                join_operator,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
            );
            self.level().beyond_join = is_outer.then_some(first);
            let looked = self.factor(relation);
            self.level().beyond_join = None;
            looked?;
            let constraint = match join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint)
                | JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint)
                | JoinOperator::FullOuter(constraint) => constraint,
                _ => continue,
            };
            match constraint {
                JoinConstraint::On(condition) => {
                    // The terms before this one are no part of the join.
                    let level = self.level();
                    let hidden = std::mem::replace(&mut level.first_visible, first);
                    self.clause = Some("JOIN conditions");
                    let checked = self.condition(condition, "JOIN/ON");
                    self.clause = None;
                    self.level().first_visible = hidden;
                    checked?;
                }
                JoinConstraint::Using(names) => {
                    let names = names.iter().filter_map(|name| name.0.last()?.as_ident().map(fold));
                    self.level().merged.extend(names);
                }
                JoinConstraint::Natural => {
                    let level = self.level();
                    let all = level
                        .relations
                        .iter()
                        .flat_map(|relation| relation.columns.iter().flatten());
                    let names: Vec<String> = all.filter_map(|(name, _)| name.clone()).collect();
                    level.merged.extend(names);
                }
                JoinConstraint::None => {}
            }
        }
        Ok(())
    }

    fn factor(&mut self, factor: &TableFactor) -> Result<()> {
        let relation = match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                version: None,
                ..
            } => {
                self.check_relation_name(name)?;
                let Some(last) = name.0.last().and_then(|part| part.as_ident()).map(fold) else {
                    self.level().add(Relation::opaque(String::new()));
                    return Ok(());
                };
                let in_with = self
                    .with
                    .iter()
                    .rev()
                    .find(|(known, _)| name.0.len() == 1 && *known == last);
                let columns = match in_with {
                    Some((_, columns)) => columns.clone(),
                    None => scope::columns_of(self.relations, name),
                };
                let shown = alias.as_ref().map_or_else(|| last.clone(), |alias| fold(&alias.name));
                Relation {
                    alias: shown,
                    table: Some(scope::own_name(self.relations, name).unwrap_or(last)),
                    columns: alias.as_ref().map_or(columns.clone(), |alias| renamed(columns, alias)),
                }
            }
            TableFactor::Derived {
                lateral,
                subquery,
                alias,
                ..
            } => {
                let shown = match *lateral {
                    true => 0,
                    false => usize::MAX,
                };
                let visible = std::mem::replace(&mut self.level().first_visible, shown);
                let columns = self.query(subquery, true);
                self.level().first_visible = visible;
                let columns = settled(columns?);
                match alias {
                    Some(alias) => Relation {
                        alias: fold(&alias.name),
                        table: None,
                        columns: renamed(columns, alias),
                    },
                    None => Relation {
                        alias: String::new(),
                        table: None,
                        columns,
                    },
                }
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => return self.joined(table_with_joins),
            TableFactor::Table {
                name,
                alias,
                args: Some(TableFunctionArgs { args, .. }),
                with_ordinality,
                ..
            } => self.function(name, args, alias.as_ref(), *with_ordinality)?,
            TableFactor::Function {
                name,
                alias,
                args,
                with_ordinality,
                ..
            } => self.function(name, args, alias.as_ref(), *with_ordinality)?,
            TableFactor::UNNEST { array_exprs, alias, .. } => {
                for array in array_exprs {
                    let ty = self.expression(array)?;
                    self.unnested(ty)
                        .map_err(|error| self.places.before(error, array, &["unnest"]))?;
                }
                Relation::opaque(alias.as_ref().map(|alias| fold(&alias.name)).unwrap_or_default())
            }
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::NestedJoin { alias: Some(alias), .. }
            | TableFactor::TableFunction { alias: Some(alias), .. } => Relation::opaque(fold(&alias.name)),
            TableFactor::Table { name, .. } => {
                let last = name.0.last().and_then(|part| part.as_ident());
                Relation::opaque(last.map(fold).unwrap_or_default())
            }
            _ => Relation::opaque(String::new()),
        };
        self.level().add(relation);
        Ok(())
    }

    /// A function in FROM.
    fn function(
        &mut self,
        name: &ObjectName,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
        with_ordinality: bool,
    ) -> Result<Relation> {
        let last = name.0.last().and_then(|part| part.as_ident());
        let mut relation = Relation::opaque(alias.map(|alias| &alias.name).or(last).map(fold).unwrap_or_default());
        let Some(ident) = last else { return Ok(relation) };
        if signatures::is_of_kind(&fold(ident), "a") {
            let message = "aggregate functions are not allowed in functions in FROM";
            return Err(self.places.at(Error::new(ErrorKind::GroupingError, message), ident));
        }
        let ty = self.table_call(name, args)?;
        let defines = |alias: &TableAlias| alias.columns.iter().any(|column| column.data_type.is_some());
        if gives_record(&fold(ident)) && !alias.is_some_and(defines) {
            return Err(self.places.at(undefined_columns(), ident));
        }
        let Some(ty) = ty.filter(|ty| signatures::is_one_value(*ty)) else {
            return Ok(relation);
        };
        // What the column is called hangs on the function.
        let mut columns = vec![(None, Some(ty))];
        if with_ordinality {
            columns.push((Some("ordinality".to_string()), Some(BIGINT)));
        }
        let given = alias.map_or(0, |alias| alias.columns.len());
        if given > columns.len() {
            let message = format!(
                "table \"{}\" has {} columns available but {given} columns specified",
                relation.alias,
                columns.len()
            );
            return Err(Error::new(ErrorKind::InvalidColumnReference, message));
        }
        relation.columns = match alias {
            Some(alias) => renamed(Some(columns), alias),
            None => Some(columns),
        };
        Ok(relation)
    }

    /// A value that is stored in a column; `what` messages call it.
    fn assigned(&mut self, value: &Expr, column: &str, ty: &SqlType, what: &str) -> Result<()> {
        if matches!(ty, SqlType::System(_) | SqlType::Struct(_)) {
            return Ok(());
        }
        let (ty, wanted) = (self.expression(value)?, type_oid(ty));
        match ty {
            None => Ok(()),
            Some(UNKNOWN) => self.literal(value, wanted),
            Some(ty) if can_assign(ty, wanted) => Ok(()),
            Some(ty) => {
                let message = format!(
                    "column \"{column}\" is of type {} but {what} is of type {}",
                    type_name(wanted),
                    type_name(ty)
                );
                let error = Error::new(ErrorKind::DatatypeMismatch, message)
                    .with_hint("You will need to rewrite or cast the expression.");
                Err(self.places.put(error, Some(value)))
            }
        }
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        self.levels.last_mut().expect("one was put there")
    }

    /// The type that expressions of several branches get; literals among them are read as it.
    fn unified(&self, what: &str, types: &[Type], expressions: &[Option<&Expr>]) -> Result<Type> {
        let Some(known) = types.iter().copied().collect::<Option<Vec<u32>>>() else {
            return Ok(None);
        };
        match common_type(&known) {
            Ok(common) => {
                for (ty, expression) in known.iter().zip(expressions) {
                    if let (UNKNOWN, Some(expression)) = (*ty, expression) {
                        self.literal(expression, common)?;
                    } else if !is_implicit(*ty, common) {
                        let place = if what == "CASE" { "CASE/WHEN" } else { what };
                        let message = format!(
                            "{place} could not convert type {} to {}",
                            type_name(*ty),
                            type_name(common)
                        );
                        let error = Error::new(ErrorKind::CannotCoerce, message);
                        return Err(self.places.put(error, *expression));
                    }
                }
                Ok(Some(common))
            }
            Err((left, right, at)) => {
                let message = format!(
                    "{what} types {} and {} cannot be matched",
                    type_name(left),
                    type_name(right)
                );
                let error = Error::new(ErrorKind::DatatypeMismatch, message);
                Err(self.places.put(error, expressions.get(at).copied().flatten()))
            }
        }
    }
}

/// The terms of a select list, where each is an expression.
pub(crate) fn outputs_of(body: &SetExpr) -> Vec<Option<&Expr>> {
    match body {
        SetExpr::Select(select) => {
            let items = select.projection.iter().map(|item| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
                _ => None,
            });
            items.collect()
        }
        SetExpr::Query(query) => outputs_of(&query.body),
        SetExpr::Values(values) => {
            let row = values.rows.first().map(|row| row.content.iter().map(Some).collect());
            row.unwrap_or_default()
        }
        SetExpr::SetOperation { left, .. } => outputs_of(left),
        _ => Vec::new(),
    }
}

/// The name a column gets without an alias, where it is sure.
fn name_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(ident) => Some(fold(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(fold),
        Expr::Nested(inner) => name_of(inner),
        Expr::Cast { expr, .. } => name_of(expr),
        Expr::Function(function) => function.name.0.last()?.as_ident().map(fold),
        _ => None,
    }
}

/// A subquery's literals are text to the query around.
fn settled(columns: Columns) -> Columns {
    let mut columns = columns?;
    for (_, ty) in &mut columns {
        *ty = ty.map(|ty| if ty == UNKNOWN { TEXT } else { ty });
    }
    Some(columns)
}

/// The columns with the names an alias gives them.
fn renamed(columns: Columns, alias: &TableAlias) -> Columns {
    let mut columns = columns?;
    if alias.columns.len() > columns.len() {
        return None;
    }
    for ((name, _), given) in columns.iter_mut().zip(&alias.columns) {
        *name = Some(fold(&given.name));
    }
    Some(columns)
}
