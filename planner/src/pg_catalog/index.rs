//! Indexes as the catalogs show them: those that PostgreSQL makes for keys, and those that were declared. There are none here.

use staffa_catalog::{Index, IndexExpression, IndexTerm, SqlType};

use super::access_method::{self, AccessMethod};
use super::part::{Column, Key, KeyKind};
use super::relations::dimensions;
use crate::value::{type_modifier, type_oid};

/// The collation `default`.
pub(crate) const DEFAULT_COLLATION: u32 = 100;

const DESCENDING: i16 = 1;
const NULLS_FIRST: i16 = 2;

/// An index of a table.
#[derive(Debug)]
pub(crate) struct ShownIndex {
    pub(crate) oid: u32,
    pub(crate) name: String,
    pub(crate) method: &'static AccessMethod,
    pub(crate) is_unique: bool,
    pub(crate) is_primary: bool,
    pub(crate) nulls_are_equal: bool,
    /// Keys, then what is included.
    pub(crate) columns: Vec<IndexColumn>,
    pub(crate) key_count: usize,
    pub(crate) predicate: Option<Text>,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) comment: Option<String>,
    /// The number of the constraint whose index it is.
    pub(crate) constraint: Option<u32>,
}

/// A column of an index.
#[derive(Debug)]
pub(crate) struct IndexColumn {
    pub(crate) name: String,
    /// The type of the values.
    ty: SqlType,
    type_oid: u32,
    /// The column of the table, or 0 for an expression.
    pub(crate) number: i16,
    pub(crate) expression: Option<Text>,
    /// 0: values of the type have none.
    pub(crate) collation: u32,
    /// What it is called, where it is not the column's own.
    pub(crate) collation_name: Option<String>,
    pub(crate) class: u32,
    /// What it is called, where it is not the type's own.
    pub(crate) class_name: Option<String>,
    /// `indoption`
    pub(crate) option: i16,
}

/// An expression, and the columns of the table it names.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) columns: Vec<i16>,
}

impl ShownIndex {
    /// That of a key.
    pub(super) fn of_key(key: &Key, columns: &[Column]) -> ShownIndex {
        let numbers = key.columns.iter();
        let named = numbers.filter_map(|number| columns.iter().find(|column| column.number == *number));
        let columns: Vec<IndexColumn> = named
            .map(|column| IndexColumn::of(column, access_method::btree()))
            .collect();
        ShownIndex {
            oid: key.index,
            name: key.name.clone(),
            method: access_method::btree(),
            is_unique: true,
            is_primary: matches!(key.kind, KeyKind::Primary),
            nulls_are_equal: false,
            key_count: columns.len(),
            columns,
            predicate: None,
            parameters: Vec::new(),
            comment: None,
            constraint: Some(key.oid),
        }
    }

    pub(super) fn declared(index: &Index, oid: u32, columns: &[Column]) -> ShownIndex {
        let method = access_method::named(&index.method).unwrap_or_else(access_method::btree);
        let named = |name: &String| columns.iter().find(|column| column.name == *name);
        let text = |expression: &IndexExpression| Text {
            text: expression.text.clone(),
            columns: expression
                .columns
                .iter()
                .filter_map(named)
                .map(|column| column.number)
                .collect(),
        };
        let keys = index.keys.iter().filter_map(|key| {
            let column = match &key.term {
                IndexTerm::Column(name) => IndexColumn::of(named(name)?, method),
                IndexTerm::Expression { expression, name, ty } => {
                    IndexColumn::computed(name, ty, text(expression), method)
                }
            };
            let mut option = 0;
            if key.descending {
                option |= DESCENDING;
            }
            if key.nulls_first {
                option |= NULLS_FIRST;
            }
            let collation = key.collation.as_ref().and_then(|name| access_method::collation(name));
            let class_name = key.operator_class.clone();
            let classes = class_name
                .as_ref()
                .map(|name| method.classes_named(name))
                .unwrap_or_default();
            let class = classes.into_iter().find(|class| class.takes(column.type_oid));
            Some(IndexColumn {
                collation: collation.unwrap_or(column.collation),
                collation_name: key.collation.clone().filter(|_| collation != Some(column.collation)),
                class: class.map_or(column.class, |class| class.oid),
                class_name,
                option,
                ..column
            })
        });
        let mut shown: Vec<IndexColumn> = keys.collect();
        let key_count = shown.len();
        let included = index.included.iter().filter_map(named);
        shown.extend(included.map(|column| IndexColumn::of(column, method)));
        ShownIndex {
            oid,
            name: index.name.clone(),
            method,
            is_unique: index.is_unique,
            is_primary: false,
            nulls_are_equal: index.nulls_are_equal,
            columns: shown,
            key_count,
            predicate: index.predicate.as_ref().map(text),
            parameters: index.parameters.clone(),
            comment: index.comment.clone(),
            constraint: None,
        }
    }

