//! The list of functions about the catalog, and their answers.

use staffa_catalog::{SystemType, quote_identifier};

use super::acl;
use super::privileges::{
    any_column_privilege, any_column_privilege_of, column_privilege, column_privilege_of, database_privilege,
    database_privilege_of, function_privilege, function_privilege_of, has_role, has_role_of, open_to_all,
    relation_privilege, relation_privilege_of, row_security, schema_privilege, schema_privilege_of,
    tablespace_privilege,
};
use super::sizes::{size_bytes, size_pretty};
use super::{Answer, Asked, Function, How, Takes, Yields, is_of_another};
use crate::error::{Error, ErrorKind, Result};
use crate::pg_catalog::Kind;
use crate::value::{ENCODINGS, encoding_number as number_of_encoding};

use SystemType::{AclItem, Name, Oid as OidType, RegClass, RegNamespace, RegProc, RegProcedure, RegRole, RegType};
use Takes::{Any, Big, Bool, Grantee, Grants, Int, Numeric, Object, Oid, Role, Schema, Text};

/// A function that is not asked about NULLs.
const fn strict(
    name: &'static str,
    takes: &'static [Takes],
    yields: Yields,
    answer: fn(&Asked<'_>, &[Answer]) -> Result<Answer>,
) -> Function {
    Function {
        name,
        takes,
        yields,
        called_on_null: false,
        answer: How::Catalog(answer),
    }
}

/// The same, of a function that does not look at the catalog.
const fn plain(
    name: &'static str,
    takes: &'static [Takes],
    yields: Yields,
    answer: fn(&[Answer]) -> Result<Answer>,
) -> Function {
    Function {
        name,
        takes,
        yields,
        called_on_null: false,
        answer: How::Values(answer),
    }
}

#[rustfmt::skip]
pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "format_type", takes: &[Oid, Int], yields: Yields::Text, called_on_null: true, answer: How::Catalog(format_type) },
    plain("pg_get_expr", &[Text, Oid], Yields::Text, first),
    plain("pg_get_expr", &[Text, Oid, Bool], Yields::Text, first),
    strict("pg_get_constraintdef", &[Oid], Yields::Text, constraint_definition),
    strict("pg_get_constraintdef", &[Oid, Bool], Yields::Text, constraint_definition),
    strict("pg_get_indexdef", &[Oid], Yields::Text, index_definition),
    strict("pg_get_indexdef", &[Oid, Int, Bool], Yields::Text, index_definition),
    strict("pg_get_viewdef", &[Object(RegClass)], Yields::Text, view_definition),
    strict("pg_get_viewdef", &[Object(RegClass), Int], Yields::Text, view_definition),
    strict("pg_get_viewdef", &[Object(RegClass), Bool], Yields::Text, view_definition),
    strict("pg_get_userbyid", &[Oid], Yields::System(Name), user_name),
    strict("pg_get_function_arguments", &[Oid], Yields::Text, function_arguments),
    strict("pg_get_function_identity_arguments", &[Oid], Yields::Text, function_identity),
    strict("pg_get_function_result", &[Oid], Yields::Text, function_result),
    strict("pg_get_function_sqlbody", &[Oid], Yields::Text, function_body),
    strict("pg_get_functiondef", &[Oid], Yields::Text, function_definition),
    plain("pg_get_partkeydef", &[Oid], Yields::Text, nothing),
    plain("pg_get_triggerdef", &[Oid], Yields::Text, nothing),
    plain("pg_get_triggerdef", &[Oid, Bool], Yields::Text, nothing),
    plain("pg_get_ruledef", &[Oid], Yields::Text, nothing),
    plain("pg_get_ruledef", &[Oid, Bool], Yields::Text, nothing),
    plain("pg_get_statisticsobjdef", &[Oid], Yields::Text, nothing),
    plain("pg_get_statisticsobjdef_columns", &[Oid], Yields::Text, nothing),
    plain("pg_get_replica_identity_index", &[Object(RegClass)], Yields::System(RegClass), nothing),
    strict("pg_get_serial_sequence", &[Text, Text], Yields::Text, sequence_of_column),
    plain("parse_ident", &[Text], Yields::Texts, name_parts),
    plain("parse_ident", &[Text, Bool], Yields::Texts, name_parts),
    plain("pg_relation_is_publishable", &[Object(RegClass)], Yields::Bool, no),
    strict("pg_relation_is_updatable", &[Object(RegClass), Bool], Yields::Int, updatable_events),
    strict("pg_column_is_updatable", &[Object(RegClass), Int, Bool], Yields::Bool, column_is_updatable),
    plain("pg_tablespace_location", &[Oid], Yields::Text, empty),
    plain("pg_partition_root", &[Object(RegClass)], Yields::System(RegClass), nothing),
    plain("staffa_partition_ancestors", &[Object(RegClass)], Yields::Array(RegClass), no_objects),
    strict("obj_description", &[Oid], Yields::Text, description),
    strict("obj_description", &[Oid, Text], Yields::Text, description),
    strict("col_description", &[Oid, Int], Yields::Text, column_description),
    strict("shobj_description", &[Oid, Text], Yields::Text, shared_description),
    strict("pg_table_is_visible", &[Oid], Yields::Bool, relation_is_visible),
    strict("pg_type_is_visible", &[Oid], Yields::Bool, type_is_visible),
    plain("pg_function_is_visible", &[Oid], Yields::Bool, function_is_visible),
    plain("pg_collation_is_visible", &[Oid], Yields::Bool, yes),
    plain("pg_opclass_is_visible", &[Oid], Yields::Bool, yes),
    plain("pg_operator_is_visible", &[Oid], Yields::Bool, yes),
    plain("pg_opfamily_is_visible", &[Oid], Yields::Bool, yes),
    plain("pg_conversion_is_visible", &[Oid], Yields::Bool, yes),
    plain("pg_statistics_obj_is_visible", &[Oid], Yields::Bool, yes),
    plain("pg_ts_config_is_visible", &[Oid], Yields::Bool, yes),
    plain("pg_ts_dict_is_visible", &[Oid], Yields::Bool, yes),
    plain("pg_ts_parser_is_visible", &[Oid], Yields::Bool, yes),
    plain("pg_ts_template_is_visible", &[Oid], Yields::Bool, yes),
    strict("has_table_privilege", &[Grantee, Object(RegClass), Text], Yields::Bool, relation_privilege_of),
    strict("has_table_privilege", &[Object(RegClass), Text], Yields::Bool, relation_privilege),
    strict("has_sequence_privilege", &[Grantee, Object(RegClass), Text], Yields::Bool, relation_privilege_of),
    strict("has_sequence_privilege", &[Object(RegClass), Text], Yields::Bool, relation_privilege),
    strict("has_any_column_privilege", &[Grantee, Object(RegClass), Text], Yields::Bool, any_column_privilege_of),
    strict("has_any_column_privilege", &[Object(RegClass), Text], Yields::Bool, any_column_privilege),
    strict("has_column_privilege", &[Object(RegClass), Text, Text], Yields::Bool, column_privilege),
    strict("has_column_privilege", &[Object(RegClass), Int, Text], Yields::Bool, column_privilege),
    strict("has_column_privilege", &[Grantee, Object(RegClass), Text, Text], Yields::Bool, column_privilege_of),
    strict("has_column_privilege", &[Grantee, Object(RegClass), Int, Text], Yields::Bool, column_privilege_of),
    strict("has_schema_privilege", &[Grantee, Schema, Text], Yields::Bool, schema_privilege_of),
    strict("has_schema_privilege", &[Schema, Text], Yields::Bool, schema_privilege),
    strict("has_database_privilege", &[Grantee, Text, Text], Yields::Bool, database_privilege_of),
    strict("has_database_privilege", &[Grantee, Oid, Text], Yields::Bool, database_privilege_of),
    strict("has_database_privilege", &[Text, Text], Yields::Bool, database_privilege),
    strict("has_database_privilege", &[Oid, Text], Yields::Bool, database_privilege),
    strict("has_function_privilege", &[Grantee, Object(RegProcedure), Text], Yields::Bool, function_privilege_of),
    strict("has_function_privilege", &[Object(RegProcedure), Text], Yields::Bool, function_privilege),
    plain("has_type_privilege", &[Grantee, Object(RegType), Text], Yields::Bool, open_to_all),
    plain("has_type_privilege", &[Object(RegType), Text], Yields::Bool, open_to_all),
    plain("has_language_privilege", &[Any, Text], Yields::Bool, open_to_all),
    strict("has_tablespace_privilege", &[Any, Text], Yields::Bool, tablespace_privilege),
    strict("pg_has_role", &[Role, Role, Text], Yields::Bool, has_role_of),
    strict("pg_has_role", &[Role, Text], Yields::Bool, has_role),
    strict("row_security_active", &[Object(RegClass)], Yields::Bool, row_security),
    strict("staffa_aclexplode", &[Grants], Yields::Array(OidType), acl::grantors),
    strict("staffa_aclexplode_grantee", &[Grants], Yields::Array(OidType), acl::grantees),
    strict("staffa_aclexplode_privilege", &[Grants], Yields::Texts, acl::privileges),
    strict("staffa_aclexplode_grantable", &[Grants], Yields::Texts, acl::grantables),
    strict("makeaclitem", &[Oid, Oid, Text, Bool], Yields::System(AclItem), acl::made),
    strict("acldefault", &[Text, Oid], Yields::Array(AclItem), default_privileges),
    strict("pg_my_temp_schema", &[], Yields::System(OidType), temporary_schema),
    strict("pg_is_other_temp_schema", &[Oid], Yields::Bool, is_other_temporary),
    plain("pg_encoding_to_char", &[Int], Yields::System(Name), encoding_name),
    plain("pg_char_to_encoding", &[Text], Yields::Int, encoding_number),
    plain("getdatabaseencoding", &[], Yields::System(Name), encoding),
    plain("pg_client_encoding", &[], Yields::System(Name), encoding),
    strict("pg_relation_size", &[Object(RegClass)], Yields::Big, relation_size),
    strict("pg_relation_size", &[Object(RegClass), Text], Yields::Big, relation_size),
    strict("pg_table_size", &[Object(RegClass)], Yields::Big, relation_size),
    strict("pg_total_relation_size", &[Object(RegClass)], Yields::Big, relation_size),
    strict("pg_indexes_size", &[Object(RegClass)], Yields::Big, index_size),
    strict("pg_database_size", &[Text], Yields::Big, database_size),
    strict("pg_database_size", &[Oid], Yields::Big, database_size),
    plain("pg_size_pretty", &[Big], Yields::Text, size_pretty),
    plain("pg_size_pretty", &[Numeric], Yields::Text, size_pretty),
    plain("pg_size_bytes", &[Text], Yields::Big, size_bytes),
    plain("pg_trigger_depth", &[], Yields::Int, |_| Ok(Answer::Int(0))),
    plain("pg_jit_available", &[], Yields::Bool, |_| Ok(Answer::Bool(false))),
    strict("to_regclass", &[Text], Yields::System(RegClass), |asked, given| object(asked, given, RegClass)),
    strict("to_regtype", &[Text], Yields::System(RegType), |asked, given| object(asked, given, RegType)),
    strict("to_regnamespace", &[Text], Yields::System(RegNamespace), |asked, given| object(asked, given, RegNamespace)),
    strict("to_regrole", &[Text], Yields::System(RegRole), |asked, given| object(asked, given, RegRole)),
    strict("to_regproc", &[Text], Yields::System(RegProc), |asked, given| object(asked, given, RegProc)),
    strict("to_regprocedure", &[Text], Yields::System(RegProcedure), |asked, given| object(asked, given, RegProcedure)),
    plain("pg_stat_get_numscans", &[Oid], Yields::Big, nothing),
    strict("pg_stat_get_live_tuples", &[Oid], Yields::Big, live_rows),
];

