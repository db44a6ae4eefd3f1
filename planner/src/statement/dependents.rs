//! What goes with a relation, a column or a schema that is dropped: the views that read it, the views that read those, and
//! so on; and the texts of views whose relations get other names.
//!
//! A view knows the relations it reads by their ids and columns by their numbers. A view that another engine made, or an
//! older version, is not known to read anything: it fails when it is read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, Query, Spanned, TableFactor, Visitor};
use staffa_catalog::{
    Authority, CatalogSnapshot, RelationKind, Table, TableName, Uuid, View, ViewDefinition, is_temporary_schema,
    quote_identifier,
};

use crate::context::{PlanContext, TEMPORARY};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::{Ast, offset_of, parse_one};
use crate::pg_catalog::is_lasting;
use crate::resolve::{existing, outer_names};
use crate::statement::stars::edited;
use crate::walk::Visit;

/// How many objects a message names.
const NAMED_MAX: usize = 100;

/// What a statement drops.
#[derive(Clone, Debug)]
pub enum Dropped {
    Relation(TableName),
    Column {
        table: TableName,
        number: i16,
        name: String,
    },
    Schema {
        database: String,
        name: String,
    },
}

/// What goes with what is dropped.
#[derive(Debug, Default)]
pub struct Dependents {
    /// In an order in which they can be dropped.
    pub relations: Vec<(TableName, RelationKind)>,
    /// `view v depends on table t`, as PostgreSQL orders them.
    reasons: Vec<String>,
    /// `drop cascades to view v`
    cascades: Vec<String>,
}

impl Dependents {
    /// The error of RESTRICT; `None` when nothing is in the way. `what` is the one thing that is dropped.
    pub fn refusal(&self, what: Option<&str>) -> Option<Error> {
        if self.reasons.is_empty() {
            return None;
        }
        let message = match what {
            Some(what) => format!("cannot drop {what} because other objects depend on it"),
            None => "cannot drop desired object(s) because other objects depend on them".to_owned(),
        };
        let error = Error::new(ErrorKind::DependentObjects, message);
        Some(
            error
                .with_detail(listed(&self.reasons))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."),
        )
    }

    /// What CASCADE tells: a message and its detail.
    pub fn notice(&self) -> Option<(String, Option<String>)> {
        match self.cascades.as_slice() {
            [] => None,
            [one] => Some((one.clone(), None)),
            several => {
                let message = format!("drop cascades to {} other objects", several.len());
                Some((message, Some(listed(several))))
            }
        }
    }
}

fn listed(lines: &[String]) -> String {
    let mut text = lines[..lines.len().min(NAMED_MAX)].join("\n");
    let left = lines.len().saturating_sub(NAMED_MAX);
    if left > 0 {
        let objects = if left == 1 { "object" } else { "objects" };
        text.push_str(&format!("\nand {left} other {objects} (see server log for list)"));
    }
    text
}

/// What goes with all of it. What is dropped itself is not among them.
pub async fn dependents(context: &PlanContext, dropped: &[Dropped]) -> Result<Dependents> {
    let search = Search {
        context,
        views: views(context).await?,
    };
    let mut found = Found::default();
    for object in dropped {
        if let Dropped::Relation(name) = object {
            found.seen.extend(id(&context.snapshot, name).await?);
        }
    }
    for object in dropped {
        let what = described(context, object);
        let next = match object {
            Dropped::Relation(name) => match id(&context.snapshot, name).await? {
                Some(id) => search.readers(id, None),
                None => Vec::new(),
            },
            Dropped::Column { table, number, .. } => match id(&context.snapshot, table).await? {
                Some(id) => search.readers(id, Some(*number)),
                None => Vec::new(),
            },
            Dropped::Schema { database, name } => members(&context.snapshot, database, name).await?,
        };
        search.add(next, &what, &mut found);
    }
    // The newest are dropped first, and told last.
    let told = found.objects.iter().rev();
    Ok(Dependents {
        reasons: told
            .clone()
            .map(|(object, on)| format!("{} depends on {on}", shown(context, object)))
            .collect(),
        cascades: told
            .map(|(object, _)| format!("drop cascades to {}", shown(context, object)))
            .collect(),
        relations: found
            .objects
            .into_iter()
            .map(|(object, _)| (object.name, object.kind))
            .collect(),
    })
}

/// The views that name a column, as their rules are called: its type cannot be changed.
pub async fn column_readers(context: &PlanContext, table: &Table, number: i16) -> Result<Vec<String>> {
    let search = Search {
        context,
        views: views(context).await?,
    };
    let readers = search.readers(table.uuid(), Some(number)).into_iter();
    Ok(readers
        .map(|object| format!("rule _RETURN on {}", shown(context, &object)))
        .collect())
}

