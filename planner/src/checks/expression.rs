//! The types of expressions, and what must hold between them.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, ObjectName, TrimWhereField, UnaryOperator, Value,
};

use datafusion::sql::sqlparser::tokenizer::Location;
use staffa_catalog::{SqlType, SystemType};

use super::clauses::{find_call, text_of};
use super::forms::{is_row, parts_of_row};
use super::scope::type_of_call;
use super::signatures::{
    self, BIGINT, BOOLEAN, Choice, DOUBLE, INTEGER, INTERVAL, NUMERIC, TEXT, UNKNOWN, can_cast, type_name,
};
use super::{Checker, DEPTH_MAX, Type};
use crate::error::{Error, ErrorKind, Result};
use crate::json::path::Path as JsonPath;
use crate::parse::positions_of_words;
use crate::pg_catalog::is_function_of_postgres;
use crate::resolve::{fold, sequence};
use crate::rewrite::{HYPOTHETICAL, called_type, named_arguments};
use crate::type_planner::sql_type_of_ast;
use crate::value::{sql_type_of_oid, type_oid};

pub(super) const NO_OPERATOR: &str =
    "No operator matches the given name and argument types. You might need to add explicit type casts.";
const SEVERAL_OPERATORS: &str =
    "Could not choose a best candidate operator. You might need to add explicit type casts.";
const NO_PREFIX: &str =
    "No operator matches the given name and argument type. You might need to add an explicit type cast.";
const JSON_PATH: u32 = 4072;
const TO_LATERAL: &str = "You might be able to move the set-returning function into a LATERAL FROM item.";
/// Clauses that refuse window functions alone.
const TAKE_AGGREGATES: &[&str] = &["HAVING", "window definitions"];
pub(super) const NO_FUNCTION: &str =
    "No function matches the given name and argument types. You might need to add explicit type casts.";
/// What the grammar makes of names, so that no function is looked up for them.
const FORMS: &[&str] = &["grouping", "row", "array"];