pub(super) fn oid(given: &[Answer], at: usize) -> u32 {
    match given.get(at) {
        Some(Answer::Oid(oid)) => *oid,
        _ => 0,
    }
}

pub(super) fn text(given: &[Answer], at: usize) -> &str {
    match given.get(at) {
        Some(Answer::Text(text)) => text,
        _ => "",
    }
}

fn int(given: &[Answer], at: usize) -> i32 {
    match given.get(at) {
        Some(Answer::Int(number)) => *number,
        _ => 0,
    }
}

fn nothing(_: &[Answer]) -> Result<Answer> {
    Ok(Answer::Null)
}

fn yes(_: &[Answer]) -> Result<Answer> {
    Ok(Answer::Bool(true))
}

fn no(_: &[Answer]) -> Result<Answer> {
    Ok(Answer::Bool(false))
}

fn empty(_: &[Answer]) -> Result<Answer> {
    Ok(Answer::Text(String::new()))
}

/// Expressions are kept as text.
fn first(given: &[Answer]) -> Result<Answer> {
    Ok(given.first().cloned().unwrap_or(Answer::Null))
}

fn no_objects(_: &[Answer]) -> Result<Answer> {
    Ok(Answer::Oids(Vec::new()))
}

fn object(asked: &Asked<'_>, given: &[Answer], ty: SystemType) -> Result<Answer> {
    let found = asked.catalog.look_up(ty, text(given, 0))?;
    Ok(found.map_or(Answer::Null, Answer::Oid))
}