    /// The keys without what is included.
    pub(crate) fn keys(&self) -> &[IndexColumn] {
        self.columns.get(..self.key_count).unwrap_or(&self.columns)
    }

    /// The columns of the table it is about, each once.
    pub(crate) fn columns_named(&self) -> Vec<i16> {
        let own = self.columns.iter().flat_map(|column| match &column.expression {
            Some(expression) => expression.columns.clone(),
            None => vec![column.number],
        });
        let predicate = self.predicate.iter().flat_map(|predicate| predicate.columns.clone());
        let mut named: Vec<i16> = own.chain(predicate).collect();
        named.sort_unstable();
        named.dedup();
        named
    }

    /// The expressions of its keys.
    pub(crate) fn expressions(&self) -> Option<String> {
        let texts = self.columns.iter().filter_map(|column| column.expression.as_ref());
        let texts: Vec<String> = texts.map(Text::in_parentheses).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }
}

impl IndexColumn {
    fn of(column: &Column, method: &AccessMethod) -> IndexColumn {
        let is_collated = access_method::is_collated(column.type_oid);
        IndexColumn {
            name: column.name.clone(),
            ty: column.ty.clone(),
            type_oid: column.type_oid,
            number: column.number,
            expression: None,
            collation: if is_collated { DEFAULT_COLLATION } else { 0 },
            collation_name: None,
            class: method.default_class(column.type_oid).unwrap_or_default(),
            class_name: None,
            option: 0,
        }
    }

    fn computed(name: &str, ty: &SqlType, expression: Text, method: &AccessMethod) -> IndexColumn {
        let type_oid = type_oid(ty);
        let is_collated = access_method::is_collated(type_oid);
        IndexColumn {
            name: name.to_owned(),
            ty: ty.clone(),
            type_oid,
            number: 0,
            expression: Some(expression),
            collation: if is_collated { DEFAULT_COLLATION } else { 0 },
            collation_name: None,
            class: method.default_class(type_oid).unwrap_or_default(),
            class_name: None,
            option: 0,
        }
    }

    /// Type, modifier and dimensions of what the index keeps.
    pub(crate) fn kept(&self, method: &AccessMethod) -> (u32, i32, i32) {
        match method.kept_type(self.class, self.type_oid) {
            kept if kept == self.type_oid => (kept, type_modifier(&self.ty), dimensions(&self.ty)),
            kept => (kept, -1, 0),
        }
    }

    /// `DESC`
    pub(crate) fn is_descending(&self) -> bool {
        self.option & DESCENDING != 0
    }

    /// `NULLS FIRST`
    pub(crate) fn has_nulls_first(&self) -> bool {
        self.option & NULLS_FIRST != 0
    }
}

impl Text {
    /// In parentheses, unless it is a name or a call.
    pub(crate) fn in_parentheses(&self) -> String {
        match is_call_or_name(&self.text) {
            true => self.text.clone(),
            false => format!("({})", self.text),
        }
    }
}

/// `lower(a)`, `a`
fn is_call_or_name(text: &str) -> bool {
    use datafusion::sql::sqlparser::ast::Expr;
    let syntax = crate::stored::syntax(text).map(|expression| match expression {
        Expr::Nested(inner) => *inner,
        other => other,
    });
    matches!(
        syntax,
        Ok(Expr::Function(_)
            | Expr::Identifier(_)
            | Expr::Extract { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. }
            | Expr::Position { .. }
            | Expr::Substring { .. }
            | Expr::Overlay { .. }
            | Expr::Trim { .. })
    )
}
