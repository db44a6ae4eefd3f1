//! `CREATE`, `ALTER` and `DROP SEQUENCE`, and the sequences of columns: options to a definition, checked in PostgreSQL's
//! order.

use datafusion::sql::sqlparser::ast::ObjectName;
use staffa_catalog::{
    CatalogSnapshot, ColumnDefault, IdentityKind, RelationKind, Sequence, SequenceOwner, SequenceState, SequenceType,
    TableName, Uuid, is_temporary_schema,
};

use crate::context::{PlanContext, TEMPORARY};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{AlterSequenceAst, CreateSequenceAst, SequenceOption};
use crate::resolve::{self, fold, parts};
use crate::statement::Plan;
use crate::statement::query::Scope;
use crate::type_planner::sql_type_of_ast;

/// What `ALTER SEQUENCE` changes. The sequence may have gone on between planning and running, so it is applied then.
#[derive(Clone, Debug)]
pub struct SequenceChange {
    options: Vec<SequenceOption>,
    /// Set by `OWNED BY`.
    owner: Option<Option<SequenceOwner>>,
}

pub(crate) async fn create(scope: &Scope<'_>, create: &CreateSequenceAst) -> Result<Plan> {
    let name = match create.temporary {
        true => resolve::creatable_temporary(scope.context, &create.name)?,
        false => resolve::creatable(scope.context, &create.name)?,
    };
    let owner = owner(scope, &create.options, &name).await?;
    let sequence = Sequence {
        owner: owner.flatten(),
        ..defined(&create.options)?
    };
    Ok(Plan::CreateSequence {
        name,
        sequence,
        if_not_exists: create.if_not_exists,
    })
}

pub(crate) async fn alter(scope: &Scope<'_>, alter: &AlterSequenceAst) -> Result<Plan> {
    let Some(name) = existing(scope.context, &alter.name, alter.if_exists)? else {
        let notice = resolve::skipped(&alter.name);
        return Ok(Plan::Skipped { notice });
    };
    let sequence = scope.context.snapshot.sequence(&name)?;
    let is_identity = sequence
        .and_then(|sequence| sequence.owner)
        .is_some_and(|owner| owner.is_identity);
    let owner = owner(scope, &alter.options, &name).await?;
    if owner.is_some() && is_identity {
        return Err(Error::unsupported("cannot change ownership of identity sequence"));
    }
    let change = SequenceChange {
        options: alter.options.clone(),
        owner,
    };
    Ok(Plan::AlterSequence { name, change })
}

/// The sequence of this name; `None` when there is nothing of the name and that is forgiven.
fn existing(context: &PlanContext, name: &ObjectName, forgiven: bool) -> Result<Option<TableName>> {
    match resolve::existing(context, name)? {
        Some((full, RelationKind::Sequence)) => Ok(Some(full)),
        Some((full, _)) => Err(not_a_sequence(&full)),
        None if forgiven => Ok(None),
        None => Err(resolve::missing(context, name)),
    }
}

pub(crate) fn not_a_sequence(name: &TableName) -> Error {
    Error::new(
        ErrorKind::WrongObjectType,
        format!("\"{}\" is not a sequence", name.name),
    )
}

/// `OWNED BY table.column`; the inner `None` is `OWNED BY NONE`.
async fn owner(scope: &Scope<'_>, options: &[SequenceOption], of: &TableName) -> Result<Option<Option<SequenceOwner>>> {
    let mut owners = options.iter().filter_map(|option| match option {
        SequenceOption::OwnedBy(owner) => Some(owner),
        _ => None,
    });
    let Some(given) = owners.next() else { return Ok(None) };
    let Some(given) = given else { return Ok(Some(None)) };
    let mut table = given.clone();
    let column = table
        .0
        .pop()
        .and_then(|part| part.as_ident().map(fold))
        .unwrap_or_default();
    if table.0.is_empty() {
        return Err(Error::new(ErrorKind::SyntaxError, "invalid OWNED BY option")
            .with_hint("Specify OWNED BY table.column or OWNED BY NONE."));
    }
    let found = resolve::table(scope.context, &table).await?;
    let name = found.name();
    if (&name.database, &name.schema) != (&of.database, &of.schema) {
        return Err(Error::new(
            ErrorKind::ObjectNotInPrerequisiteState,
            "sequence must be in same schema as table it is linked to",
        ));
    }
    let Some(column) = found.schema().column(&column) else {
        let message = format!("column \"{column}\" of relation \"{}\" does not exist", name.name);
        return Err(Error::new(ErrorKind::UndefinedColumn, message));
    };
    Ok(Some(Some(SequenceOwner {
        table: found.uuid(),
        column: column.field_id,
        is_identity: false,
    })))
}