fn format_type(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let modifier = match given.get(1) {
        Some(Answer::Int(modifier)) => Some(*modifier),
        _ => None,
    };
    Ok(match given.first() {
        Some(Answer::Oid(oid)) => Answer::Text(asked.catalog.type_name(*oid, modifier)),
        _ => Answer::Null,
    })
}

fn constraint_definition(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(asked
        .catalog
        .constraint_definition(oid(given, 0), is_pretty(given))
        .into())
}

fn index_definition(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let short = given.get(2) == Some(&Answer::Bool(true));
    Ok(asked
        .catalog
        .index_definition(oid(given, 0), int(given, 1), short)
        .into())
}

fn view_definition(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(asked.catalog.view_definition(oid(given, 0), is_pretty(given)).into())
}

/// Whether needless parentheses are left out: as asked, and where a width is given.
fn is_pretty(given: &[Answer]) -> bool {
    matches!(given.get(1), Some(Answer::Bool(true) | Answer::Int(_)))
}

fn user_name(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let oid = oid(given, 0);
    let role = asked.catalog.roles.with_oid(oid);
    Ok(Answer::Text(role.map_or_else(
        || format!("unknown (OID={oid})"),
        |role| role.name.clone(),
    )))
}

fn function_arguments(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(asked.catalog.function_arguments(oid(given, 0)).into())
}

