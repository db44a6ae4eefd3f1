//! A look at a catalog database that changes nothing in it: no tables are made or migrated, no sign of life is given.

use uuid::Uuid;

use super::sql::{Connection, pointer_state};
use super::{PointerState, is_postgres, newer_format, postgres, shown_database, sqlite, sqlite_path};
use crate::error::{Error, ErrorKind, Result};

/// What was found.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// What the database says is wrong with its own file.
    pub(crate) damage: Vec<String>,
    /// The version of its tables, and the one this program makes of it.
    pub(crate) version: i64,
    pub(crate) known: i64,
    /// `None` in a database of an older version.
    pub(crate) content: Option<Content>,
}

/// What the catalog says.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) pointers: PointerState,
    /// The warehouse of a catalog that several servers share.
    pub(crate) warehouse: Option<String>,
    /// What waits to be deleted.
    pub(crate) garbage: Vec<String>,
    /// Transactions that are under way or not cleaned up after: when they began, and where they write.
    pub(crate) open: Vec<(i64, String)>,
    /// The servers that are noted, and when they said last that they live.
    pub(crate) servers: Vec<(Uuid, Option<i64>)>,
}

/// Looks at the database a URL names.
///
/// Fails with `MissingObject` when there is no catalog, `NewerFormat` when a newer Staffa made it.
pub(crate) async fn inspect(url: &str) -> Result<Inspection> {
    let shown = shown_database(url);
    if is_postgres(url) {
        let mut connection = postgres::look(url).await?;
        let version = postgres::version(&mut connection).await?;
        return read(&mut connection, &shown, Vec::new(), version, postgres::SCHEMA_VERSION).await;
    }
    let path = sqlite_path(url)?;
    if !std::path::Path::new(path).exists() {
        return Err(missing(&shown));
    }
    let mut connection = sqlite::look(path).await?;
    let damage = sqlite::damage(&mut connection).await?;
    let version = sqlite::version(&mut connection).await?;
    read(&mut connection, &shown, damage, version, sqlite::SCHEMA_VERSION).await
}

async fn read(
    connection: &mut dyn Connection,
    shown: &str,
    damage: Vec<String>,
    version: i64,
    known: i64,
) -> Result<Inspection> {
    let content = match version {
        0 => return Err(missing(shown)),
        _ if version > known => return Err(newer_format(shown, version, known, None)),
        _ if version < known => None,
        _ => Some(content(connection).await?),
    };
    Ok(Inspection {
        damage,
        version,
        known,
        content,
    })
}

async fn content(connection: &mut dyn Connection) -> Result<Content> {
    connection.begin().await?;
    let pointers = pointer_state(connection, None).await?;
    let warehouse = "select value from staffa_setting where name='warehouse'";
    let warehouse = connection.rows(warehouse, &[]).await?;
    let garbage = connection.rows("select path from staffa_gc", &[]).await?;
    let open = "select t.started_ms, l.table_location from staffa_txn t join staffa_txn_table l on l.txn_id=t.txn_id
                where t.state<>1";
    let open = connection.rows(open, &[]).await?;
    let servers = connection
        .rows("select server_id, heartbeat_ms from staffa_server", &[])
        .await?;
    connection.commit().await?;
    let server = |row: &super::sql::statements::Row| {
        let id = Uuid::try_parse(&row.text(0)?).unwrap_or_default();
        Ok((id, row.optional_number(1)?))
    };
    Ok(Content {
        pointers,
        warehouse: warehouse.first().map(|row| row.text(0)).transpose()?,
        garbage: garbage.iter().map(|row| row.text(0)).collect::<Result<_>>()?,
        open: open
            .iter()
            .map(|row| Ok((row.number(0)?, row.text(1)?)))
            .collect::<Result<_>>()?,
        servers: servers.iter().map(server).collect::<Result<_>>()?,
    })
}

fn missing(shown: &str) -> Error {
    Error::new(
        ErrorKind::MissingObject,
        format!("there is no catalog in the database \"{shown}\""),
    )
}