/// A new sequence.
pub(super) fn defined(options: &[SequenceOption]) -> Result<Sequence> {
    let (min, max) = (1, i64::MAX);
    let blank = Sequence {
        id: Uuid::new_v4(),
        counter: Uuid::new_v4(),
        ty: SequenceType::BigInt,
        start: 1,
        increment: 1,
        min,
        max,
        cache: 1,
        cycle: false,
        origin: 1,
        is_called: false,
        owner: None,
    };
    settled(&blank, options, true)
}

/// A sequence from now on.
#[derive(Clone, Debug)]
pub struct AlteredSequence {
    pub sequence: Sequence,
    /// Whether it has a counter of its own that goes on from the one before.
    pub goes_on: bool,
}

impl SequenceChange {
    /// The sequence from now on, when it is as far as `state`.
    ///
    /// # Errors
    /// Options that contradict each other or what the sequence is.
    pub fn apply(&self, sequence: &Sequence, state: SequenceState) -> Result<AlteredSequence> {
        let (last, is_called) = sequence.last_value(state);
        let mut altered = settled(&sequence.going_on_from(last, is_called), &self.options, false)?;
        if let Some(owner) = self.owner {
            altered.owner = owner;
        }
        let mut options = self.options.iter();
        let restarts = options.any(|option| matches!(option, SequenceOption::Restart(_)));
        if !restarts && sequence.counts_as(&altered, state) {
            altered = altered.with_counter_of(sequence);
        }
        Ok(AlteredSequence {
            goes_on: !restarts && altered.counter != sequence.counter,
            sequence: altered,
        })
    }
}

/// PostgreSQL's `init_params`.
fn settled(before: &Sequence, options: &[SequenceOption], is_new: bool) -> Result<Sequence> {
    let given = Given::of(options)?;
    let mut sequence = before.clone();
    let (mut resets_min, mut resets_max) = (is_new, is_new);
    if let Some(ty) = given.ty {
        // Limits that are the old type's become the new one's.
        let (least, greatest) = sequence.ty.limits();
        resets_max |= sequence.increment > 0 && sequence.max == greatest;
        resets_min |= sequence.increment < 0 && sequence.min == least;
        sequence.ty = ty;
    }
    let ty = sequence.ty.sql_type();
    if let Some(increment) = given.increment {
        sequence.increment = increment;
        if increment == 0 {
            return Err(invalid("INCREMENT must not be zero".to_owned()));
        }
    }
    if let Some(cycle) = given.cycle {
        sequence.cycle = cycle;
    }
    let (least, greatest) = sequence.ty.limits();
    let rises = sequence.increment > 0;
    match given.max {
        Some(Some(max)) => sequence.max = max,
        Some(None) => sequence.max = if rises { greatest } else { -1 },
        None if resets_max => sequence.max = if rises { greatest } else { -1 },
        None => {}
    }
    if !(least..=greatest).contains(&sequence.max) {
        let message = format!(
            "MAXVALUE ({}) is out of range for sequence data type {ty}",
            sequence.max
        );
        return Err(invalid(message));
    }
    match given.min {
        Some(Some(min)) => sequence.min = min,
        Some(None) => sequence.min = if rises { 1 } else { least },
        None if resets_min => sequence.min = if rises { 1 } else { least },
        None => {}
    }
    if !(least..=greatest).contains(&sequence.min) {
        let message = format!(
            "MINVALUE ({}) is out of range for sequence data type {ty}",
            sequence.min
        );
        return Err(invalid(message));
    }
    if sequence.min >= sequence.max {
        let message = format!(
            "MINVALUE ({}) must be less than MAXVALUE ({})",
            sequence.min, sequence.max
        );
        return Err(invalid(message));
    }
    match given.start {
        Some(start) => sequence.start = start,
        None if is_new => sequence.start = if rises { sequence.min } else { sequence.max },
        None => {}
    }
    check_between("START", sequence.start, &sequence)?;
    if is_new || given.restart.is_some() {
        sequence.origin = given.restart.flatten().unwrap_or(sequence.start);
        sequence.is_called = false;
    }
    check_between("RESTART", sequence.origin, &sequence)?;
    if let Some(cache) = given.cache {
        if cache < 1 {
            return Err(invalid(format!("CACHE ({cache}) must be greater than zero")));
        }
        sequence.cache = cache;
    }
    Ok(sequence)
}