fn function_identity(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(asked.catalog.function_identity(oid(given, 0)).into())
}

fn function_body(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(asked.catalog.function_body(oid(given, 0)).into())
}

fn function_definition(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(asked.catalog.function_definition(oid(given, 0))?.into())
}

fn function_result(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(asked.catalog.function_result(oid(given, 0)).into())
}

/// The name of the sequence that goes with a column, to be read as an identifier.
fn sequence_of_column(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let (table, column) = (text(given, 0), text(given, 1));
    let oid = asked.catalog.number(RegClass, table)?;
    let Some(relation) = asked.catalog.image.relation(oid) else {
        return Ok(Answer::Null);
    };
    let Some(known) = relation.columns.iter().find(|known| known.name == column) else {
        let message = format!("column \"{column}\" of relation \"{}\" does not exist", relation.name);
        return Err(Error::new(ErrorKind::UndefinedColumn, message));
    };
    let sequence = asked.catalog.image.sequence_of(relation, known.number);
    Ok(match sequence {
        Some((sequence, _)) => {
            let parts = [&sequence.schema.name, &sequence.name].map(|part| quote_identifier(part));
            Answer::Text(parts.join("."))
        }
        None => Answer::Null,
    })
}

fn name_parts(given: &[Answer]) -> Result<Answer> {
    let name = text(given, 0);
    let is_strict = !matches!(given.get(1), Some(Answer::Bool(false)));
    match identifiers(name, is_strict) {
        Some(parts) => Ok(Answer::Texts(parts)),
        None => {
            let message = format!("string is not a valid identifier: \"{name}\"");
            Err(Error::new(ErrorKind::InvalidParameterValue, message))
        }
    }
}