impl Checker<'_> {
    /// The type of an expression; a bare literal's is `unknown`.
    pub(super) fn expression(&mut self, expression: &Expr) -> Result<Type> {
        if self.depth.get() >= DEPTH_MAX {
            return Ok(None);
        }
        self.depth.set(self.depth.get() + 1);
        let ty = self.shallow(expression);
        self.depth.set(self.depth.get() - 1);
        ty
    }

    fn shallow(&mut self, expression: &Expr) -> Result<Type> {
        match expression {
            Expr::Value(value) => match &value.value {
                Value::Placeholder(name) => Ok(self.parameter(name)),
                value => Ok(type_of_value(value)),
            },
            Expr::Nested(inner) => self.expression(inner),
            Expr::Identifier(ident) => self.column(ident),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] => self.qualified(table, column),
                _ => Ok(None),
            },
            Expr::UnaryOp { op, expr } => self.prefix(*op, expr),
            Expr::BinaryOp { left, op, right } => match op {
                BinaryOperator::And | BinaryOperator::Or => self.connected(expression),
                _ => self.operation(left, op, right),
            },
            Expr::Cast {
                kind,
                expr,
                data_type,
                array: false,
                ..
            } => self.cast(kind, expr, data_type),
            Expr::TypedString(typed) => {
                let ty = self.named_type(&typed.data_type)?;
                if let Some(ty) = ty {
                    self.readable(&Expr::Value(typed.value.clone()), ty)?;
                }
                Ok(ty)
            }
            Expr::Interval(interval) => {
                if interval.leading_field.is_none() {
                    self.readable(&interval.value, INTERVAL)?;
                }
                Ok(Some(INTERVAL))
            }
            Expr::Case {
                case_token,
                operand,
                conditions,
                else_result,
                ..
            } => {
                let compared = match operand {
                    // A literal is text before it is compared.
                    Some(operand) => {
                        let ty = self.expression(operand)?;
                        let ty = ty.map(|ty| if ty == UNKNOWN { TEXT } else { ty });
                        Some((operand.as_ref(), ty))
                    }
                    None => None,
                };
                for branch in conditions {
                    match compared {
                        Some((operand, ty)) => {
                            let other = self.expression(&branch.condition)?;
                            self.operator("=", (operand, ty), (&branch.condition, other), &["when"])?;
                        }
                        None => self.condition(&branch.condition, "CASE/WHEN")?,
                    }
                }
                let mut results = Vec::with_capacity(conditions.len() + 1);
                for branch in conditions {
                    results.push((&branch.result, self.expression(&branch.result)?));
                }
                if let Some(result) = else_result {
                    results.insert(0, (result.as_ref(), self.expression(result)?));
                }
                self.no_sets(results.iter().map(|(result, _)| *result), "CASE")?;
                let ty = self.branches("CASE", &results)?;
                Ok(self.chosen_type(case_token.0.span.start, &results, ty))
            }
            Expr::Function(function) => self.call(function),
            Expr::InList { expr, list, .. } => {
                let left = self.expression(expr)?;
                if let [Expr::Identifier(word)] = list.as_slice()
                    && word.quote_style.is_none()
                    && fold(word) == "select"
                {
                    // A subquery without columns.
                    let error = Error::new(ErrorKind::SyntaxError, "subquery has too few columns");
                    return Err(self.places.after(error, expr, &["in", "not"]));
                }
                let mut all = vec![(expr.as_ref(), left)];
                for item in list {
                    all.push((item, self.expression(item)?));
                }
                // All of one type if they can be, else one comparison each.
                let known: Option<Vec<u32>> = all.iter().map(|(_, ty)| *ty).collect();
                match known.map(|known| signatures::common_type(&known)) {
                    Some(Ok(common)) => {
                        for (value, ty) in &all {
                            if *ty == Some(UNKNOWN) {
                                self.literal(value, common)?;
                            }
                        }
                    }
                    Some(Err(_)) => {
                        for item in &all[1..] {
                            self.operator("=", all[0], *item, &["in", "not"])?;
                        }
                    }
                    None => {}
                }
                Ok(Some(BOOLEAN))
            }
            Expr::Between { expr, low, high, .. } => {
                let value = self.expression(expr)?;
                let bounds = [(">=", low), ("<=", high)];
                for (name, bound) in bounds {
                    let ty = self.expression(bound)?;
                    self.operator(name, (expr, value), (bound, ty), &["between"])?;
                }
                Ok(Some(BOOLEAN))
            }
            Expr::Like {
                negated,
                any: false,
                expr,
                pattern,
                ..
            } => self.pattern(if *negated { "!~~" } else { "~~" }, expr, pattern, "like"),
            Expr::ILike {
                negated,
                any: false,
                expr,
                pattern,
                ..
            } => self.pattern(if *negated { "!~~*" } else { "~~*" }, expr, pattern, "ilike"),
            Expr::SimilarTo { expr, pattern, .. } => self.similar(expr, pattern),
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
                self.expression(inner)?;
                Ok(Some(BOOLEAN))
            }
            Expr::IsTrue(inner) => self.tested(inner, "IS TRUE"),
            Expr::IsNotTrue(inner) => self.tested(inner, "IS NOT TRUE"),
            Expr::IsFalse(inner) => self.tested(inner, "IS FALSE"),
            Expr::IsNotFalse(inner) => self.tested(inner, "IS NOT FALSE"),
            Expr::IsUnknown(inner) => self.tested(inner, "IS UNKNOWN"),
            Expr::IsNotUnknown(inner) => self.tested(inner, "IS NOT UNKNOWN"),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                let sides = (self.expression(left)?, self.expression(right)?);
                self.operator("=", (left, sides.0), (right, sides.1), &["is"])?;
                Ok(Some(BOOLEAN))
            }
            Expr::Exists { subquery, .. } => {
                self.query(subquery, true)?;
                Ok(Some(BOOLEAN))
            }
            Expr::Subquery(query) => match self.query(query, true)? {
                Some(columns) => match columns.as_slice() {
                    [(_, ty)] => Ok(ty.map(|ty| if ty == UNKNOWN { TEXT } else { ty })),
                    _ => {
                        let error = Error::new(ErrorKind::SyntaxError, "subquery must return only one column");
                        Err(self.places.put(error, Some(expression)))
                    }
                },
                None => Ok(None),
            },
            Expr::InSubquery { expr, subquery, .. } => {
                let parts = parts_of_row(expr).unwrap_or_else(|| vec![expr]);
                self.row_beside_subquery("=", &parts, subquery, expr, &["in", "not"])?;
                Ok(Some(BOOLEAN))
            }
            Expr::Array(array) => {
                let mut elements = Vec::with_capacity(array.elem.len());
                for element in &array.elem {
                    elements.push((element, self.expression(element)?));
                }
                // An array of arrays is of the type they are of.
                let has_arrays = elements
                    .iter()
                    .any(|(_, ty)| ty.and_then(signatures::element).is_some());
                let has_literals = elements.iter().any(|(_, ty)| *ty == Some(UNKNOWN));
                if elements.is_empty() || has_arrays && has_literals {
                    return Ok(None);
                }
                let ty = self.branches("ARRAY", &elements)?;
                match has_arrays {
                    true => Ok(ty),
                    false => Ok(ty.and_then(signatures::array_of)),
                }
            }
            Expr::Extract { expr, .. } => {
                let ty = self.expression(expr)?;
                let Some(ty) = ty else { return Ok(Some(NUMERIC)) };
                let error = match signatures::function("extract", &[UNKNOWN, ty]) {
                    Choice::None => {
                        let message = format!("function pg_catalog.extract(unknown, {}) does not exist", type_name(ty));
                        Error::new(ErrorKind::UndefinedFunction, message).with_hint(NO_FUNCTION)
                    }
                    Choice::Several => {
                        signatures::several_functions(&format!("pg_catalog.extract(unknown, {})", type_name(ty)))
                    }
                    _ => return Ok(Some(NUMERIC)),
                };
                Err(self.places.before(error, expr, &["extract"]))
            }
            Expr::Trim {
                trim_where,
                trim_what,
                expr,
                ..
            } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "btrim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                let arguments: Vec<&Expr> = [Some(expr), trim_what.as_ref()]
                    .into_iter()
                    .flatten()
                    .map(Box::as_ref)
                    .collect();
                self.form(name, &arguments, &["trim"])
            }
            Expr::Collate { expr, .. } => self.collated(expr),
            Expr::Ceil { expr, .. } => self.form("ceil", &[expr], &["ceil", "ceiling"]),
            Expr::Floor { expr, .. } => self.form("floor", &[expr], &["floor"]),
            Expr::Position { expr, r#in } => self.form("position", &[r#in, expr], &["position"]),
            Expr::Overlay {
                expr,
                overlay_what,
                overlay_from,
                overlay_for,
            } => {
                let mut arguments: Vec<&Expr> = vec![expr, overlay_what, overlay_from];
                arguments.extend(overlay_for.as_deref());
                self.form("overlay", &arguments, &["overlay"])
            }
            Expr::Substring {
                expr,
                substring_from: Some(from),
                substring_for,
                shorthand,
                ..
            } => {
                let mut arguments: Vec<&Expr> = vec![expr, from];
                arguments.extend(substring_for.as_deref());
                match shorthand {
                    true => self.form("substr", &arguments, &["substr"]),
                    false => self.form("substring", &arguments, &["substring"]),
                }
            }
            Expr::AtTimeZone { timestamp, time_zone } => self.at_time_zone(timestamp, time_zone),
            Expr::CompoundFieldAccess { root, access_chain } => self.subscript(root, access_chain),
            Expr::AnyOp {
                left,
                compare_op,
                right,
                ..
            }
            | Expr::AllOp {
                left,
                compare_op,
                right,
            } => self.quantified(left, compare_op, right),
            Expr::Tuple(parts) => {
                for part in parts {
                    self.expression(part)?;
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// What must be true or false.
    pub(super) fn condition(&mut self, expression: &Expr, clause: &str) -> Result<()> {
        let ty = self.expression(expression)?;
        self.boolean(expression, ty, clause)
    }

    fn tested(&mut self, expression: &Expr, what: &str) -> Result<Type> {
        self.condition(expression, what)?;
        Ok(Some(BOOLEAN))
    }

    fn boolean(&self, expression: &Expr, ty: Type, clause: &str) -> Result<()> {
        match ty {
            None | Some(BOOLEAN) => Ok(()),
            Some(UNKNOWN) => self.literal(expression, BOOLEAN),
            Some(other) => {
                let message = format!(
                    "argument of {clause} must be type boolean, not type {}",
                    type_name(other)
                );
                let error = Error::new(ErrorKind::DatatypeMismatch, message);
                Err(self.places.put(error, Some(expression)))
            }
        }
    }

    /// AND and OR: chains of them are long, so not one inside the other.
    fn connected(&mut self, expression: &Expr) -> Result<Type> {
        let mut open = vec![(expression, "")];
        while let Some((next, clause)) = open.pop() {
            match next {
                Expr::BinaryOp {
                    left,
                    op: BinaryOperator::And,
                    right,
                } => open.extend([(right.as_ref(), "AND"), (left, "AND")]),
                Expr::BinaryOp {
                    left,
                    op: BinaryOperator::Or,
                    right,
                } => open.extend([(right.as_ref(), "OR"), (left, "OR")]),
                Expr::Nested(inner) => open.push((inner, clause)),
                other => self.condition(other, clause)?,
            }
        }
        Ok(Some(BOOLEAN))
    }

    fn prefix(&mut self, op: UnaryOperator, operand: &Expr) -> Result<Type> {
        if op == UnaryOperator::Not {
            self.condition(operand, "NOT")?;
            return Ok(Some(BOOLEAN));
        }
        // `-9223372036854775808` is one number.
        if let (UnaryOperator::Minus, Expr::Value(value)) = (op, operand)
            && let Value::Number(digits, _) = &value.value
        {
            return Ok(Some(type_of_number(&format!("-{digits}"))));
        }
        let Some(ty) = self.expression(operand)? else {
            return Ok(None);
        };
        let name = op.to_string();
        match signatures::prefix(&name, ty) {
            Choice::One { arguments, result } => {
                if ty == UNKNOWN {
                    self.literal(operand, arguments[0])?;
                }
                Ok(result)
            }
            Choice::Several | Choice::Cast => {
                let message = format!("operator is not unique: {name} {}", type_name(ty));
                let error = Error::new(ErrorKind::AmbiguousFunction, message).with_hint(SEVERAL_OPERATORS);
                Err(self.places.before(error, operand, &[&name]))
            }
            Choice::None => {
                let message = format!("operator does not exist: {name} {}", type_name(ty));
                let error = Error::new(ErrorKind::UndefinedFunction, message).with_hint(NO_PREFIX);
                Err(self.places.before(error, operand, &[&name]))
            }
        }
    }

    /// The type of a parameter, where the statement or its client says it.
    fn parameter(&self, name: &str) -> Type {
        let index = name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)?;
        match self.parameters.get(index)?.as_ref()? {
            SqlType::System(ty) if !is_plain(*ty) => None,
            SqlType::Struct(_) | SqlType::Unknown => None,
            ty => Some(type_oid(ty)),
        }
    }

    /// Whether it is a parameter of which nothing else in the text can say what it is.
    fn is_unknown(&self, expression: &Expr) -> bool {
        match expression {
            Expr::Value(value) => match &value.value {
                Value::Placeholder(name) => positions_of_words(self.places.text(), &[name]).len() == 1,
                _ => false,
            },
            _ => false,
        }
    }

    fn operation(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Type> {
        let (name, words): (String, Vec<String>) = match op {
            BinaryOperator::NotEq => ("<>".into(), vec!["<>".into(), "!=".into()]),
            BinaryOperator::BitwiseXor | BinaryOperator::PGExp => ("^".into(), vec!["^".into()]),
            other => (other.to_string(), vec![other.to_string()]),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if is_row(left) || is_row(right) {
            return self.of_rows(&name, left, right, &words);
        }
        let sides = (self.expression(left)?, self.expression(right)?);
        if matches!(op, BinaryOperator::Xor | BinaryOperator::PGCustomBinaryOperator(_)) {
            return Ok(None);
        }
        self.operator(&name, (left, sides.0), (right, sides.1), &words)
    }

    fn pattern(&mut self, name: &str, value: &Expr, pattern: &Expr, word: &str) -> Result<Type> {
        let sides = (self.expression(value)?, self.expression(pattern)?);
        self.operator(name, (value, sides.0), (pattern, sides.1), &[word, "not"])
    }

    /// Finds the operator for two values; literals are read as it takes them.
    pub(super) fn operator(
        &self,
        name: &str,
        left: (&Expr, Type),
        right: (&Expr, Type),
        words: &[&str],
    ) -> Result<Type> {
        Ok(self.chosen(name, left, right, words)?.and_then(|(_, result)| result))
    }

    /// The same with the types it takes.
    fn chosen(
        &self,
        name: &str,
        left: (&Expr, Type),
        right: (&Expr, Type),
        words: &[&str],
    ) -> Result<Option<(Vec<u32>, Type)>> {
        let unknown = left.1.is_none() && right.1.is_none() && self.is_unknown(left.0) && self.is_unknown(right.0);
        let types = if unknown {
            (Some(UNKNOWN), Some(UNKNOWN))
        } else {
            (left.1, right.1)
        };
        let (Some(left_type), Some(right_type)) = types else {
            return Ok(None);
        };
        let shown = || format!("{} {name} {}", type_name(left_type), type_name(right_type));
        let error = match signatures::binary(name, left_type, right_type) {
            Choice::One { arguments, result } => {
                for ((expression, ty), taken) in [(left.0, left_type), (right.0, right_type)].iter().zip(&arguments) {
                    if *ty == UNKNOWN {
                        self.literal(expression, *taken)?;
                    }
                    // Beside `||` DataFusion does not know what a NULL is.
                    if name == "||"
                        && let Expr::Value(value) = expression
                    {
                        self.readings.borrow_mut().note_null(value, *taken);
                    }
                }
                return Ok(Some((arguments, result)));
            }
            Choice::Several | Choice::Cast => Error::new(
                ErrorKind::AmbiguousFunction,
                format!("operator is not unique: {}", shown()),
            )
            .with_hint(SEVERAL_OPERATORS),
            Choice::None => {
                let message = format!("operator does not exist: {}", shown());
                Error::new(ErrorKind::UndefinedFunction, message).with_hint(NO_OPERATOR)
            }
        };
        Err(self.places.after(error, left.0, words))
    }

    /// Only one of these is computed: none may yield rows.
    fn no_sets<'e>(&self, mut parts: impl Iterator<Item = &'e Expr>, what: &str) -> Result<()> {
        match parts.find_map(|part| find_call(part, |_, name| signatures::returns_set(name))) {
            Some(call) => {
                let message = format!("set-returning functions are not allowed in {what}");
                let error = Error::unsupported(message).with_hint(TO_LATERAL);
                Err(self.places.at(error, &call))
            }
            None => Ok(()),
        }
    }

    fn branches(&self, what: &str, branches: &[(&Expr, Type)]) -> Result<Type> {
        let types: Vec<Type> = branches.iter().map(|(_, ty)| *ty).collect();
        let expressions: Vec<Option<&Expr>> = branches.iter().map(|(expression, _)| Some(*expression)).collect();
        self.unified(what, &types, &expressions)
    }

    /// The type of a choice that begins there.
    fn chosen_type(&self, place: Location, values: &[(&Expr, Type)], ty: Type) -> Type {
        let differs = |(_, value): &(&Expr, Type)| *value != Some(UNKNOWN) && *value != ty;
        if let Some(common) = ty
            && values.iter().any(differs)
        {
            self.readings.borrow_mut().note_choice(place, common);
        }
        ty
    }

    fn cast(&mut self, kind: &CastKind, expr: &Expr, data_type: &DataType) -> Result<Type> {
        let from = self.expression(expr)?;
        let to = self.named_type(data_type).map_err(|error| {
            let word = if *kind == CastKind::DoubleColon { "::" } else { "as" };
            self.places.at_type(error, expr, word)
        })?;
        if from == Some(UNKNOWN)
            && to.is_none()
            && let Ok(ty @ SqlType::System(_)) = sql_type_of_ast(data_type)
        {
            self.readable(expr, type_oid(&ty))?;
        }
        let (Some(from), Some(to)) = (from, to) else {
            return Ok(to);
        };
        if from == UNKNOWN {
            // With fields, it is read by them.
            if !matches!(data_type, DataType::Interval { fields: Some(_), .. }) {
                self.readable(expr, to)?;
            }
        } else if !can_cast(from, to) && matches!(kind, CastKind::Cast | CastKind::DoubleColon) {
            let message = format!("cannot cast type {} to {}", type_name(from), type_name(to));
            let error = Error::new(ErrorKind::CannotCoerce, message);
            return Err(match kind {
                CastKind::DoubleColon => self.places.after(error, expr, &["::"]),
                _ => self.places.before(error, expr, &["cast"]),
            });
        }
        Ok(Some(to))
    }

    /// The OID of a type that is named in the text.
    fn named_type(&self, data_type: &DataType) -> Result<Type> {
        match sql_type_of_ast(data_type) {
            Ok(SqlType::System(ty)) if is_plain(ty) => Ok(Some(type_oid(&SqlType::System(ty)))),
            // Other types of PostgreSQL's own catalogs are let through.
            Ok(SqlType::System(_) | SqlType::Struct(_)) => Ok(None),
            Ok(ty) => Ok(Some(type_oid(&ty))),
            Err(error) => Err(match data_type {
                DataType::Custom(name, _) => {
                    let error = crate::resolve::missing_schema(self.context, name).unwrap_or(error);
                    crate::resolve::at_name(error, name, self.places.text())
                }
                _ => error,
            }),
        }
    }

    /// Reads a literal as PostgreSQL does as soon as its type is known, and notes that it is of this type.
    pub(super) fn literal(&self, expression: &Expr, ty: u32) -> Result<()> {
        self.readable(expression, ty)?;
        let mut expression = expression;
        while let Expr::Nested(inner) = expression {
            expression = inner;
        }
        if let Expr::Value(value) = expression {
            self.readings.borrow_mut().note(value, ty);
        }
        Ok(())
    }

    /// Whether a literal can be read as this type.
    pub(super) fn readable(&self, expression: &Expr, ty: u32) -> Result<()> {
        let text = match expression {
            Expr::Nested(inner) => return self.readable(inner, ty),
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text)
                | Value::EscapedStringLiteral(text)
                | Value::UnicodeStringLiteral(text) => text,
                Value::DollarQuotedString(quoted) => &quoted.value,
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        // No text holds it: rewriting says so.
        if text.contains('\0') {
            return Ok(());
        }
        if ty == JSON_PATH {
            let read = JsonPath::read(text).map(|_| ());
            return read.map_err(|error| self.places.put(error, Some(expression)));
        }
        // Names of objects are looked up when the catalog is there.
        let is_known = |ty: &SqlType| match ty {
            SqlType::System(ty) => is_plain(*ty) || names_object(*ty) && self.context.catalog_view().is_some(),
            _ => true,
        };
        let Some(sql_type) = sql_type_of_oid(ty, -1).filter(is_known) else {
            return Ok(());
        };
        match self.casts.check(text, &sql_type) {
            // How many digits there can be is found out where the number is used.
            Err(error) if ty == NUMERIC && error.kind() == ErrorKind::NumericOutOfRange => Ok(()),
            Err(error) => Err(self.places.put(error, Some(expression))),
            Ok(()) => Ok(()),
        }
    }

    /// A call in FROM, which may yield rows.
    pub(super) fn table_call(&mut self, name: &ObjectName, args: &[FunctionArg]) -> Result<Type> {
        self.call(&Function {
            name: name.clone(),
            uses_odbc_syntax: false,
            parameters: FunctionArguments::None,
            args: FunctionArguments::List(FunctionArgumentList {
                duplicate_treatment: None,
                args: args.to_vec(),
                clauses: Vec::new(),
            }),
            filter: None,
            null_treatment: None,
            over: None,
            within_group: Vec::new(),
        })
    }

    fn call(&mut self, function: &Function) -> Result<Type> {
        let Some(name) = function_name(&function.name) else {
            return self.call_elsewhere(function);
        };
        let Some(ident) = function.name.0.first().and_then(|part| part.as_ident()) else {
            return Ok(None);
        };
        // Calls of ours.
        if name.starts_with('\u{1}') {
            return Ok(None);
        }
        let is_aggregate = function.over.is_none() && signatures::is_of_kind(&name, "a");
        let fail = |this: &Self, kind, message: String| Err(this.places.at(Error::new(kind, message), ident));
        let owner = if is_aggregate { self.owner(function) } else { None };
        let owner = owner.and_then(|owner| self.levels.get(owner));
        let clause = owner.map_or(self.clause, |owner| owner.clause);
        if is_aggregate && let Some(clause) = clause.filter(|clause| !TAKE_AGGREGATES.contains(clause)) {
            let message = format!("aggregate functions are not allowed in {clause}");
            return fail(self, ErrorKind::GroupingError, message);
        }
        if let Some(owner) = owner {
            if owner.in_from {
                let message = "aggregate functions are not allowed in FROM clause of their own query level";
                return fail(self, ErrorKind::GroupingError, message.to_string());
            }
            if owner.aggregate {
                let message = "aggregate function calls cannot be nested";
                return fail(self, ErrorKind::GroupingError, message.to_string());
            }
            if let Some(select) = owner.select {
                self.readings.borrow_mut().note_owner(ident, select);
            }
        }
        if function.over.is_some()
            && let Some(clause) = self.clause
        {
            let message = format!("window functions are not allowed in {clause}");
            return fail(self, ErrorKind::WindowingError, message);
        }
        let returns_set = signatures::returns_set(&name);
        if returns_set && let Some(clause) = self.clause.filter(|clause| *clause != "GROUP BY") {
            let message = format!("set-returning functions are not allowed in {clause}");
            return fail(self, ErrorKind::FeatureNotSupported, message);
        }
        if returns_set && self.aggregate {
            let message = "aggregate function calls cannot contain set-returning function calls";
            let error = Error::unsupported(message).with_hint(TO_LATERAL);
            return Err(self.places.at(error, ident));
        }
        if self.aggregate && is_aggregate {
            return fail(
                self,
                ErrorKind::GroupingError,
                "aggregate function calls cannot be nested".to_string(),
            );
        }
        if self.aggregate && function.over.is_some() {
            let message = "aggregate function calls cannot contain window function calls".to_string();
            return fail(self, ErrorKind::GroupingError, message);
        }
        let list = match &function.args {
            FunctionArguments::List(list) => list,
            FunctionArguments::Subquery(query) if name == "array" => {
                let columns = self.query(query, true)?;
                if columns.as_ref().is_some_and(|columns| columns.len() != 1) {
                    let error = Error::new(ErrorKind::SyntaxError, "subquery must return only one column");
                    return Err(self.places.at(error, ident));
                }
                let first = columns.as_deref().and_then(|columns| columns.first()?.1);
                let ty = first.map(|ty| if ty == UNKNOWN { TEXT } else { ty });
                return Ok(ty.and_then(signatures::array_of));
            }
            FunctionArguments::None => return Ok(type_of_call(&name)),
            _ => return Ok(None),
        };
        if let ([FunctionArg::Unnamed(FunctionArgExpr::Expr(value))], Some(ty)) =
            (list.args.as_slice(), called_type(ident))
        {
            return self.cast(&CastKind::Cast, value, &ty);
        }
        let is_of_rows = signatures::is_of_kind(&name, "aw");
        let outside = self.aggregate;
        self.aggregate = outside || is_aggregate;
        let mut given = Vec::with_capacity(list.args.len());
        let mut is_positional = true;
        let mut has_star = false;
        let mut named: Vec<(String, Type)> = Vec::new();
        for argument in &list.args {
            match argument {
                // A form of Unicode is a word, not a column.
                FunctionArg::Unnamed(FunctionArgExpr::Expr(_)) if name == "normalize" && given.len() == 1 => {
                    is_positional = false;
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => {
                    given.push((argument, self.expression(argument)?))
                }
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => has_star = true,
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(argument),
                    ..
                } => {
                    is_positional = false;
                    named.push((fold(name), self.expression(argument)?));
                }
                _ => is_positional = false,
            }
        }
        self.aggregate = outside;
        if let ("nextval" | "currval" | "setval", [(first, _), ..]) = (name.as_str(), given.as_slice()) {
            self.sequence(first)?;
        }
        if let Some(condition) = &function.filter {
            let around = self.clause.replace("FILTER");
            let checked = self.condition(condition, "FILTER");
            self.clause = around;
            checked?;
        }
        self.over(function, ident)?;
        if function.over.is_some() && list.duplicate_treatment == Some(DuplicateTreatment::Distinct) && is_of_rows {
            let message = "DISTINCT is not implemented for window functions";
            return fail(self, ErrorKind::FeatureNotSupported, message.to_string());
        }
        match name.as_str() {
            "coalesce" | "greatest" | "least" if !given.is_empty() => {
                if name == "coalesce" {
                    self.no_sets(given.iter().map(|(argument, _)| *argument), "COALESCE")?;
                }
                let ty = self.branches(&name.to_uppercase(), &given)?;
                return Ok(self.chosen_type(ident.span.start, &given, ty));
            }
            "nullif" => {
                if let [left, right] = given.as_slice() {
                    let chosen = self
                        .chosen("=", *left, *right, &[])
                        .map_err(|error| self.places.at(error, ident))?;
                    return Ok(chosen.map(|(sides, _)| sides[0]));
                }
                return Ok(None);
            }
            _ => {}
        }
        let no_such = |types: &str| self.no_such_function(&function.name, types);
        let names = named.iter().map(|(name, _)| name.as_str());
        if !named.is_empty() && !named_arguments::fit(&name, given.len(), names) {
            let plain = given.iter().map(|(_, ty)| ty.map(type_name));
            let named = named
                .iter()
                .map(|(name, ty)| ty.map(|ty| format!("{name} => {}", type_name(ty))));
            return match plain.chain(named).collect::<Option<Vec<String>>>() {
                Some(types) => Err(no_such(&types.join(", "))),
                None => Ok(None),
            };
        }
        if is_positional && name == "unnest" {
            let types: Option<Vec<u32>> = given.iter().map(|(_, ty)| *ty).collect();
            return match (given.as_slice(), types) {
                ([(_, ty)], _) => self.unnested(*ty).map_err(|error| self.places.at(error, ident)),
                (_, Some(types)) => Err(no_such(&signature(&types))),
                _ => Ok(None),
            };
        }
        if is_aggregate && list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
            self.check_distinct_order(list, &given)?;
        }
        if HYPOTHETICAL.contains(&name.as_str()) && !function.within_group.is_empty() {
            return self.hypothetical(function, &name, &given);
        }
        if !is_positional || FORMS.contains(&name.as_str()) || !function.within_group.is_empty() {
            return Ok(None);
        }
        if HYPOTHETICAL.contains(&name.as_str()) && !given.is_empty() {
            let message = format!("WITHIN GROUP is required for ordered-set aggregate {name}");
            return fail(self, ErrorKind::WrongObjectType, message);
        }
        let types: Option<Vec<u32>> = given.iter().map(|(_, ty)| *ty).collect();
        if !signatures::has_function(&name) {
            return match types {
                Some(_) if is_function_of_postgres(&name) => Ok(None),
                Some(types) if !has_star && !self.is_ours(&name) => Err(no_such(&signature(&types))),
                _ => Ok(None),
            };
        }
        if has_star || given.is_empty() && name == "count" {
            return match (name.as_str(), has_star) {
                ("count", true) => Ok(Some(BIGINT)),
                ("count", false) => {
                    let message = "count(*) must be used to call a parameterless aggregate function".to_string();
                    fail(self, ErrorKind::WrongObjectType, message)
                }
                _ => Err(no_such("")),
            };
        }
        let Some(types) = types else {
            return Ok(signatures::result_of_any(&name, given.len()));
        };
        let choice = match signatures::function(&name, &types) {
            Choice::None => return Err(no_such(&signature(&types))),
            Choice::Several => {
                let shown = format!("{}({})", crate::resolve::shown(&function.name), signature(&types));
                return Err(self.places.at(signatures::several_functions(&shown), ident));
            }
            Choice::Cast => return Ok(None),
            Choice::One { arguments, result } => (arguments, result),
        };
        self.modifiers(function, list.duplicate_treatment, &name, ident)?;
        for ((argument, ty), taken) in given.iter().zip(choice.0) {
            if *ty == Some(UNKNOWN) {
                self.literal(argument, taken)?;
            }
        }
        Ok(choice.1)
    }

    /// `rank(a) within group (order by x)` and its like: a value for each key, of its type.
    fn hypothetical(&mut self, function: &Function, name: &str, given: &[(&Expr, Type)]) -> Result<Type> {
        let Some(ident) = function.name.0.last().and_then(|part| part.as_ident()) else {
            return Ok(None);
        };
        if function.over.is_some() {
            let message = format!("OVER is not supported for ordered-set aggregate {name}");
            return Err(self.places.at(Error::unsupported(message), ident));
        }
        let mut keys = Vec::new();
        for key in &function.within_group {
            keys.push(self.expression(&key.expr)?);
        }
        if given.len() != keys.len() {
            let types: Option<Vec<u32>> = given.iter().map(|(_, ty)| *ty).chain(keys.iter().copied()).collect();
            let Some(types) = types else { return Ok(None) };
            let error = self.no_such_function(&function.name, &signature(&types));
            return Err(error.with_hint(format!(
                "To use the hypothetical-set aggregate {name}, the number of hypothetical direct arguments (here {}) must match \
                 the number of ordering columns (here {}).",
                given.len(),
                keys.len(),
            )));
        }
        for (((value, ty), key), by) in given.iter().zip(keys).zip(&function.within_group) {
            match (*ty, key) {
                (Some(UNKNOWN), Some(key)) => self.literal(value, key)?,
                (Some(ty), Some(key))
                    if self
                        .chosen("<", (&by.expr, Some(key)), (*value, Some(ty)), &[])
                        .is_err() =>
                {
                    let message = format!(
                        "WITHIN GROUP types {} and {} cannot be matched",
                        type_name(key),
                        type_name(ty)
                    );
                    let error = Error::new(ErrorKind::DatatypeMismatch, message);
                    return Err(self.places.put(error, Some(value)));
                }
                _ => {}
            }
        }
        Ok(Some(match name {
            "rank" | "dense_rank" => BIGINT,
            _ => DOUBLE,
        }))
    }

    /// A literal that names a sequence, or another relation: it must be there.
    fn sequence(&self, argument: &Expr) -> Result<()> {
        let literal = sequence::literal(argument);
        let Expr::Value(value) = literal else { return Ok(()) };
        match &value.value {
            Value::SingleQuotedString(text) => {
                // What another relation is for comes out when it runs.
                sequence::existing(self.context, text).map_err(|error| match error.kind() {
                    ErrorKind::WrongObjectType => error,
                    _ => self.places.put(error, Some(literal)),
                })?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What `unnest` makes of a value of this type.
    pub(super) fn unnested(&self, ty: Type) -> Result<Type> {
        match ty {
            None => Ok(None),
            Some(UNKNOWN) => Err(signatures::several_functions("unnest(unknown)")),
            Some(ty) => match signatures::element(ty) {
                Some(element) => Ok(Some(element)),
                None => {
                    let message = format!("function unnest({}) does not exist", type_name(ty));
                    Err(Error::new(ErrorKind::UndefinedFunction, message).with_hint(NO_FUNCTION))
                }
            },
        }
    }

    /// A call of a function of another schema: there are none.
    fn call_elsewhere(&mut self, function: &Function) -> Result<Type> {
        let FunctionArguments::List(list) = &function.args else {
            return Ok(None);
        };
        let mut types = Vec::with_capacity(list.args.len());
        for argument in &list.args {
            types.push(match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => self.expression(argument)?,
                _ => None,
            });
        }
        if let Some(error) = crate::resolve::missing_schema(self.context, &function.name) {
            return Err(crate::resolve::at_name(error, &function.name, self.places.text()));
        }
        let schema = function.name.0.first().and_then(|part| part.as_ident()).map(fold);
        let is_users = schema.is_some_and(|schema| self.context.snapshot.has_schema(&self.context.database, &schema));
        match types.into_iter().collect::<Option<Vec<u32>>>() {
            Some(types) if is_users => Err(self.no_such_function(&function.name, &signature(&types))),
            _ => Ok(None),
        }
    }

    fn no_such_function(&self, name: &ObjectName, types: &str) -> Error {
        let message = format!("function {}({types}) does not exist", crate::resolve::shown(name));
        let error = Error::new(ErrorKind::UndefinedFunction, message).with_hint(NO_FUNCTION);
        crate::resolve::at_name(error, name, self.places.text())
    }

    /// `agg(distinct a order by b)`: what is left of the rows has no `b`.
    fn check_distinct_order(&self, list: &FunctionArgumentList, given: &[(&Expr, Type)]) -> Result<()> {
        let keys = list.clauses.iter().filter_map(|clause| match clause {
            FunctionArgumentClause::OrderBy(keys) => Some(keys),
            _ => None,
        });
        let is_given = |key: &Expr| given.iter().any(|(argument, _)| text_of(argument) == text_of(key));
        match keys.flatten().find(|key| !is_given(&key.expr)) {
            Some(key) => {
                let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
                let error = Error::new(ErrorKind::InvalidColumnReference, message);
                Err(self.places.put(error, Some(&key.expr)))
            }
            None => Ok(()),
        }
    }

    /// DISTINCT, FILTER and OVER where the function knows nothing of them.
    fn modifiers(
        &self,
        function: &Function,
        distinct: Option<DuplicateTreatment>,
        name: &str,
        ident: &datafusion::sql::sqlparser::ast::Ident,
    ) -> Result<()> {
        if signatures::is_of_kind(name, "aw") {
            return Ok(());
        }
        let message = if matches!(distinct, Some(DuplicateTreatment::Distinct)) {
            format!("DISTINCT specified, but {name} is not an aggregate function")
        } else if function.filter.is_some() {
            format!("FILTER specified, but {name} is not an aggregate function")
        } else if function.over.is_some() {
            format!("OVER specified, but {name} is not a window function nor an aggregate function")
        } else {
            return Ok(());
        };
        Err(self.places.at(Error::new(ErrorKind::WrongObjectType, message), ident))
    }

    /// Whether there is such a function here that PostgreSQL does not have.
    fn is_ours(&self, name: &str) -> bool {
        let state = &self.context.session;
        name.starts_with("staffa_")
            || state.scalar_functions().contains_key(name)
            || state.aggregate_functions().contains_key(name)
            || state.window_functions().contains_key(name)
            || state.table_functions().contains_key(name)
    }
}

pub(crate) fn signature(types: &[u32]) -> String {
    let names: Vec<String> = types.iter().map(|ty| type_name(*ty)).collect();
    names.join(", ")
}

/// Whether it is a type of the catalogs whose values are no names of objects.
fn is_plain(ty: SystemType) -> bool {
    matches!(ty, SystemType::Char | SystemType::Name | SystemType::Oid)
}

/// Whether its values are numbers of objects, written as names.
fn names_object(ty: SystemType) -> bool {
    matches!(
        ty,
        SystemType::RegClass | SystemType::RegType | SystemType::RegNamespace | SystemType::RegRole
    )
}

/// The name of a function that is not another schema's.
fn function_name(name: &ObjectName) -> Option<String> {
    let part = |at: usize| name.0.get(at).and_then(|part| part.as_ident()).map(fold);
    match name.0.len() {
        1 => part(0),
        2 if part(0).as_deref() == Some("pg_catalog") => part(1),
        _ => None,
    }
}

fn type_of_number(digits: &str) -> u32 {
    if digits.parse::<i32>().is_ok() {
        INTEGER
    } else if digits.parse::<i64>().is_ok() {
        BIGINT
    } else {
        NUMERIC
    }
}

fn type_of_value(value: &Value) -> Type {
    match value {
        Value::Number(digits, _) => Some(type_of_number(digits)),
        Value::SingleQuotedString(_)
        | Value::EscapedStringLiteral(_)
        | Value::UnicodeStringLiteral(_)
        | Value::DollarQuotedString(_)
        | Value::Null => Some(UNKNOWN),
        Value::Boolean(_) => Some(BOOLEAN),
        _ => None,
    }
}
