//! Names of tables and views, and how SQL writes an identifier.

use std::fmt;

/// What new databases are made like: they are empty, and nobody connects to them or changes them.
pub const TEMPLATE_DATABASES: [&str; 2] = ["template0", "template1"];

/// The full name of a table or view. Each part is the exact name, already folded and unquoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The database, an Iceberg catalog name.
    pub database: String,
    /// The schema, an Iceberg namespace.
    pub schema: String,
    /// The table or view itself.
    pub name: String,
}

impl TableName {
    /// Puts the three parts together.
    pub fn new(database: impl Into<String>, schema: impl Into<String>, name: impl Into<String>) -> Self {
        TableName {
            database: database.into(),
            schema: schema.into(),
            name: name.into(),
        }
    }

    /// Another name in the same schema.
    pub(crate) fn sibling(&self, name: &str) -> Self {
        TableName::new(&self.database, &self.schema, name)
    }
}

impl fmt::Display for TableName {
    /// `database.schema.name`, each part quoted where SQL would need it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [database, schema, name] = [&self.database, &self.schema, &self.name].map(|part| quote_identifier(part));
        write!(f, "{database}.{schema}.{name}")
    }
}

/// The identifier as SQL text: in double quotes unless it is a plain lower-case word that is no keyword.
pub fn quote_identifier(name: &str) -> String {
    if is_plain(name) && KEYWORDS.binary_search(&name).is_err() {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// `^[a-z_][a-z0-9_$]*$`
fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'$')
}

/// The keywords of PostgreSQL that are not "unreserved", sorted: what its `quote_ident` quotes.
#[rustfmt::skip]
const KEYWORDS: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "between", "bigint",
    "binary", "bit", "boolean", "both", "case", "cast", "char", "character", "check", "coalesce", "collate",
    "collation", "column", "concurrently", "constraint", "create", "cross", "current_catalog", "current_date",
    "current_role", "current_schema", "current_time", "current_timestamp", "current_user", "dec", "decimal", "default",
    "deferrable", "desc", "distinct", "do", "else", "end", "except", "exists", "extract", "false", "fetch", "float",
    "for", "foreign", "freeze", "from", "full", "grant", "greatest", "group", "grouping", "having", "ilike", "in",
    "initially", "inner", "inout", "int", "integer", "intersect", "interval", "into", "is", "isnull", "join",
    "json_array", "json_arrayagg", "json_exists", "json_object", "json_objectagg", "json_query", "json_scalar",
    "json_serialize", "json_table", "json_value", "lateral", "leading", "least", "left", "like", "limit", "localtime",
    "localtimestamp", "merge_action", "national", "natural", "nchar", "none", "normalize", "not", "notnull", "null",
    "nullif", "numeric", "offset", "on", "only", "or", "order", "out", "outer", "overlaps", "overlay", "placing",
    "position", "precision", "primary", "real", "references", "returning", "right", "row", "select", "session_user",
    "setof", "similar", "smallint", "some", "substring", "symmetric", "system_user", "table", "tablesample", "then",
    "time", "timestamp", "to", "trailing", "treat", "trim", "true", "union", "unique", "user", "using", "values",
    "varchar", "variadic", "verbose", "when", "where", "window", "with", "xmlattributes", "xmlconcat", "xmlelement",
    "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize", "xmltable",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_sorted_for_the_binary_search() {
        assert!(KEYWORDS.is_sorted());
    }

    #[test]
    fn identifiers_are_quoted_as_postgres_quotes_them() {
        for (name, quoted) in [
            ("orders", "orders"),
            ("_a1$", "_a1$"),
            ("Orders", "\"Orders\""),
            ("1st", "\"1st\""),
            ("", "\"\""),
            ("select", "\"select\""),
            ("name", "name"),
            ("with \"quotes\"", "\"with \"\"quotes\"\"\""),
            ("größe", "\"größe\""),
        ] {
            assert_eq!(quote_identifier(name), quoted);
        }
        assert_eq!(
            TableName::new("staffa", "public", "Order").to_string(),
            "staffa.public.\"Order\""
        );
    }
}
