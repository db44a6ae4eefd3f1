//! Commands that begin with a backslash: what they are, and the queries behind those that list things.

/// Name, arguments, what it does.
pub(super) const COMMANDS: &[(&str, &str, &str)] = &[
    ("\\?", "", "this help"),
    ("\\q", "", "leave (or Ctrl-D)"),
    ("\\d", "[NAME]", "tables and views, or the columns of one"),
    ("\\dt", "", "tables"),
    ("\\dv", "", "views"),
    ("\\dn", "", "schemas"),
    ("\\l", "", "databases"),
    ("\\i", "FILE", "run the statements of a file"),
    ("\\x", "[on|off]", "a line for each value instead of each row"),
    ("\\t", "[on|off]", "rows only: no header, no footer"),
    ("\\timing", "[on|off]", "how long each statement took"),
    ("\\format", "[NAME]", "aligned, unaligned, csv, json, jsonl or markdown"),
    ("\\null", "[TEXT]", "what NULL looks like in tables"),
    ("\\conninfo", "", "where statements run"),
    ("\\echo", "[TEXT]", "print a text"),
];

/// A command with its argument understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    Help,
    Quit,
    List(Listing),
    Describe(String),
    Include(String),
    Expanded(Option<bool>),
    TuplesOnly(Option<bool>),
    Timing(Option<bool>),
    Format(Option<String>),
    Null(String),
    ConnectionInfo,
    Echo(String),
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    Relations,
    Tables,
    Views,
    Schemas,
    Databases,
}

/// Reads a command; the error is for the user.
pub(super) fn parse(line: &str) -> Result<Meta, String> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim();
    let switch = || match argument.to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "on" | "true" | "yes" | "1" => Ok(Some(true)),
        "off" | "false" | "no" | "0" => Ok(Some(false)),
        _ => Err(format!("{name}: expected on or off, not {argument:?}")),
    };
    let text = argument.to_owned();
    let meta = match name {
        "\\?" | "\\h" | "\\help" => Meta::Help,
        "\\q" | "\\quit" | "\\exit" => Meta::Quit,
        "\\d" if argument.is_empty() => Meta::List(Listing::Relations),
        "\\d" | "\\d+" => Meta::Describe(text),
        "\\dt" => Meta::List(Listing::Tables),
        "\\dv" => Meta::List(Listing::Views),
        "\\dn" => Meta::List(Listing::Schemas),
        "\\l" => Meta::List(Listing::Databases),
        "\\i" if argument.is_empty() => return Err("\\i: which file?".to_owned()),
        "\\i" => Meta::Include(text),
        "\\x" => Meta::Expanded(switch()?),
        "\\t" => Meta::TuplesOnly(switch()?),
        "\\timing" => Meta::Timing(switch()?),
        "\\format" => Meta::Format((!argument.is_empty()).then_some(text)),
        "\\null" => Meta::Null(text),
        "\\conninfo" => Meta::ConnectionInfo,
        "\\echo" => Meta::Echo(text),
        _ => return Err(format!("invalid command {name}: try \\? for help")),
    };
    match meta {
        Meta::Help | Meta::Quit | Meta::List(_) | Meta::ConnectionInfo if !argument.is_empty() => {
            Err(format!("{name} takes no argument"))
        }
        meta => Ok(meta),
    }
}

/// A statement that a command at the end of its line runs, and whether its output is expanded: `\g`, `\gx`.
pub(super) fn trailing(text: &str) -> Option<(&str, bool)> {
    let text = text.trim_end();
    let (statement, expanded) = match text.strip_suffix("\\gx") {
        Some(statement) => (statement, true),
        None => (text.strip_suffix("\\g")?, false),
    };
    // Inside a literal or a comment it is text.
    matches!(super::lexer::first_statement(&format!("{statement};")), Ok((_, ""))).then_some((statement, expanded))
}

/// The help text.
pub(super) fn help() -> String {
    let mut text = String::from("Statements end with ; and may take several lines. \\g runs one too, \\gx expanded.\n");
    text.push_str("Ctrl-C cancels the running statement. Tab completes.\n\n");
    for (name, argument, what) in COMMANDS {
        text.push_str(&format!("  {:20} {what}\n", format!("{name} {argument}")));
    }
    text
}

