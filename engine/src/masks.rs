//! `staffa.masking_policies`: the masking policies of the database, and where they are attached; for those who may make some.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Builder, RecordBatch, StringViewBuilder};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use staffa_catalog::{AccessKey, CatalogSnapshot, RelationKind, TableName};
use staffa_planner::types::arrow_field;
use staffa_planner::{Result, SqlType};

/// Columns of text, in their order; the priority follows.
const TEXTS: [&str; 7] = [
    "policy_name",
    "input_columns",
    "expression",
    "table_schema",
    "table_name",
    "column_name",
    "role",
];

pub(crate) struct MasksTable {
    snapshot: Arc<CatalogSnapshot>,
    database: String,
    user: String,
    schema: SchemaRef,
}

impl MasksTable {
    pub(crate) fn new(snapshot: &Arc<CatalogSnapshot>, database: &str, user: &str) -> Self {
        let texts = TEXTS.map(|name| (name, SqlType::Text)).into_iter();
        let columns = texts.chain([("priority", SqlType::Integer)]);
        // None of the types has a time zone.
        let fields: Vec<_> = columns.map(|(name, ty)| arrow_field(name, &ty, true, "UTC")).collect();
        Self {
            snapshot: Arc::clone(snapshot),
            database: database.to_owned(),
            user: user.to_owned(),
            schema: Arc::new(Schema::new(fields)),
        }
    }

    async fn rows(&self) -> Result<RecordBatch> {
        let mut texts: Vec<StringViewBuilder> = TEXTS.iter().map(|_| StringViewBuilder::new()).collect();
        let mut priorities = Int32Builder::new();
        let mut push = |values: [Option<&str>; TEXTS.len()], priority: Option<i32>| {
            for (column, value) in texts.iter_mut().zip(values) {
                column.append_option(value);
            }
            priorities.append_option(priority);
        };
        let access = self.snapshot.access();
        let database = access.rights(&AccessKey::Database(self.database.clone()));
        let attached = match access.authority(&self.user, &self.database).owns(&database) {
            true => self.attached().await?,
            false => return Ok(RecordBatch::new_empty(Arc::clone(&self.schema))),
        };
        for (name, mask) in access.masks(&self.database) {
            let inputs: Vec<String> = mask.columns.iter().map(|(name, ty)| format!("{name} {ty}")).collect();
            let inputs = inputs.join(", ");
            let own: Vec<_> = attached.iter().filter(|attached| attached.policy == name).collect();
            let said = [Some(name), Some(inputs.as_str()), Some(mask.expression.as_str())];
            for place in &own {
                let [policy, inputs, expression] = said;
                let (schema, table) = (Some(place.table.schema.as_str()), Some(place.table.name.as_str()));
                let (column, role) = (Some(place.column.as_str()), Some(place.role.as_str()));
                push(
                    [policy, inputs, expression, schema, table, column, role],
                    Some(place.priority),
                );
            }
            if own.is_empty() {
                let [policy, inputs, expression] = said;
                push([policy, inputs, expression, None, None, None, None], None);
            }
        }
        let mut columns: Vec<ArrayRef> = texts
            .iter_mut()
            .map(|column| Arc::new(column.finish()) as ArrayRef)
            .collect();
        columns.push(Arc::new(priorities.finish()));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Where policies are attached in this database.
    async fn attached(&self) -> Result<Vec<Place>> {
        let access = self.snapshot.access();
        let mut places = Vec::new();
        if access.all_security().all(|(_, security)| security.masks.is_empty()) {
            return Ok(places);
        }
        for schema in self.snapshot.schemas(&self.database) {
            for (name, kind) in self.snapshot.relations(&self.database, &schema) {
                let name = TableName::new(&self.database, &schema, name);
                if kind != RelationKind::Table {
                    continue;
                }
                let Some(table) = self.snapshot.table(&name).await? else {
                    continue;
                };
                let masks = access.security(table.uuid()).map(|security| security.masks.as_slice());
                for mask in masks.unwrap_or_default() {
                    let mut columns = table.schema().columns.iter();
                    let column = columns.find(|column| column.field_id == mask.column);
                    let role = mask.role.map(|role| access.role_with_id(role));
                    places.push(Place {
                        policy: mask.policy.clone(),
                        table: name.clone(),
                        column: column.map(|column| column.name.clone()).unwrap_or_default(),
                        role: match role {
                            None => "public".to_owned(),
                            Some(role) => role.map(|role| role.name.clone()).unwrap_or_default(),
                        },
                        priority: mask.priority,
                    });
                }
            }
        }
        Ok(places)
    }
}

struct Place {
    policy: String,
    table: TableName,
    column: String,
    role: String,
    priority: i32,
}

impl fmt::Debug for MasksTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasksTable")
    }
}

#[async_trait]
impl TableProvider for MasksTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let rows = vec![vec![self.rows().await?]];
        Ok(MemorySourceConfig::try_new_exec(
            &rows,
            self.schema(),
            projection.cloned(),
        )?)
    }
}