/// The identifiers that points join; what follows them is a mistake if one is strict.
fn identifiers(text: &str, is_strict: bool) -> Option<Vec<String>> {
    let is_start = |letter: char| letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii();
    let is_more = |letter: char| is_start(letter) || letter.is_ascii_digit() || letter == '$';
    let mut parts = Vec::new();
    let mut rest = text.trim_ascii_start();
    loop {
        let after = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut part = String::new();
                let mut left = quoted;
                loop {
                    let (before, behind) = left.split_once('"')?;
                    part.push_str(before);
                    left = behind;
                    match left.strip_prefix('"') {
                        Some(more) => {
                            part.push('"');
                            left = more;
                        }
                        None => break,
                    }
                }
                if part.is_empty() {
                    return None;
                }
                parts.push(part);
                left
            }
            None => {
                rest.chars().next().filter(|letter| is_start(*letter))?;
                let end = rest.find(|letter| !is_more(letter)).unwrap_or(rest.len());
                let (part, left) = rest.split_at(end);
                parts.push(part.to_ascii_lowercase());
                left
            }
        };
        let after = after.trim_ascii_start();
        match after.strip_prefix('.') {
            Some(next) => rest = next.trim_ascii_start(),
            None if is_strict && !after.is_empty() => return None,
            None => return Some(parts),
        }
    }
}

/// INSERT, UPDATE and DELETE as bits.
fn updatable_events(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let is_table = is_table(asked, oid(given, 0));
    Ok(Answer::Int(if is_table { 28 } else { 0 }))
}

fn column_is_updatable(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(Answer::Bool(is_table(asked, oid(given, 0))))
}

fn is_table(asked: &Asked<'_>, oid: u32) -> bool {
    let relation = asked.catalog.image.relation(oid);
    relation.is_some_and(|relation| matches!(relation.kind, Kind::Table))
}

fn description(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let catalog = match given.get(1) {
        Some(Answer::Text(catalog)) => Some(catalog.as_str()),
        _ => None,
    };
    Ok(asked.catalog.comment(oid(given, 0), catalog, 0).into())
}

fn column_description(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(asked
        .catalog
        .comment(oid(given, 0), Some("pg_class"), int(given, 1))
        .into())
}

fn relation_is_visible(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(asked.catalog.relation_is_visible(oid(given, 0)).into())
}

fn type_is_visible(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(asked.catalog.type_is_visible(oid(given, 0)).into())
}

fn function_is_visible(given: &[Answer]) -> Result<Answer> {
    // All functions are PostgreSQL's own, and pg_catalog is always searched.
    Ok(crate::pg_catalog::function(oid(given, 0)).map(|_| true).into())
}

/// `COMMENT ON ROLE`
fn shared_description(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let oid = oid(given, 0);
    Ok(match text(given, 1) {
        "pg_authid" => {
            let role = asked.catalog.roles.role(oid);
            role.and_then(|role| role.comment.clone()).into()
        }
        "pg_database" => asked.catalog.image.database_comment(oid).map(str::to_owned).into(),
        _ => Answer::Null,
    })
}

