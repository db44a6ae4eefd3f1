//! Which operator, function or cast PostgreSQL would take for given types, by its own catalogs.
//!
//! Types are OIDs here. The steps are those of `parse_oper.c`, `parse_func.c` and `parse_coerce.c`.

use std::collections::HashMap;
use std::sync::LazyLock;

use staffa_catalog::SqlType;

use crate::error::{Error, ErrorKind};
use crate::pg_catalog::facts::{self, DumpedRows};
use crate::value::sql_type_of_oid;

pub(super) const BOOLEAN: u32 = 16;
pub(super) const BIGINT: u32 = 20;
pub(super) const DOUBLE: u32 = 701;
pub(super) const INTEGER: u32 = 23;
pub(super) const TEXT: u32 = 25;
pub(super) const INTERVAL: u32 = 1186;
pub(super) const NUMERIC: u32 = 1700;
pub(super) const UNKNOWN: u32 = 705;
const ANY: u32 = 2276;
const STRING_CATEGORY: &str = "S";
/// `anyarray`, `anycompatiblearray`
const ANY_ARRAYS: [u32; 2] = [2277, 5078];
/// `anyelement`, `anycompatible`, and the two of them that are no arrays
const ANY_ELEMENTS: [u32; 4] = [2283, 5077, 2776, 5079];
const NO_ARRAYS: [u32; 2] = [2776, 5079];

/// What the given types lead to.
#[derive(Debug, PartialEq)]
pub(super) enum Choice {
    One {
        arguments: Vec<u32>,
        result: Option<u32>,
    },
    None,
    Several,
    /// It is a cast, written as a call: `float8(x)`.
    Cast,
}

/// An operator or a function as far as its types go.
#[derive(Clone, Debug)]
struct Candidate {
    arguments: Vec<u32>,
    /// How many of the last arguments have defaults.
    defaults: usize,
    is_variadic: bool,
    result: u32,
    kind: &'static str,
    returns_set: bool,
}

struct TypeClass {
    category: &'static str,
    is_preferred: bool,
}

static TYPES: LazyLock<HashMap<u32, TypeClass>> = LazyLock::new(|| {
    let rows = DumpedRows::of("pg_type").expect("a file of ours");
    let class = |row| TypeClass {
        category: rows.text(row, "typcategory"),
        is_preferred: rows.text(row, "typispreferred") == "t",
    };
    (0..rows.len())
        .map(|row| (rows.number(row, "oid"), class(row)))
        .collect()
});

static OPERATORS: LazyLock<HashMap<&str, Vec<Candidate>>> = LazyLock::new(|| {
    let rows = DumpedRows::of("pg_operator").expect("a file of ours");
    let mut found: HashMap<&str, Vec<Candidate>> = HashMap::new();
    for row in 0..rows.len() {
        let sides = [rows.number(row, "oprleft"), rows.number(row, "oprright")];
        found.entry(rows.text(row, "oprname")).or_default().push(Candidate {
            arguments: sides.into_iter().filter(|oid| *oid != 0).collect(),
            defaults: 0,
            is_variadic: false,
            result: rows.number(row, "oprresult"),
            kind: "o",
            returns_set: false,
        });
    }
    found
});

static FUNCTIONS: LazyLock<HashMap<&str, Vec<Candidate>>> = LazyLock::new(|| {
    let rows = DumpedRows::of("pg_proc").expect("a file of ours");
    let mut found: HashMap<&str, Vec<Candidate>> = HashMap::new();
    for row in 0..rows.len() {
        let arguments = rows.text(row, "proargtypes").split_whitespace();
        found.entry(rows.text(row, "proname")).or_default().push(Candidate {
            arguments: arguments.filter_map(|oid| oid.parse().ok()).collect(),
            defaults: rows.number(row, "pronargdefaults") as usize,
            is_variadic: rows.number(row, "provariadic") != 0,
            result: rows.number(row, "prorettype"),
            kind: rows.text(row, "prokind"),
            returns_set: rows.text(row, "proretset") == "t",
        });
    }
    found
});