/// Schemas that hold the system's own views.
const NOT_SYSTEM: &str = "NOT IN ('information_schema', 'pg_catalog')";

/// The query that lists.
pub(super) fn listing(listing: Listing) -> String {
    let relations = |condition: &str| {
        format!(
            "SELECT table_schema AS \"Schema\", table_name AS \"Name\", \
             CASE table_type WHEN 'VIEW' THEN 'view' ELSE 'table' END AS \"Type\" \
             FROM information_schema.tables WHERE table_schema {NOT_SYSTEM} {condition} ORDER BY 1, 2"
        )
    };
    match listing {
        Listing::Relations => relations(""),
        Listing::Tables => relations("AND table_type = 'BASE TABLE'"),
        Listing::Views => relations("AND table_type = 'VIEW'"),
        Listing::Schemas => format!(
            "SELECT schema_name AS \"Name\" FROM information_schema.schemata WHERE schema_name {NOT_SYSTEM} ORDER BY 1"
        ),
        Listing::Databases => "SELECT datname AS \"Name\" FROM pg_catalog.pg_database ORDER BY 1".to_owned(),
    }
}

/// The query that describes a relation, by a name as people write it.
pub(super) fn description(name: &str) -> String {
    let (schema, relation) = split_name(name);
    let quote = |text: &str| text.replace('\'', "''");
    let schema = match schema {
        Some(schema) => format!("table_schema = '{}'", quote(&schema)),
        None => format!("table_schema {NOT_SYSTEM}"),
    };
    format!(
        "SELECT column_name AS \"Column\", data_type || CASE \
         WHEN data_type = 'numeric' THEN coalesce('(' || numeric_precision || ',' || numeric_scale || ')', '') \
         ELSE coalesce('(' || character_maximum_length || ')', '') END AS \"Type\", \
         CASE is_nullable WHEN 'NO' THEN 'not null' ELSE '' END AS \"Nullable\" \
         FROM information_schema.columns WHERE table_name = '{}' AND {schema} ORDER BY ordinal_position",
        quote(&relation)
    )
}

/// The query behind completion: relation, column.
pub(super) fn names() -> String {
    format!("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema {NOT_SYSTEM}")
}

/// `Schema.Name` folded as SQL folds it: lower case unless quoted.
fn split_name(name: &str) -> (Option<String>, String) {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let part = parts.last_mut().expect("there is always one part");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c if quoted => part.push(c),
            c => part.extend(c.to_lowercase()),
        }
    }
    let relation = parts.pop().unwrap_or_default();
    (parts.pop(), relation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        assert_eq!(parse("\\d"), Ok(Meta::List(Listing::Relations)));
        assert_eq!(parse(" \\d  Orders;"), Ok(Meta::Describe("Orders".to_owned())));
        assert_eq!(parse("\\x"), Ok(Meta::Expanded(None)));
        assert_eq!(parse("\\timing off"), Ok(Meta::Timing(Some(false))));
        assert!(parse("\\timing maybe").is_err());
        assert!(parse("\\q now").is_err());
        assert_eq!(
            parse("\\nonsense"),
            Err("invalid command \\nonsense: try \\? for help".to_owned())
        );
    }

    #[test]
    fn every_command_of_the_help_is_one() {
        for (name, argument, _) in COMMANDS {
            let argument = if argument.contains("on|off") { "on" } else { "x" };
            assert!(
                parse(name).is_ok() || parse(&format!("{name} {argument}")).is_ok(),
                "{name}"
            );
        }
    }

    #[test]
    fn g_at_the_end_runs_what_is_before_it() {
        assert_eq!(trailing("select 1 \\g\n"), Some(("select 1 ", false)));
        assert_eq!(trailing("select 1\\gx"), Some(("select 1", true)));
        for text in ["select '\\g", "select 1 -- \\g", "select 1", "select (1\\g"] {
            assert_eq!(trailing(text), None, "{text}");
        }
    }

    #[test]
    fn names_fold_unless_quoted() {
        assert_eq!(split_name("Orders"), (None, "orders".to_owned()));
        assert_eq!(
            split_name("S.\"My \"\"T.x\""),
            (Some("s".to_owned()), "My \"T.x".to_owned())
        );
        assert!(description("o'x").contains("table_name = 'o''x'"));
    }
}