fn check_between(what: &str, value: i64, sequence: &Sequence) -> Result<()> {
    if value < sequence.min {
        let message = format!("{what} value ({value}) cannot be less than MINVALUE ({})", sequence.min);
        return Err(invalid(message));
    }
    if value > sequence.max {
        let message = format!(
            "{what} value ({value}) cannot be greater than MAXVALUE ({})",
            sequence.max
        );
        return Err(invalid(message));
    }
    Ok(())
}

/// Each option once.
#[derive(Default)]
struct Given {
    ty: Option<SequenceType>,
    increment: Option<i64>,
    min: Option<Option<i64>>,
    max: Option<Option<i64>>,
    start: Option<i64>,
    restart: Option<Option<i64>>,
    cache: Option<i64>,
    cycle: Option<bool>,
    owned: Option<()>,
}

impl Given {
    fn of(options: &[SequenceOption]) -> Result<Self> {
        let mut given = Given::default();
        for option in options {
            match option {
                SequenceOption::As(ty) => {
                    let ty = SequenceType::of(&sql_type_of_ast(ty)?)
                        .ok_or_else(|| invalid("sequence type must be smallint, integer, or bigint".to_owned()))?;
                    once(&mut given.ty, ty)?;
                }
                SequenceOption::Increment(increment) => once(&mut given.increment, *increment)?,
                SequenceOption::MinValue(min) => once(&mut given.min, *min)?,
                SequenceOption::MaxValue(max) => once(&mut given.max, *max)?,
                SequenceOption::Start(start) => once(&mut given.start, *start)?,
                SequenceOption::Restart(restart) => once(&mut given.restart, *restart)?,
                SequenceOption::Cache(cache) => once(&mut given.cache, *cache)?,
                SequenceOption::Cycle(cycle) => once(&mut given.cycle, *cycle)?,
                SequenceOption::OwnedBy(_) => once(&mut given.owned, ())?,
            }
        }
        Ok(given)
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::SyntaxError, "conflicting or redundant options")),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

pub(crate) async fn drop(scope: &Scope<'_>, names: &[ObjectName], if_exists: bool, cascade: bool) -> Result<Plan> {
    let mut found: Vec<TableName> = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match resolve::existing(scope.context, name)? {
            Some((full, RelationKind::Sequence)) if found.contains(&full) => {}
            Some((full, RelationKind::Sequence)) => found.push(full),
            Some((full, kind)) => {
                let hint = match kind {
                    RelationKind::View => "Use DROP VIEW to remove a view.",
                    RelationKind::Index => "Use DROP INDEX to remove an index.",
                    _ => "Use DROP TABLE to remove a table.",
                };
                return Err(not_a_sequence(&full).with_hint(hint));
            }
            None => {
                let what = ("sequence", ErrorKind::UndefinedTable);
                missing.push(resolve::nothing_to_drop(scope.context, name, what, if_exists)?);
            }
        }
    }
    let mut defaults = Vec::new();
    for name in &found {
        for used in uses(scope.context, name).await? {
            if !cascade || used.is_identity {
                return Err(used.stands_in_the_way(name));
            }
            defaults.push((used.table, used.field_id));
        }
    }
    Ok(Plan::DropSequences {
        names: found,
        missing,
        defaults,
    })
}

/// A column whose default is a sequence's next number.
pub(crate) struct Use {
    pub(crate) table: TableName,
    pub(crate) column: String,
    pub(crate) field_id: i32,
    /// The text of the default, when it names the sequence.
    pub(crate) text: Option<String>,
    is_identity: bool,
}