/// Source and target of a cast to its context: `i`mplicit, `a`ssignment, `e`xplicit.
static CASTS: LazyLock<HashMap<(u32, u32), &str>> = LazyLock::new(|| {
    let rows = DumpedRows::of("pg_cast").expect("a file of ours");
    let cast = |row| {
        let types = (rows.number(row, "castsource"), rows.number(row, "casttarget"));
        (types, rows.text(row, "castcontext"))
    };
    (0..rows.len()).map(cast).collect()
});

/// What messages call a type.
pub(super) fn type_name(oid: u32) -> String {
    match (oid, sql_type_of_oid(oid, -1), facts::type_with_oid(oid)) {
        (1042, ..) => "character".to_string(),
        (2249, ..) => "record".to_string(),
        (_, Some(SqlType::Numeric { .. }), _) => "numeric".to_string(),
        (_, Some(SqlType::Array(element)), _) if matches!(*element, SqlType::Numeric { .. }) => "numeric[]".to_string(),
        (_, Some(ty), _) => ty.to_string(),
        (_, None, Some(facts)) => facts.name.to_string(),
        _ => oid.to_string(),
    }
}

fn category(oid: u32) -> &'static str {
    TYPES.get(&oid).map_or("X", |class| class.category)
}

fn is_preferred(oid: u32) -> bool {
    TYPES.get(&oid).is_some_and(|class| class.is_preferred)
}

/// Whether values of this type are texts.
pub(super) fn is_text(oid: u32) -> bool {
    category(oid) == STRING_CATEGORY || oid == UNKNOWN
}

pub(super) fn has_collation(oid: u32) -> bool {
    facts::type_with_oid(oid).is_none_or(|facts| facts.collation != 0)
}

/// More than one function would do as well.
pub(super) fn several_functions(shown: &str) -> Error {
    Error::new(ErrorKind::AmbiguousFunction, format!("function {shown} is not unique"))
        .with_hint("Could not choose a best candidate function. You might need to add explicit type casts.")
}

/// The type of an array's elements.
pub(super) fn element(oid: u32) -> Option<u32> {
    let facts = facts::type_with_oid(oid)?;
    (facts.element != 0 && facts.length == -1).then_some(facts.element)
}

/// The type of arrays of these.
pub(super) fn array_of(oid: u32) -> Option<u32> {
    facts::type_with_oid(oid)
        .map(|facts| facts.array)
        .filter(|array| *array != 0)
}

fn is_polymorphic(oid: u32) -> bool {
    category(oid) == "P"
}

/// Whether a value of the one type is taken for the other without a cast.
pub(super) fn is_implicit(from: u32, to: u32) -> bool {
    if from == to || from == UNKNOWN || to == ANY {
        return true;
    }
    if ANY_ELEMENTS.contains(&to) {
        return !NO_ARRAYS.contains(&to) || element(from).is_none();
    }
    if ANY_ARRAYS.contains(&to) {
        return element(from).is_some();
    }
    match (CASTS.get(&(from, to)), element(from), element(to)) {
        (Some(context), ..) => *context == "i",
        (None, Some(from), Some(element)) => !VECTORS.contains(&to) && is_implicit(from, element),
        _ => false,
    }
}

/// `int2vector`, `oidvector`: arrays do not become them.
const VECTORS: [u32; 2] = [22, 30];

/// Whether there is a cast at all: one of the catalog, to or from text, or element by element.
pub(super) fn can_cast(from: u32, to: u32) -> bool {
    if from == to || from == UNKNOWN || CASTS.contains_key(&(from, to)) {
        return true;
    }
    if category(from) == STRING_CATEGORY || category(to) == STRING_CATEGORY {
        return true;
    }
    match (element(from), element(to)) {
        (Some(from), Some(to)) => can_cast(from, to),
        _ => false,
    }
}

/// Whether a value of the one type is cast when it is stored in a column of the other.
pub(super) fn can_assign(from: u32, to: u32) -> bool {
    if is_implicit(from, to) || category(to) == STRING_CATEGORY {
        return true;
    }
    match (CASTS.get(&(from, to)), element(from), element(to)) {
        (Some(context), ..) => *context != "e",
        (None, Some(from), Some(to)) => can_assign(from, to),
        _ => false,
    }
}

