//! docs/functions.md lists what the registry has. STAFFA_BLESS=1 writes it.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnvBuilder;

use crate::pg_catalog::chapters;
use crate::pg_catalog::provider::known_functions;
use crate::{base_session_state, session_config};

const PREFACE: &str = "\
# Functions

The functions PostgreSQL 15's manual describes, by its sections, and whether Staffa has them: made from the list of functions that
statements can call (`STAFFA_BLESS=1 cargo test -p staffa-planner functions_page`). A function that is here takes the arguments
PostgreSQL's takes and gives its results; what differs is in [sql.md](sql.md). A call of one that is not here fails with 0A000,
`function …() is not supported`; one that PostgreSQL does not have either fails with 42883.

";

/// Sections about types that Staffa has not, and the types. Names that other types share are listed with those.
const OF_OTHER_TYPES: &[(&str, &str)] = &[
    ("9.6", "`bit`"),
    ("9.10", "enums"),
    ("9.11", "points, boxes and other shapes"),
    ("9.12", "`inet`, `cidr`, `macaddr`"),
    ("9.13", "`tsvector`, `tsquery`"),
    ("9.15", "`xml`"),
    ("9.20", "ranges"),
];

fn page(known: &HashSet<String>) -> String {
    let mut page = PREFACE.to_owned();
    let listed = |names: &[&str]| {
        names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for [number, title, names] in chapters() {
        let _ = writeln!(page, "## {number} {title}\n");
        let names = names.split(' ');
        if let Some((_, types)) = OF_OTHER_TYPES.iter().find(|(known, _)| *known == number) {
            let names: Vec<_> = names.collect();
            let _ = writeln!(page, "Staffa has no {types}. Refused for these: {}.\n", listed(&names));
            continue;
        }
        let (here, refused): (Vec<_>, Vec<_>) = names.partition(|name| known.contains(*name));
        let _ = writeln!(page, "{}.\n", listed(&here));
        if !refused.is_empty() {
            let _ = writeln!(page, "Refused: {}.\n", listed(&refused));
        }
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

#[test]
fn functions_page_is_true() {
    let runtime = Arc::new(RuntimeEnvBuilder::new().build().expect("a runtime environment"));
    let made = page(&known_functions(&base_session_state(runtime, session_config(2))));
    // Tests run in the folder of their package.
    let file = Path::new("../docs/functions.md");
    if std::env::var_os("STAFFA_BLESS").is_some() {
        std::fs::write(file, &made).expect("docs/functions.md can be written");
    }
    let kept = std::fs::read_to_string(file).expect("docs/functions.md");
    assert!(
        kept == made,
        "docs/functions.md is old: STAFFA_BLESS=1 cargo test -p staffa-planner functions_page"
    );
}