/// What an object's owner and everybody may do when nothing was granted.
fn default_privileges(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let owner = asked
        .catalog
        .roles
        .with_oid(oid(given, 1))
        .map_or("", |role| &role.name);
    let (all, own) = match text(given, 0) {
        "r" => ("", "arwdDxt"),
        "s" => ("", "rwU"),
        "d" => ("Tc", "CTc"),
        "f" => ("X", "X"),
        "n" => ("", "UC"),
        "t" => ("", "C"),
        "T" | "l" => ("U", "U"),
        "c" => return Ok(Answer::Texts(Vec::new())),
        other => {
            let message = format!("unrecognized object type abbreviation: {other}");
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        }
    };
    let everybody = (!all.is_empty()).then(|| format!("={all}/{owner}"));
    Ok(Answer::Texts(
        everybody
            .into_iter()
            .chain([format!("{owner}={own}/{owner}")])
            .collect(),
    ))
}

fn temporary_schema(asked: &Asked<'_>, _: &[Answer]) -> Result<Answer> {
    let image = &asked.catalog.image;
    let own = image.temporary_schema.as_ref().and_then(|name| image.schema_oid(name));
    Ok(Answer::Oid(own.unwrap_or_default()))
}

fn is_other_temporary(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    Ok(Answer::Bool(is_of_another(asked.catalog, oid(given, 0))))
}

fn encoding_name(given: &[Answer]) -> Result<Answer> {
    let name = usize::try_from(int(given, 0))
        .ok()
        .and_then(|number| ENCODINGS.get(number));
    Ok(Answer::Text(name.copied().unwrap_or_default().to_owned()))
}

fn encoding_number(given: &[Answer]) -> Result<Answer> {
    let number = number_of_encoding(text(given, 0)).and_then(|number| i32::try_from(number).ok());
    Ok(Answer::Int(number.unwrap_or(-1)))
}

fn encoding(_: &[Answer]) -> Result<Answer> {
    Ok(Answer::Text("UTF8".to_owned()))
}

/// Bytes of the table's files at its last commit.
fn relation_size(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let oid = oid(given, 0);
    let bytes = match asked.catalog.image.relation(oid) {
        Some(relation) => i64::try_from(relation.bytes).unwrap_or(i64::MAX),
        None if asked.catalog.relation_parts(oid).is_some() => 0,
        None => return Ok(Answer::Null),
    };
    Ok(Answer::Big(bytes))
}

fn index_size(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let exists = asked.catalog.relation_parts(oid(given, 0)).is_some();
    Ok(if exists { Answer::Big(0) } else { Answer::Null })
}

fn database_size(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let image = &asked.catalog.image;
    let wanted = image.databases.iter().find(|database| match given.first() {
        Some(Answer::Text(name)) => database.name == *name,
        _ => database.oid == oid(given, 0),
    });
    match (wanted, given.first()) {
        (None, Some(Answer::Text(name))) => {
            let message = format!("database \"{name}\" does not exist");
            Err(Error::new(ErrorKind::UndefinedDatabase, message))
        }
        (None, _) => Ok(Answer::Null),
        (Some(database), _) if database.oid == image.database.oid => {
            let bytes: u64 = image.relations.iter().map(|relation| relation.bytes).sum();
            Ok(Answer::Big(i64::try_from(bytes).unwrap_or(i64::MAX)))
        }
        (Some(database), _) if image.empty_databases.contains(&database.oid) => Ok(Answer::Big(0)),
        // Only the connected database was looked at.
        (Some(_), _) => Ok(Answer::Null),
    }
}

fn live_rows(asked: &Asked<'_>, given: &[Answer]) -> Result<Answer> {
    let relation = asked.catalog.image.relation(oid(given, 0));
    let rows = relation.and_then(|relation| i64::try_from(relation.row_count?).ok());
    Ok(Answer::Big(rows.unwrap_or_default()))
}