/// The type that all of a list become, or the two that do not go together with the place of the second.
pub(super) fn common_type(types: &[u32]) -> Result<u32, (u32, u32, usize)> {
    let mut common = UNKNOWN;
    for (at, &next) in types.iter().enumerate() {
        if next == UNKNOWN || next == common {
            continue;
        }
        if common == UNKNOWN {
            common = next;
        } else if category(common) != category(next) {
            return Err((common, next, at));
        } else if !is_preferred(common) && is_implicit(common, next) && !is_implicit(next, common) {
            common = next;
        }
    }
    Ok(if common == UNKNOWN { TEXT } else { common })
}

/// The binary operator for these types.
pub(super) fn binary(name: &str, left: u32, right: u32) -> Choice {
    let Some(candidates) = OPERATORS.get(name) else {
        return Choice::None;
    };
    let sides = [left, right];
    let alike = match (left, right) {
        (UNKNOWN, UNKNOWN) => sides,
        (UNKNOWN, known) | (known, UNKNOWN) => [known, known],
        _ => sides,
    };
    // Of PostgreSQL's types that have such operators only arrays are here.
    let is_of_arrays = |candidate: &Candidate| candidate.arguments.iter().all(|ty| ANY_ARRAYS.contains(ty));
    if sides == [UNKNOWN, UNKNOWN] && candidates.iter().all(is_of_arrays) {
        return Choice::Several;
    }
    let exact = candidates.iter().find(|candidate| candidate.arguments == alike);
    match exact.filter(|_| alike != [UNKNOWN, UNKNOWN]) {
        Some(candidate) => chosen(candidate, &sides, candidate.arguments.clone()),
        None => select(candidates.iter().map(|c| (c, c.arguments.clone())), &sides),
    }
}

/// The operator before a value of this type.
pub(super) fn prefix(name: &str, ty: u32) -> Choice {
    let candidates = OPERATORS.get(name).into_iter().flatten();
    select(candidates.map(|c| (c, c.arguments.clone())), &[ty])
}

/// Whether PostgreSQL has a function of this name.
pub(super) fn has_function(name: &str) -> bool {
    FUNCTIONS.contains_key(name)
}

/// Whether some function of this name is of one of these kinds: `f`unction, `a`ggregate, `w`indow function.
pub(super) fn is_of_kind(name: &str, kinds: &str) -> bool {
    let candidates = FUNCTIONS.get(name).into_iter().flatten();
    candidates.into_iter().any(|candidate| kinds.contains(candidate.kind))
}

/// Whether some function of this name is an aggregate.
pub(crate) fn is_aggregate(name: &str) -> bool {
    is_of_kind(name, "a")
}

/// Whether some function of this name yields rows.
pub(crate) fn returns_set(name: &str) -> bool {
    let candidates = FUNCTIONS.get(name).into_iter().flatten();
    candidates.into_iter().any(|candidate| candidate.returns_set)
}

/// Whether a value of this type is one column, not a row of them.
pub(super) fn is_one_value(oid: u32) -> bool {
    !matches!(category(oid), "P" | "C" | "X")
}

pub(super) fn is_number(oid: u32) -> bool {
    category(oid) == "N"
}

/// Whether it is a date or a time.
pub(super) fn is_of_time(oid: u32) -> bool {
    category(oid) == "D"
}

/// What operators of strings take them as.
pub(super) fn preferred(oid: u32) -> u32 {
    if category(oid) == STRING_CATEGORY { TEXT } else { oid }
}

/// What every function of this name gives that takes so many arguments, if that is one type.
pub(super) fn result_of_any(name: &str, count: usize) -> Option<u32> {
    let candidates = FUNCTIONS.get(name).into_iter().flatten();
    let mut results = candidates
        .filter(|candidate| candidate.taking(count).is_some())
        .map(|candidate| candidate.result);
    let first = results.next().filter(|result| !is_polymorphic(*result))?;
    results.all(|result| result == first).then_some(first)
}

/// The function of this name for these types.
pub(super) fn function(name: &str, types: &[u32]) -> Choice {
    let candidates = FUNCTIONS.get(name).into_iter().flatten();
    let fitting = candidates.filter_map(|candidate| Some((candidate, candidate.taking(types.len())?)));
    let fitting: Vec<_> = fitting.collect();
    // `f(x, variadic "any")` and the like: an exact match wins at once.
    if let Some((candidate, arguments)) = fitting.iter().find(|(_, arguments)| arguments == types) {
        return chosen(candidate, types, arguments.clone());
    }
    // One argument: it may be a cast written as a function, `float8(x)`.
    match select(fitting.into_iter(), types) {
        Choice::None if types.len() == 1 && facts::types().iter().any(|ty| ty.name == name) => Choice::Cast,
        choice => choice,
    }
}