/// `table s.t`, `column a of table s.t`, `schema s`
pub fn described(context: &PlanContext, dropped: &Dropped) -> String {
    let relation = |name: &TableName| {
        let kind = context.snapshot.relation(name).unwrap_or(RelationKind::Table);
        format!("{} {}", word(kind), short_name(context, name))
    };
    match dropped {
        Dropped::Relation(name) => relation(name),
        Dropped::Column { table, name, .. } => format!("column {} of {}", quote_identifier(name), relation(table)),
        Dropped::Schema { name, .. } => format!("schema {}", quote_identifier(name)),
    }
}

fn word(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table => "table",
        RelationKind::View => "view",
        RelationKind::Sequence => "sequence",
        RelationKind::Index => "index",
    }
}

/// With its schema where the search path does not lead to it.
pub(crate) fn short_name(context: &PlanContext, name: &TableName) -> String {
    let path = context.lookup_path();
    let found = path.iter().find(|schema| {
        let candidate = TableName::new(&context.database, schema.as_str(), &name.name);
        context.snapshot.relation(&candidate).is_some()
    });
    match found {
        Some(schema) if *schema == name.schema => quote_identifier(&name.name).to_string(),
        _ => format!("{}.{}", quote_identifier(&name.schema), quote_identifier(&name.name)),
    }
}

fn shown(context: &PlanContext, object: &Object) -> String {
    format!("{} {}", word(object.kind), short_name(context, &object.name))
}

#[derive(Clone)]
struct Object {
    name: TableName,
    kind: RelationKind,
    id: Uuid,
}

#[derive(Default)]
struct Found {
    seen: HashSet<Uuid>,
    /// In the order they can be dropped in, with what each depends on.
    objects: Vec<(Object, String)>,
}

struct Search<'a> {
    context: &'a PlanContext,
    views: Vec<Arc<View>>,
}

impl Search<'_> {
    /// The views that read a relation; that name this column of it.
    fn readers(&self, relation: Uuid, column: Option<i16>) -> Vec<Object> {
        let reads = |view: &&Arc<View>| {
            view.reads
                .iter()
                .any(|read| read.relation == relation && column.is_none_or(|column| read.columns.contains(&column)))
        };
        let readers = self.views.iter().filter(reads).map(|view| Object {
            name: view.name.clone(),
            kind: RelationKind::View,
            id: view.uuid,
        });
        readers.collect()
    }

    /// These and all that depends on them, as PostgreSQL looks for them: what was made last comes first.
    fn add(&self, mut objects: Vec<Object>, on: &str, found: &mut Found) {
        objects.sort_unstable_by_key(|object| std::cmp::Reverse(object.id));
        for object in objects {
            if found.seen.insert(object.id) {
                self.add(self.readers(object.id, None), &shown(self.context, &object), found);
                found.objects.push((object, on.to_owned()));
            }
        }
    }
}

async fn id(snapshot: &CatalogSnapshot, name: &TableName) -> Result<Option<Uuid>> {
    Ok(match snapshot.relation(name) {
        Some(RelationKind::Table) => match snapshot.glimpsed_table(name).await {
            Ok(table) => table.map(|table| table.uuid()),
            // What cannot be read can still be dropped.
            Err(error) if is_lasting(&error) => None,
            Err(error) => return Err(error.into()),
        },
        Some(RelationKind::View) => match snapshot.view(name).await {
            Ok(view) => view.map(|view| view.uuid),
            Err(error) if is_lasting(&error) => None,
            Err(error) => return Err(error.into()),
        },
        Some(RelationKind::Sequence) => snapshot.sequence(name)?.map(|sequence| sequence.id),
        // Nothing depends on an index.
        Some(RelationKind::Index) | None => None,
    })
}

/// What is in a schema; indexes and the sequences of columns go with their tables.
async fn members(snapshot: &CatalogSnapshot, database: &str, schema: &str) -> Result<Vec<Object>> {
    let mut members = Vec::new();
    for (name, kind) in snapshot.relations(database, schema) {
        let name = TableName::new(database, schema, name);
        let owned = match kind {
            RelationKind::Index => true,
            RelationKind::Sequence => snapshot
                .sequence(&name)?
                .is_some_and(|sequence| sequence.owner.is_some()),
            RelationKind::Table | RelationKind::View => false,
        };
        if !owned {
            // One that cannot be read has no id; it is in the schema all the same.
            let id = id(snapshot, &name).await?.unwrap_or_else(Uuid::now_v7);
            members.push(Object { name, kind, id });
        }
    }
    Ok(members)
}

