//! Opens a warehouse in a folder, loads a Parquet file into a partitioned table, and queries it: no server anywhere.
//!
//! ```sh
//! cargo run --release -p staffa --example embedded -- ./warehouse trips.parquet
//! ```
//!
//! Without a second argument it makes a small Parquet file of its own first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use parquet::arrow::ArrowWriter;
use staffa::{Config, SessionOptions, Warehouse};

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args_os().skip(1);
    let data_dir = PathBuf::from(arguments.next().unwrap_or_else(|| "./warehouse".into()));
    std::fs::create_dir_all(&data_dir)?;
    let file = match arguments.next() {
        Some(file) => PathBuf::from(file),
        None => make_orders(&data_dir)?,
    };
    let file = file.canonicalize()?;

    // Files outside the warehouse may be read only from folders named here.
    let mut config = Config::new(&data_dir);
    config.allowed_paths.extend(file.parent().map(Path::to_path_buf));
    let warehouse = Warehouse::open(config).await?;
    let mut session = warehouse.session(SessionOptions::default()).await?;

    session.execute("drop table if exists loaded", &[]).await?;
    let load = format!("create table loaded as select * from '{}'", file.display());
    let tag = session.execute(&load, &[]).await?;
    println!("loaded: {tag}");

    let rows = session.query("select * from loaded limit 5", &[]).await?;
    println!("{}", pretty_format_batches(&rows.collect().await?)?);
    let rows = session.query("select count(*) as rows from loaded", &[]).await?;
    println!("{}", pretty_format_batches(&rows.collect().await?)?);

    session.close().await;
    warehouse.close().await;
    Ok(())
}

/// A thousand orders over ten days.
fn make_orders(folder: &Path) -> Result<PathBuf, Error> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("day", DataType::Date32, false),
        Field::new("customer", DataType::Utf8, true),
        Field::new("amount", DataType::Decimal128(12, 2), true),
    ]));
    let ids = 0..1000i64;
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(Int64Array::from_iter_values(ids.clone())),
            Arc::new(Date32Array::from_iter_values(
                ids.clone().map(|id| 20_000 + (id % 10) as i32),
            )),
            Arc::new(StringArray::from_iter_values(
                ids.clone().map(|id| format!("customer {}", id % 37)),
            )),
            Arc::new(
                Decimal128Array::from_iter_values(ids.map(|id| i128::from(id * 125)))
                    .with_precision_and_scale(12, 2)?,
            ),
        ],
    )?;
    let path = folder.join("orders.parquet");
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path)?, schema, None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(path)
}