impl Candidate {
    /// The types of so many arguments, if it takes so many.
    fn taking(&self, count: usize) -> Option<Vec<u32>> {
        let most = self.arguments.len();
        if self.is_variadic {
            let (last, first) = self.arguments.split_last()?;
            let repeated = element(*last).unwrap_or(match *last {
                2277 => ANY_ELEMENTS[0],
                5078 => ANY_ELEMENTS[1],
                other => other,
            });
            if count == most && repeated == ANY {
                return Some(self.arguments.clone());
            }
            let more = count.checked_sub(first.len()).filter(|more| *more > 0)?;
            let mut arguments = first.to_vec();
            arguments.extend(std::iter::repeat_n(repeated, more));
            return Some(arguments);
        }
        (count <= most && count + self.defaults >= most).then(|| self.arguments[..count].to_vec())
    }
}

/// Whether what is taken for arrays and elements of any type is of one type.
fn is_consistent(arguments: &[u32], given: &[u32]) -> bool {
    // `anyarray` and `anyelement` want the same type, the compatible ones a common one.
    [([2277], [2283, 2776], true), ([5078], [5077, 5079], false)]
        .iter()
        .all(|(arrays, elements, is_exact)| {
            let sides = arguments.iter().zip(given).filter(|(_, from)| **from != UNKNOWN);
            let types = sides.filter_map(|(to, from)| match to {
                to if arrays.contains(to) => element(*from),
                to if elements.contains(to) => Some(*from),
                _ => None,
            });
            let types: Vec<u32> = types.collect();
            match is_exact {
                true => types.iter().skip(1).all(|ty| *ty == types[0]),
                false => common_type(&types).is_ok_and(|common| types.iter().all(|ty| is_implicit(*ty, common))),
            }
        })
}

fn chosen(candidate: &Candidate, given: &[u32], arguments: Vec<u32>) -> Choice {
    let is_array = |oid: &u32| ANY_ARRAYS.contains(oid);
    let elements = arguments.iter().zip(given).filter_map(|(taken, given)| match taken {
        taken if is_array(taken) => element(*given),
        taken if ANY_ELEMENTS.contains(taken) => Some(*given).filter(|given| *given != UNKNOWN),
        _ => None,
    });
    let elements: Vec<u32> = elements.collect();
    let element = match elements.as_slice() {
        [] => None,
        elements => common_type(elements).ok(),
    };
    let concrete = |ty: u32| match ty {
        ty if is_array(&ty) => element.and_then(array_of),
        ty if ANY_ELEMENTS.contains(&ty) => element,
        ty if is_polymorphic(ty) => None,
        ty => Some(ty),
    };
    let result = concrete(candidate.result);
    let arguments = arguments.into_iter().map(|ty| concrete(ty).unwrap_or(ty)).collect();
    Choice::One { arguments, result }
}

/// `func_select_candidate`
fn select<'a>(candidates: impl Iterator<Item = (&'a Candidate, Vec<u32>)>, given: &[u32]) -> Choice {
    let takes = |arguments: &[u32]| {
        arguments.len() == given.len()
            && arguments.iter().zip(given).all(|(to, from)| is_implicit(*from, *to))
            && is_consistent(arguments, given)
    };
    let mut left: Vec<_> = candidates.filter(|(_, arguments)| takes(arguments)).collect();
    if left.is_empty() {
        return Choice::None;
    }
    let exact = |arguments: &[u32]| arguments.iter().zip(given).filter(|(to, from)| to == from).count();
    keep_best(&mut left, exact);
    let preferred = |arguments: &[u32]| {
        let sides = arguments.iter().zip(given).filter(|(_, from)| **from != UNKNOWN);
        let suits = |to: u32, from: u32| to == from || is_preferred(to) && category(to) == category(from);
        sides.filter(|(to, from)| suits(**to, **from)).count()
    };
    keep_best(&mut left, preferred);
    if left.len() > 1 && given.contains(&UNKNOWN) {
        by_category(&mut left, given);
    }
    if left.len() > 1 {
        // All that is known is of one type: so may be the rest.
        let mut known: Vec<u32> = given.iter().copied().filter(|oid| *oid != UNKNOWN).collect();
        known.dedup();
        if let [known] = known.as_slice() {
            let all_known = vec![*known; given.len()];
            let fitting = |arguments: &[u32]| {
                let is_taken = arguments.iter().all(|to| is_implicit(*known, *to));
                usize::from(is_taken && is_consistent(arguments, &all_known))
            };
            keep_best(&mut left, fitting);
        }
    }
    match left.as_slice() {
        [(candidate, arguments)] => chosen(candidate, given, arguments.clone()),
        _ => Choice::Several,
    }
}

