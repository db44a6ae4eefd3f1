//! The rows of a catalog taken into another, new database: what a backup keeps, and what is restored from it.
//!
//! Copied is what the catalog says: names, definitions, roles, numbers. What goes on is not: transactions, servers, temporary
//! tables, older states, and what only waits to be deleted. Of that, two things go along: counters, which are no files,
//! and what is deleted of a table when the clones are gone that still have its files.

use super::sql::Connection;
use super::sql::statements::{Argument, Cell, Row};
use crate::error::{Error, ErrorKind, Result};
use crate::relocation::Relocation;

/// Rows of one table.
struct Rows {
    select: &'static str,
    insert: &'static str,
    columns: &'static [Column],
}

#[derive(Clone, Copy)]
enum Column {
    Text,
    Number,
    /// Where a file or directory is; or, of what has no file, its definition.
    Location,
    /// A text that may say where the warehouse is.
    Setting,
}
use Column::{Location, Number, Setting, Text};

const ROWS: [Rows; 10] = [
    Rows {
        select: "select name, value from staffa_setting where name<>'made_by'",
        insert: "insert into staffa_setting(name, value) values ($1, $2)",
        columns: &[Text, Setting],
    },
    Rows {
        select: "select name from staffa_database",
        insert: "insert into staffa_database(name) values ($1)",
        columns: &[Text],
    },
    Rows {
        select: "select name, verifier from staffa_role",
        insert: "insert into staffa_role(name, verifier) values ($1, $2)",
        columns: &[Text, Text],
    },
    Rows {
        select: "select object, definition, csn from staffa_access where definition is not null",
        insert: "insert into staffa_access(object, definition, csn) values ($1, $2, $3)",
        columns: &[Text, Text, Number],
    },
    Rows {
        select: "select catalog_name, namespace, property_key, property_value from iceberg_namespace_properties
                 where substr(namespace, 1, 8)<>'pg_temp_'",
        insert: "insert into iceberg_namespace_properties(catalog_name, namespace, property_key, property_value)
                 values ($1, $2, $3, $4)",
        columns: &[Text, Text, Text, Setting],
    },
    Rows {
        select: "select catalog_name, table_namespace, table_name, metadata_location, previous_metadata_location, iceberg_type
                 from iceberg_tables where substr(table_namespace, 1, 8)<>'pg_temp_'",
        insert: "insert into iceberg_tables(catalog_name, table_namespace, table_name, metadata_location,
                   previous_metadata_location, iceberg_type) values ($1, $2, $3, $4, $5, $6)",
        columns: &[Text, Text, Text, Location, Location, Text],
    },
    Rows {
        select: "select table_location, owner_location from staffa_share s where exists (select 1 from iceberg_tables t
                   where substr(t.metadata_location, 1, length(s.table_location)+1)=s.table_location||'/')",
        insert: "insert into staffa_share(table_location, owner_location) values ($1, $2)",
        columns: &[Location, Location],
    },
    // Nobody looks at older states, so all of it has been garbage for ever; and what was begun to be deleted never comes back.
    Rows {
        select: "select path, 0, not_before_ms, 1 from staffa_gc g where path like 'staffa-counter:%'
                 or exists (select 1 from staffa_share s join iceberg_tables t
                     on substr(t.metadata_location, 1, length(s.table_location)+1)=s.table_location||'/'
                   where substr(g.path, 1, length(s.owner_location)+1)=s.owner_location||'/')",
        insert: "insert into staffa_gc(path, after_csn, not_before_ms, tried_ms) values ($1, $2, $3, $4)",
        columns: &[Location, Number, Number, Number],
    },
    Rows {
        select: "select id, taken, origin from staffa_sequence",
        insert: "insert into staffa_sequence(id, taken, origin) values ($1, $2, $3)",
        columns: &[Text, Number, Number],
    },
    Rows {
        select: "select name, number from staffa_object",
        insert: "insert into staffa_object(name, number) values ($1, $2)",
        columns: &[Text, Number],
    },
];

/// Copies what `from` sees in its transaction into that of `to`, which becomes the state of the same commit.
///
/// Fails with `InvalidDefinition` when there is something in `to` already.
pub(super) async fn copy(
    from: &mut dyn Connection,
    to: &mut dyn Connection,
    csn: u64,
    relocation: Option<&Relocation>,
) -> Result<()> {
    let some = "select 1 from staffa_database union all select 1 from iceberg_tables
                union all select 1 from staffa_access limit 1";
    if !to.rows(some, &[]).await?.is_empty() {
        return Err(Error::invalid("the catalog database is not empty"));
    }
    // The journal gives every pointer the number of this swap.
    let before = super::sql::signed(csn.max(1))? - 1;
    to.execute("update staffa_head set csn=$1", &[before.into()]).await?;
    to.begin_swap(true).await?;
    for rows in &ROWS {
        for row in from.rows(rows.select, &[]).await? {
            let values = values(&row, rows.columns, relocation)?;
            let arguments: Vec<Argument<'_>> = rows.columns.iter().zip(&values).map(argument).collect();
            to.execute(rows.insert, &arguments).await?;
        }
    }
    to.take_number().await?;
    Ok(())
}

fn values(row: &Row, columns: &[Column], relocation: Option<&Relocation>) -> Result<Vec<Cell>> {
    let moved = |column: &Column, text: &str| match (column, relocation) {
        (Location, Some(relocation)) => relocation.location(text),
        (Setting, Some(relocation)) => relocation.inside(text).unwrap_or_else(|| text.to_owned()),
        _ => text.to_owned(),
    };
    let value = |(column, cell): (&Column, &Cell)| match (column, cell) {
        (Text | Location | Setting, Cell::Text(text)) => Ok(Cell::Text(moved(column, text))),
        (Number, Cell::Number(number)) => Ok(Cell::Number(*number)),
        (_, Cell::Null) => Ok(Cell::Null),
        _ => Err(Error::new(
            ErrorKind::Corrupt,
            "the catalog database holds a value of another type",
        )),
    };
    columns.iter().zip(&row.0).map(value).collect()
}

fn argument<'a>((column, value): (&Column, &'a Cell)) -> Argument<'a> {
    match (value, column) {
        (Cell::Text(text), _) => Argument::Text(text),
        (Cell::Number(number), _) => Argument::Number(*number),
        (Cell::Null, Number) => Argument::Null,
        (Cell::Null, _) => Argument::NullText,
    }
}
