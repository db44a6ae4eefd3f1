//! Everything that reads bytes of strangers, as functions of bytes: none may panic, hang or take memory without end.
//!
//! `it/fuzz.rs` feeds them seeded mutations of `../fuzz/corpus`, in every run; `../fuzz` feeds them what libFuzzer finds.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use staffa::{
    Config, ErrorKind, Format, FormatSettings, Session, SessionOptions, SqlType, Warehouse, decode_scalar,
    sql_type_of_oid,
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// The targets, by the names of their files in `../fuzz`.
pub const TARGETS: [(&str, fn(&[u8])); 8] = [
    ("introduction", staffa_server::fuzz::introduction),
    ("messages", messages),
    ("sql", sql),
    ("values", values),
    ("copy", staffa::fuzz::copy),
    ("table", table),
    ("deletes", staffa_storage::fuzz::deletes),
    ("parquet", parquet),
];

/// Runs a target by its name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("a target of this name").1(data);
}

/// Messages of a client that is logged in.
pub fn messages(data: &[u8]) {
    with_engine(|engine| engine.runtime.block_on(staffa_server::fuzz::messages(data)));
}

/// A text of statements: parsed, and each planned against a few tables. None runs.
pub fn sql(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    with_engine(|engine| {
        let Engine { runtime, session, .. } = engine;
        runtime.block_on(async {
            for statement in session.parse(text).unwrap_or_default() {
                if let Err(error) = session.prepare(statement, &[]).await {
                    refused(&error);
                    session.fail().await;
                }
            }
        });
    });
}

/// A value of the type and format that the first byte chooses.
pub fn values(data: &[u8]) {
    const OIDS: [u32; 22] = [
        16, 17, 20, 21, 23, 25, 114, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1700, 2950, 3802, 1007, 1231,
        1009,
    ];
    let Some((choice, value)) = data.split_first() else {
        return;
    };
    let format = if choice & 1 == 0 { Format::Text } else { Format::Binary };
    let ty = sql_type_of_oid(OIDS[usize::from(choice >> 1) % OIDS.len()], -1).unwrap_or(SqlType::Text);
    let _ = decode_scalar(Some(value), &ty, format, &FormatSettings::default());
}

/// A table's metadata file, manifest list and manifest, each after its length in four bytes (the last: the rest).
pub fn table(data: &[u8]) {
    let Some((metadata, rest)) = first_part(data) else {
        return;
    };
    let Some((list, manifest)) = first_part(rest) else {
        return;
    };
    staffa_catalog::fuzz::table(metadata, list, manifest);
}

fn first_part(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

/// A Parquet file, read by a query.
pub fn parquet(data: &[u8]) {
    with_engine(|engine| {
        // Files never change: each has a name of its own.
        engine.files += 1;
        let path = engine.folder.path().join(format!("{}.parquet", engine.files));
        if fs::write(&path, data).is_err() {
            return;
        }
        engine.read(&path);
        let _ = fs::remove_file(&path);
    });
}

async fn read_all(session: &mut Session, query: &str) -> staffa::Result<()> {
    let mut rows = session.query(query, &[]).await?;
    while let Some(batch) = rows.next().await {
        batch?;
    }
    Ok(())
}

/// Threads of the engine turn their panics into such errors.
fn refused(error: &staffa::Error) {
    assert!(error.kind() != ErrorKind::InternalError, "{error}");
}

/// A warehouse in this process, and a session of it.
struct Engine {
    runtime: Runtime,
    session: Session,
    folder: TempDir,
    files: u64,
}

impl Engine {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = TempDir::new().expect("a temporary folder");
        let config = Config::new(folder.path().join("data"));
        let session = runtime.block_on(async {
            let warehouse = Warehouse::open(config).await.expect("a warehouse");
            let options = SessionOptions {
                allow_files: true,
                ..SessionOptions::default()
            };
            let mut session = warehouse.session(options).await.expect("a session");
            for statement in [
                "create table t (a int, b text, c numeric(10,2), d date, e timestamptz, f jsonb, g int[])",
                "create table s (a bigint not null, b text) partition by (b)",
                "create view v as select a, count(*) as n from t group by a",
                "insert into t (a, b) values (1, 'one')",
                "set statement_timeout = '20s'",
            ] {
                session.execute(statement, &[]).await.expect(statement);
            }
            session
        });
        Self {
            runtime,
            session,
            folder,
            files: 0,
        }
    }

    fn read(&mut self, path: &Path) {
        let (runtime, session) = (&self.runtime, &mut self.session);
        let query = format!("select * from '{}'", path.display());
        runtime.block_on(async {
            if let Err(error) = read_all(session, &query).await {
                refused(&error);
                session.fail().await;
            }
        });
    }
}

thread_local! {
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

fn with_engine(work: impl FnOnce(&mut Engine)) {
    ENGINE.with_borrow_mut(|engine| work(engine.get_or_insert_with(Engine::start)));
}