fn keep_best(left: &mut Vec<(&Candidate, Vec<u32>)>, score: impl Fn(&[u32]) -> usize) {
    let best = left.iter().map(|(_, arguments)| score(arguments)).max().unwrap_or(0);
    left.retain(|(_, arguments)| score(arguments) == best);
}

/// Where a literal stands: text if some candidate takes text, else the one category that all take.
fn by_category(left: &mut Vec<(&Candidate, Vec<u32>)>, given: &[u32]) {
    let mut settled: Vec<Option<(&str, bool)>> = Vec::with_capacity(given.len());
    for (at, ty) in given.iter().enumerate() {
        if *ty != UNKNOWN {
            settled.push(None);
            continue;
        }
        let mut categories: Vec<&str> = left.iter().map(|(_, arguments)| category(arguments[at])).collect();
        let wanted = if categories.contains(&STRING_CATEGORY) {
            STRING_CATEGORY
        } else {
            categories.dedup();
            match categories.as_slice() {
                [one] => one,
                _ => return,
            }
        };
        let mut of_wanted = left.iter().filter(|(_, arguments)| category(arguments[at]) == wanted);
        let has_preferred = of_wanted.any(|(_, arguments)| is_preferred(arguments[at]));
        settled.push(Some((wanted, has_preferred)));
    }
    let fits = |(_, arguments): &(&Candidate, Vec<u32>)| {
        arguments.iter().zip(&settled).all(|(to, settled)| match settled {
            Some((wanted, has_preferred)) => category(*to) == *wanted && (!has_preferred || is_preferred(*to)),
            None => true,
        })
    };
    if left.iter().any(fits) {
        left.retain(fits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(choice: Choice) -> Option<u32> {
        match choice {
            Choice::One { result, .. } => result,
            _ => None,
        }
    }

    #[test]
    fn operators_of_postgres() {
        assert_eq!(binary("+", TEXT, INTEGER), Choice::None);
        assert_eq!(result(binary("+", INTEGER, NUMERIC)), Some(NUMERIC));
        assert_eq!(result(binary("||", 1043, INTEGER)), Some(TEXT));
        assert_eq!(result(binary("=", 1043, UNKNOWN)), Some(BOOLEAN));
        assert_eq!(binary("+", UNKNOWN, UNKNOWN), Choice::Several);
        assert_eq!(binary("=", 1082, INTEGER), Choice::None);
        assert_eq!(result(binary("-", 1082, 1082)), Some(INTEGER));
        // Of `integer[]` and of `bigint[]`, which are not taken for an `oidvector`.
        assert_eq!(result(binary("=", 1007, 1007)), Some(BOOLEAN));
        assert_eq!(binary("=", 1007, 1016), Choice::None);
    }

    #[test]
    fn functions_of_postgres() {
        assert_eq!(function("upper", &[INTEGER]), Choice::None);
        assert_eq!(result(function("upper", &[UNKNOWN])), Some(TEXT));
        assert_eq!(result(function("sum", &[INTEGER])), Some(BIGINT));
        assert_eq!(result(function("concat", &[INTEGER, UNKNOWN, 1082])), Some(TEXT));
        assert_eq!(function("round", &[701, INTEGER]), Choice::None);
    }

    #[test]
    fn common_types_of_postgres() {
        assert_eq!(common_type(&[INTEGER, NUMERIC]), Ok(NUMERIC));
        assert_eq!(common_type(&[UNKNOWN, INTEGER]), Ok(INTEGER));
        assert_eq!(common_type(&[INTEGER, TEXT]), Err((INTEGER, TEXT, 1)));
    }
}