/// All views of the database that the session can see.
async fn views(context: &PlanContext) -> Result<Vec<Arc<View>>> {
    let snapshot = &context.snapshot;
    let mut schemas = snapshot.schemas(&context.database);
    schemas.extend(context.temporary_schema.clone());
    let mut views = Vec::new();
    for schema in schemas {
        for (name, kind) in snapshot.relations(&context.database, &schema) {
            if kind == RelationKind::View {
                match snapshot.view(&TableName::new(&context.database, &schema, name)).await {
                    Ok(view) => views.extend(view),
                    Err(error) if is_lasting(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(views)
}

/// Another name for something that views read.
#[derive(Debug)]
pub enum Renamed<'a> {
    /// Relations by their names now.
    Relations(BTreeMap<TableName, TableName>),
    /// A column of a table or view that has these.
    Column {
        relation: &'a TableName,
        columns: Vec<&'a str>,
        from: String,
        to: String,
    },
}

/// The views that read what is renamed, with texts that read it under its new name.
pub async fn following(context: &PlanContext, renamed: &Renamed<'_>) -> Result<Vec<ViewDefinition>> {
    let mut following = Vec::new();
    for view in views(context).await? {
        let mut within = context.clone();
        within.search_path.clone_from(&view.search_path);
        if !is_temporary_schema(&view.name.schema) {
            within.temporary_schema = None;
        }
        // Views follow whoever renames; what they name otherwise is none of that one's business.
        within.authority = Arc::new(Authority::of_warehouse());
        // What another engine wrote may be no query of ours: it stays as it is.
        let Ok(statement) = parse_one(&view.sql, 0) else {
            continue;
        };
        let Ast::Query(query) = statement.ast else { continue };
        let edits = edits(&within, &view.sql, &query, renamed)?;
        if !edits.is_empty() {
            following.push(ViewDefinition {
                name: view.name.clone(),
                sql: edited(&view.sql, edits),
                columns: view.columns.clone(),
                search_path: view.search_path.clone(),
                comment: view.comment.clone(),
                reads: view.reads.clone(),
                column_comments: view.column_comments.clone(),
            });
        }
    }
    Ok(following)
}

type Edits = BTreeMap<usize, (usize, String)>;

/// Stretches of the text and what they become, by where they begin.
fn edits(context: &PlanContext, text: &str, query: &Query, renamed: &Renamed<'_>) -> Result<Edits> {
    let mut places = Places {
        text,
        plain: BTreeSet::new(),
        qualified: Vec::new(),
    };
    let _ = query.visit(&mut places);
    let mut edits = Edits::new();
    for name in outer_names(query) {
        let (Some(place), Some((full, _))) = (range(text, &name), existing(context, &name)?) else {
            continue;
        };
        // What has no other name keeps its old one for the columns that are named by it.
        let alias = match places.plain.contains(&place.start) {
            true => format!(" {}", quote_identifier(&full.name)),
            false => String::new(),
        };
        let new = match renamed {
            Renamed::Relations(names) => match names.get(&full) {
                Some(to) if to.name == full.name => sql_name(context, to),
                Some(to) => format!("{}{alias}", sql_name(context, to)),
                None => continue,
            },
            Renamed::Column {
                relation,
                columns,
                from,
                to,
            } if **relation == full => {
                let columns = columns.iter().map(|column| match column == from {
                    true => format!("{} AS {}", quote_identifier(to), quote_identifier(from)),
                    false => quote_identifier(column).to_string(),
                });
                let columns: Vec<String> = columns.collect();
                format!("(SELECT {} FROM {}){alias}", columns.join(", "), &text[place.clone()])
            }
            Renamed::Column { .. } => continue,
        };
        edits.insert(place.start, (place.end, new));
    }
    // `s.t.a`: the relation has that name no more, but is called `t` in the query.
    if let (Renamed::Relations(names), false) = (renamed, edits.is_empty()) {
        for name in places.qualified {
            if let (Some(place), Some((full, _))) = (range(text, &name), existing(context, &name)?)
                && names.contains_key(&full)
            {
                edits.insert(place.start, (place.end, quote_identifier(&full.name).to_string()));
            }
        }
    }
    Ok(edits)
}

fn sql_name(context: &PlanContext, name: &TableName) -> String {
    let schema = match context.is_temporary(&name.schema) {
        true => TEMPORARY,
        false => &name.schema,
    };
    format!("{}.{}", quote_identifier(schema), quote_identifier(&name.name))
}

/// Where in the text a name stands.
fn range(text: &str, name: &ObjectName) -> Option<Range<usize>> {
    let span = name.span();
    let range = offset_of(text, span.start)?..offset_of(text, span.end)?;
    (range.start < range.end && text.get(range.clone()).is_some()).then_some(range)
}

/// What a query names, where the names stand.
struct Places<'a> {
    text: &'a str,
    /// Where relations begin that have no alias and nothing else behind their names.
    plain: BTreeSet<usize>,
    /// What stands before the columns in `s.t.a`.
    qualified: Vec<ObjectName>,
}

impl Visitor for Places<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name,
            alias: None,
            args: None,
            version: None,
            sample: None,
            ..
        } = factor
        {
            self.plain.extend(range(self.text, name).map(|place| place.start));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expression
            && let [relation @ .., _] = parts.as_slice()
            && relation.len() > 1
        {
            self.qualified.push(ObjectName::from(relation.to_vec() as Vec<Ident>));
        }
        ControlFlow::Continue(())
    }
}