impl Use {
    fn stands_in_the_way(&self, sequence: &TableName) -> Error {
        let (sequence, table, column) = (&sequence.name, &self.table.name, &self.column);
        if self.is_identity {
            let message =
                format!("cannot drop sequence {sequence} because column {column} of table {table} requires it");
            return Error::new(ErrorKind::DependentObjects, message)
                .with_hint(format!("You can drop column {column} of table {table} instead."));
        }
        let message = format!("cannot drop sequence {sequence} because other objects depend on it");
        Error::new(ErrorKind::DependentObjects, message)
            .with_detail(format!(
                "default value for column {column} of table {table} depends on sequence {sequence}"
            ))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
    }
}

/// The columns of the database that take their numbers from a sequence.
pub(crate) async fn uses(context: &PlanContext, name: &TableName) -> Result<Vec<Use>> {
    let snapshot = &context.snapshot;
    let id = snapshot.sequence(name)?.map(|sequence| sequence.id);
    let named = stored_name(name);
    let mut uses = Vec::new();
    let schemas = snapshot.schemas(&name.database).into_iter();
    for schema in schemas.chain(context.temporary_schema.clone()) {
        for (relation, kind) in snapshot.relations(&name.database, &schema) {
            let table = TableName::new(&name.database, &schema, relation);
            if kind != RelationKind::Table {
                continue;
            }
            let Some(found) = snapshot.table(&table).await? else {
                continue;
            };
            for column in &found.schema().columns {
                let (text, is_identity) = match &column.default {
                    Some(ColumnDefault::Expression(text)) if text.contains(&named) => (Some(text.clone()), false),
                    Some(ColumnDefault::Identity(identity)) if Some(identity.id) == id => {
                        (None, identity.kind != IdentityKind::Serial)
                    }
                    _ => continue,
                };
                uses.push(Use {
                    table: table.clone(),
                    column: column.name.clone(),
                    field_id: column.field_id,
                    text,
                    is_identity,
                });
            }
        }
    }
    Ok(uses)
}

/// How a stored expression names a sequence: with its schema, as a string.
pub(crate) fn stored_name(name: &TableName) -> String {
    let quoted = [&name.schema, &name.name].map(|part| staffa_catalog::quote_identifier(part));
    format!("'{}'", quoted.join(".").replace('\'', "''"))
}

/// The sequence that `nextval('…')` means.
pub(crate) fn named(snapshot: &CatalogSnapshot, database: &str, path: &[String], text: &str) -> Result<TableName> {
    let mut parts = parts(&name_in(text)?)?;
    if let [.., schema, _] = parts.as_mut_slice()
        && schema == TEMPORARY
        && let Some(own) = path.iter().find(|schema| is_temporary_schema(schema))
    {
        schema.clone_from(own);
    }
    let candidates = match parts.as_slice() {
        [name] => path
            .iter()
            .map(|schema| TableName::new(database, schema, name))
            .collect(),
        [schema, name] if snapshot.has_schema(database, schema) => vec![TableName::new(database, schema, name)],
        [schema, _] => {
            let message = format!("schema \"{schema}\" does not exist");
            return Err(Error::new(ErrorKind::UndefinedSchema, message));
        }
        [database, schema, name] => vec![TableName::new(database, schema, name)],
        _ => {
            let message = format!("improper relation name (too many dotted names): {}", parts.join("."));
            return Err(Error::new(ErrorKind::SyntaxError, message));
        }
    };
    for candidate in candidates {
        match snapshot.relation(&candidate) {
            Some(RelationKind::Sequence) => return Ok(candidate),
            Some(_) => return Err(not_a_sequence(&candidate)),
            None => {}
        }
    }
    let message = format!("relation \"{}\" does not exist", parts.join("."));
    Err(Error::new(ErrorKind::UndefinedTable, message))
}

/// A name in a string: `public."S"`.
pub(crate) fn name_in(text: &str) -> Result<ObjectName> {
    let invalid = || Error::new(ErrorKind::InvalidName, "invalid name syntax");
    let query = crate::stored::body_of(&format!("select 1 from {text}")).map_err(|_| invalid())?;
    let datafusion::sql::sqlparser::ast::SetExpr::Select(select) = *query.body else {
        return Err(invalid());
    };
    let plain = select.selection.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
    match select.from.as_slice() {
        [only] if only.joins.is_empty() && plain => match &only.relation {
            datafusion::sql::sqlparser::ast::TableFactor::Table {
                name,
                alias: None,
                args: None,
                ..
            } => Ok(name.clone()),
            _ => Err(invalid()),
        },
        _ => Err(invalid()),
    }
}
