//! Functions that make arrays of arrays' elements, and compare these.
//!
//! DataFusion's take a NULL array for an empty one, or its elements for unknown: `array_remove(a, null)` removes the NULLs, and
//! `a || null` is `a`, whichever side is NULL. Elements that are NULL come after all others in PostgreSQL's order, before them in
//! DataFusion's.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int32Builder, ListArray, ListBuilder, StringViewBuilder,
    make_comparator, new_empty_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, interleave};
use arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::logical_expr::type_coercion::binary::type_union_resolution;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::datetime::{TEXT, is_text};
use super::native::{Columns, Resolved, Shape};
use crate::error::{Error, ErrorKind, Result};
use crate::supervision::Asked;
use crate::types::ELEMENT_NAME;

pub(super) const FUNCTIONS: &[Shape] = &[
    CONCATENATED,
    APPENDED,
    PREPENDED,
    CONTAINS,
    OVERLAPS,
    Shape::new("array_fill", filled_types, fill),
    Shape::new("array_remove", |types| array_and_elements(types, 1), remove),
    Shape::new("array_replace", |types| array_and_elements(types, 2), replace),
    Shape::new("trim_array", trim_types, trim),
    Shape::new("array_dims", one_array, dimensions),
    Shape::new("array_ndims", counted_array, dimension_count),
    Shape::new("array_position", array_and_start, position),
    Shape::new("array_positions", array_and_sought, positions),
    Shape::new("array_to_string", array_and_texts, joined),
    LESS,
    LESS_OR_EQUAL,
    GREATER,
    GREATER_OR_EQUAL,
];

const CONCATENATED: Shape = Shape::new("array_cat", two_arrays, concatenate);
const APPENDED: Shape = Shape::new("array_append", |types| array_and_elements(types, 1), append);
const PREPENDED: Shape = Shape::new("array_prepend", element_and_array, prepend);
const CONTAINS: Shape = Shape::new("arraycontains", two_compared, contains);
const OVERLAPS: Shape = Shape::new("arrayoverlap", two_compared, overlaps);
const LESS: Shape = Shape::new("array_lt", two_compared, |columns| ordered(columns, Ordering::is_lt));
const LESS_OR_EQUAL: Shape = Shape::new("array_le", two_compared, |columns| ordered(columns, Ordering::is_le));
const GREATER: Shape = Shape::new("array_gt", two_compared, |columns| ordered(columns, Ordering::is_gt));
const GREATER_OR_EQUAL: Shape = Shape::new("array_ge", two_compared, |columns| ordered(columns, Ordering::is_ge));

/// A comparison of arrays.
pub(crate) fn compared_arrays(left: Expr, op: Operator, right: Expr) -> Expr {
    let shape = match op {
        Operator::Lt => LESS,
        Operator::LtEq => LESS_OR_EQUAL,
        Operator::Gt => GREATER,
        Operator::GtEq => GREATER_OR_EQUAL,
        _ => return Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))),
    };
    shape.call(vec![left, right])
}

/// `left || right` of an array and an array or element.
pub(crate) fn concatenated(left: Expr, left_type: &DataType, right: Expr, right_type: &DataType) -> Expr {
    let shape = match dimensions_of(left_type).cmp(&dimensions_of(right_type)) {
        Ordering::Equal => CONCATENATED,
        _ if matches!((left_type, right_type), (DataType::Null, _) | (_, DataType::Null)) => CONCATENATED,
        Ordering::Greater => APPENDED,
        Ordering::Less => PREPENDED,
    };
    shape.call(vec![left, right])
}

/// `left @> right`
pub(crate) fn contained(left: Expr, right: Expr) -> Expr {
    CONTAINS.call(vec![left, right])
}

/// `left && right`
pub(crate) fn overlapping(left: Expr, right: Expr) -> Expr {
    OVERLAPS.call(vec![left, right])
}

/// How many arrays are inside each other.
pub(crate) fn dimensions_of(ty: &DataType) -> usize {
    match ty {
        DataType::List(element) => 1 + dimensions_of(element.data_type()),
        _ => 0,
    }
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new(ELEMENT_NAME, element, true)))
}

/// The type of elements of both kinds. A text beside others is taken for a literal.
fn common_element(left: &DataType, right: &DataType) -> Option<DataType> {
    if left == right || right == &DataType::Null || is_text(right) {
        return Some(left.clone());
    }
    if left == &DataType::Null || is_text(left) {
        return Some(right.clone());
    }
    // Others would be compared in nanoseconds, which end in 2262.
    match (left, right) {
        (DataType::Date32 | DataType::Timestamp(_, None), DataType::Timestamp(..)) => return Some(right.clone()),
        (DataType::Timestamp(..), DataType::Date32 | DataType::Timestamp(_, None)) => return Some(left.clone()),
        _ => {}
    }
    // A numeric beside a float is one.
    match (left.is_floating(), right.is_floating()) {
        (true, false) if right.is_decimal() => return Some(left.clone()),
        (false, true) if left.is_decimal() => return Some(right.clone()),
        _ => {}
    }
    type_union_resolution(&[left.clone(), right.clone()])
}

/// The array that holds elements of both kinds, as the array is where that makes no difference.
fn common_list(list: &DataType, element: &DataType) -> Option<DataType> {
    match list {
        DataType::List(field) => match common_element(field.data_type(), element)? {
            common if &common == field.data_type() => Some(list.clone()),
            common => Some(list_of(common)),
        },
        DataType::Null => Some(list_of(element.clone())),
        _ => None,
    }
}

fn element_of(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(field) => Some(field.data_type()),
        _ => None,
    }
}

fn common_lists(types: &[DataType]) -> Option<DataType> {
    match types {
        [DataType::Null, list @ DataType::List(_)] | [list @ DataType::List(_), DataType::Null] => Some(list.clone()),
        [list @ DataType::List(_), text] | [text, list @ DataType::List(_)] if is_text(text) => Some(list.clone()),
        [left, right] => common_list(left, element_of(right)?),
        _ => None,
    }
}

fn two_arrays(types: &[DataType]) -> Resolved {
    let list = common_lists(types)?;
    Some((vec![list.clone(), list.clone()], list))
}

fn two_compared(types: &[DataType]) -> Resolved {
    let list = common_lists(types)?;
    Some((vec![list.clone(), list], DataType::Boolean))
}

fn array_and_elements(types: &[DataType], elements: usize) -> Resolved {
    let (list, given) = types.split_first()?;
    if given.len() != elements {
        return None;
    }
    let list = given
        .iter()
        .try_fold(list.clone(), |list, element| common_list(&list, element))?;
    let element = element_of(&list)?.clone();
    let mut wanted = vec![list.clone()];
    wanted.extend(std::iter::repeat_n(element, elements));
    Some((wanted, list))
}

fn element_and_array(types: &[DataType]) -> Resolved {
    let [element, list] = types else { return None };
    let (mut wanted, list) = array_and_elements(&[list.clone(), element.clone()], 1)?;
    wanted.reverse();
    Some((wanted, list))
}

/// The array of the texts that an array's elements are, however deep they lie.
pub(crate) fn texts_of(list: &DataType) -> Option<DataType> {
    match list {
        DataType::List(field) => Some(list_of(texts_of(field.data_type()).unwrap_or(TEXT))),
        _ => None,
    }
}

fn array_and_texts(types: &[DataType]) -> Resolved {
    let (list, texts) = types.split_first()?;
    // The elements of others have been cast to texts (`rules/matching.rs`).
    let list = match list {
        DataType::Null => list_of(TEXT),
        list @ DataType::List(_) => list.clone(),
        _ => return None,
    };
    let mut wanted = vec![list];
    wanted.extend(texts.iter().map(|_| TEXT));
    let are_texts = texts.iter().all(|ty| is_text(ty) || ty == &DataType::Null);
    (matches!(texts.len(), 1 | 2) && are_texts).then_some((wanted, TEXT))
}

fn array_and_start(types: &[DataType]) -> Resolved {
    let (sought, start) = types.split_at_checked(2)?;
    let (mut wanted, _) = array_and_elements(sought, 1)?;
    match start {
        [] => {}
        [start] if start.is_integer() || start == &DataType::Null => wanted.push(DataType::Int32),
        _ => return None,
    }
    Some((wanted, DataType::Int32))
}

fn array_and_sought(types: &[DataType]) -> Resolved {
    let (wanted, _) = array_and_elements(types, 1)?;
    Some((wanted, list_of(DataType::Int32)))
}

fn trim_types(types: &[DataType]) -> Resolved {
    match types {
        [list @ DataType::List(_), count] if count.is_integer() => {
            Some((vec![list.clone(), DataType::Int32], list.clone()))
        }
        _ => None,
    }
}

fn filled_types(types: &[DataType]) -> Resolved {
    let ([element], numbers) = types.split_first_chunk()?;
    let integers = list_of(DataType::Int32);
    let suits =
        |ty: &DataType| ty == &DataType::Null || is_text(ty) || element_of(ty).is_some_and(DataType::is_integer);
    if !matches!(numbers.len(), 1 | 2) || !numbers.iter().all(suits) {
        return None;
    }
    let mut wanted = vec![element.clone()];
    wanted.extend(numbers.iter().map(|_| integers.clone()));
    Some((wanted, list_of(element.clone())))
}

fn one_array(types: &[DataType]) -> Resolved {
    match types {
        [list @ DataType::List(_)] => Some((vec![list.clone()], TEXT)),
        _ => None,
    }
}

fn counted_array(types: &[DataType]) -> Resolved {
    match types {
        [list @ DataType::List(_)] => Some((vec![list.clone()], DataType::Int32)),
        _ => None,
    }
}

/// An array without elements has no dimensions, nor has NULL.
fn dimension_count(columns: &Columns<'_>) -> Result<ArrayRef> {
    let lists = columns.arrays[0].as_list::<i32>();
    let count = i32::try_from(dimensions_of(lists.data_type())).unwrap_or(i32::MAX);
    let counted = |row: usize| {
        let has_elements = !columns.is_null(0, row) && lists.value_length(columns.at(0, row)) > 0;
        has_elements.then_some(count)
    };
    Ok(Arc::new((0..columns.rows).map(counted).collect::<Int32Array>()))
}

/// `[1:3][1:2]`; an array without elements has no dimensions.
fn dimensions(columns: &Columns<'_>) -> Result<ArrayRef> {
    let lists = columns.arrays[0].as_list::<i32>();
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    for row in 0..columns.rows {
        let mut text = String::new();
        let mut inner = (!columns.is_null(0, row)).then(|| lists.value(columns.at(0, row)));
        // Arrays within are all of one length.
        while let Some(elements) = inner.filter(|elements| !elements.is_empty()) {
            text += &format!("[1:{}]", elements.len());
            inner = elements.as_list_opt::<i32>().map(|lists| lists.value(0));
        }
        builder.append_option((!text.is_empty()).then_some(text));
    }
    Ok(Arc::new(builder.finish()))
}

/// A row's elements: where they are in the array of all.
fn elements(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = list.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

/// Arrays under way, their elements picked from several arrays.
struct Picked<'a> {
    from: Vec<&'a dyn Array>,
    picks: Vec<(usize, usize)>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

impl<'a> Picked<'a> {
    fn new(from: Vec<&'a dyn Array>, rows: usize) -> Self {
        Self {
            from,
            picks: Vec::new(),
            lengths: Vec::with_capacity(rows),
            valid: Vec::with_capacity(rows),
        }
    }

    fn row(&mut self, picks: impl IntoIterator<Item = (usize, usize)>) {
        let before = self.picks.len();
        self.picks.extend(picks);
        self.lengths.push(self.picks.len() - before);
        self.valid.push(true);
    }

    fn null(&mut self) {
        self.lengths.push(0);
        self.valid.push(false);
    }

    fn finish(self, result: &DataType) -> Result<ArrayRef> {
        let DataType::List(field) = result else {
            return Err(Error::internal(format!("arrays of type {result}")));
        };
        let values = match self.picks.is_empty() {
            true => new_empty_array(field.data_type()),
            false => interleave(&self.from, &self.picks)?,
        };
        let offsets = OffsetBuffer::from_lengths(self.lengths);
        let nulls = NullBuffer::from(self.valid);
        Ok(Arc::new(ListArray::try_new(
            Arc::clone(field),
            offsets,
            values,
            Some(nulls),
        )?))
    }
}

/// How two arrays' elements compare, NULL being equal to NULL.
fn comparison(left: &dyn Array, right: &dyn Array) -> Result<impl Fn(usize, usize) -> bool> {
    let compare = make_comparator(left, right, SortOptions::default())?;
    Ok(move |left: usize, right: usize| compare(left, right) == Ordering::Equal)
}

fn concatenate(columns: &Columns<'_>) -> Result<ArrayRef> {
    let (left, right) = (columns.arrays[0].as_list::<i32>(), columns.arrays[1].as_list::<i32>());
    let mut picked = Picked::new(vec![left.values().as_ref(), right.values().as_ref()], columns.rows);
    for row in 0..columns.rows {
        let side = |index: usize, list: &ListArray| {
            let range = match columns.is_null(index, row) {
                true => 0..0,
                false => elements(list, columns.at(index, row)),
            };
            range.map(move |at| (index, at))
        };
        match columns.is_null(0, row) && columns.is_null(1, row) {
            true => picked.null(),
            false => picked.row(side(0, left).chain(side(1, right))),
        }
    }
    picked.finish(columns.result)
}

fn append(columns: &Columns<'_>) -> Result<ArrayRef> {
    added(columns, 0, 1)
}

fn prepend(columns: &Columns<'_>) -> Result<ArrayRef> {
    added(columns, 1, 0)
}

/// Elements and one more; a NULL array is taken for an empty one.
fn added(columns: &Columns<'_>, list_index: usize, element_index: usize) -> Result<ArrayRef> {
    let list = columns.arrays[list_index].as_list::<i32>();
    let mut picked = Picked::new(
        vec![list.values().as_ref(), columns.arrays[element_index].as_ref()],
        columns.rows,
    );
    for row in 0..columns.rows {
        let range = match columns.is_null(list_index, row) {
            true => 0..0,
            false => elements(list, columns.at(list_index, row)),
        };
        let kept = range.map(|at| (0, at));
        let one = std::iter::once((1, columns.at(element_index, row)));
        match list_index < element_index {
            true => picked.row(kept.chain(one)),
            false => picked.row(one.chain(kept)),
        }
    }
    picked.finish(columns.result)
}

fn remove(columns: &Columns<'_>) -> Result<ArrayRef> {
    let list = columns.arrays[0].as_list::<i32>();
    let equal = comparison(list.values(), &columns.arrays[1])?;
    let mut picked = Picked::new(vec![list.values().as_ref()], columns.rows);
    for row in 0..columns.rows {
        if columns.is_null(0, row) {
            picked.null();
            continue;
        }
        let range = elements(list, columns.at(0, row));
        let kept = range.filter(|&at| !equal(at, columns.at(1, row)));
        picked.row(kept.map(|at| (0, at)));
    }
    picked.finish(columns.result)
}

fn replace(columns: &Columns<'_>) -> Result<ArrayRef> {
    let list = columns.arrays[0].as_list::<i32>();
    let equal = comparison(list.values(), &columns.arrays[1])?;
    let mut picked = Picked::new(vec![list.values().as_ref(), columns.arrays[2].as_ref()], columns.rows);
    for row in 0..columns.rows {
        if columns.is_null(0, row) {
            picked.null();
            continue;
        }
        let range = elements(list, columns.at(0, row));
        picked.row(range.map(|at| match equal(at, columns.at(1, row)) {
            true => (1, columns.at(2, row)),
            false => (0, at),
        }));
    }
    picked.finish(columns.result)
}

/// A value as often as the second argument says. More than one dimension would be another type.
fn fill(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut picked = Picked::new(vec![columns.arrays[0].as_ref()], columns.rows);
    let element = columns.arrays[0].to_data().get_slice_memory_size()? / columns.arrays[0].len().max(1);
    let (mut asked, mut bytes) = (Asked::default(), 0_u64);
    for row in 0..columns.rows {
        let mut bounds = Vec::with_capacity(2);
        for index in 1..columns.len() {
            bounds.push(bounds_of(columns, index, row)?);
        }
        let lengths = &bounds[0];
        if bounds.get(1).is_some_and(|lowest| lowest.len() != lengths.len()) {
            let error = Error::new(ErrorKind::ArraySubscriptError, "wrong number of array subscripts");
            return Err(error.with_detail("Low bound array has different size than dimensions array."));
        }
        if lengths.len() > 1 {
            return Err(Error::unsupported(
                "array_fill() with more than one dimension is not supported",
            ));
        }
        if bounds
            .get(1)
            .is_some_and(|lowest| lowest.iter().any(|bound| *bound != 1))
        {
            return Err(Error::unsupported(
                "arrays whose subscripts do not begin with 1 are not supported",
            ));
        }
        let length = lengths.first().copied().unwrap_or(0);
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= FILLED_MAX) else {
            let message = format!("array size exceeds the maximum allowed ({FILLED_MAX})");
            return Err(Error::new(ErrorKind::ProgramLimitExceeded, message));
        };
        bytes += (length * (size_of::<(usize, usize)>() + element)) as u64;
        asked.grow_to(COPIES * bytes)?;
        picked.row(std::iter::repeat_n((0, columns.at(0, row)), length));
    }
    picked.finish(columns.result)
}

/// PostgreSQL's limit on the elements of an array.
const FILLED_MAX: usize = 134_217_727;

/// The numbers of an array of dimensions.
fn bounds_of(columns: &Columns<'_>, index: usize, row: usize) -> Result<Vec<i32>> {
    let fail = |message: &str| Err(Error::new(ErrorKind::NullValueNotAllowed, message));
    if (1..columns.len()).any(|index| columns.is_null(index, row)) {
        return fail("dimension array or low bound array cannot be null");
    }
    let numbers = columns.arrays[index].as_list::<i32>().value(columns.at(index, row));
    if numbers.null_count() > 0 {
        return fail("dimension values cannot be null");
    }
    Ok(numbers.as_primitive::<Int32Type>().values().to_vec())
}

/// Where the first element is that is like the second argument, from the third one on. Positions count from 1.
fn position(columns: &Columns<'_>) -> Result<ArrayRef> {
    let list = columns.arrays[0].as_list::<i32>();
    let equal = comparison(list.values(), &columns.arrays[1])?;
    let mut found = Int32Builder::with_capacity(columns.rows);
    for row in 0..columns.rows {
        let start = match columns.len() {
            3 if columns.is_null(2, row) => {
                let message = "initial position must not be null";
                return Err(Error::new(ErrorKind::NullValueNotAllowed, message));
            }
            3 => columns.int(2, row)?,
            _ => 1,
        };
        if columns.is_null(0, row) {
            found.append_null();
            continue;
        }
        let range = elements(list, columns.at(0, row));
        let mut places = (1_i32..).zip(range);
        let place = places.find(|(place, at)| i64::from(*place) >= start && equal(*at, columns.at(1, row)));
        found.append_option(place.map(|(place, _)| place));
    }
    Ok(Arc::new(found.finish()))
}

/// Where all such elements are.
fn positions(columns: &Columns<'_>) -> Result<ArrayRef> {
    let list = columns.arrays[0].as_list::<i32>();
    let equal = comparison(list.values(), &columns.arrays[1])?;
    let mut found = ListBuilder::new(Int32Builder::new()).with_field(Field::new(ELEMENT_NAME, DataType::Int32, true));
    for row in 0..columns.rows {
        if columns.is_null(0, row) {
            found.append_null();
            continue;
        }
        let range = elements(list, columns.at(0, row));
        let places = (1_i32..).zip(range).filter(|(_, at)| equal(*at, columns.at(1, row)));
        found.append_value(places.map(|(place, _)| Some(place)));
    }
    Ok(Arc::new(found.finish()))
}

/// Without the last elements.
fn trim(columns: &Columns<'_>) -> Result<ArrayRef> {
    let list = columns.arrays[0].as_list::<i32>();
    let mut picked = Picked::new(vec![list.values().as_ref()], columns.rows);
    for row in 0..columns.rows {
        if columns.any_null(row) {
            picked.null();
            continue;
        }
        let mut range = elements(list, columns.at(0, row));
        let count = usize::try_from(columns.int(1, row)?)
            .ok()
            .filter(|count| *count <= range.len());
        let Some(count) = count else {
            let message = format!("number of elements to trim must be between 0 and {}", range.len());
            return Err(Error::new(ErrorKind::ArraySubscriptError, message));
        };
        range.end -= count;
        picked.row(range.map(|at| (0, at)));
    }
    picked.finish(columns.result)
}

/// What is made is there as it grows, and in the column.
const COPIES: u64 = 3;

/// The elements' texts; NULLs are left out, or shown as the third argument.
fn joined(columns: &Columns<'_>) -> Result<ArrayRef> {
    fn append(
        elements: &dyn Array,
        separator: &str,
        null: Option<&str>,
        any: &mut bool,
        text: &mut String,
        asked: &mut Asked,
    ) -> Result<()> {
        for at in 0..elements.len() {
            if let Some(lists) = elements.as_list_opt::<i32>() {
                append(&lists.value(at), separator, null, any, text, asked)?;
                continue;
            }
            let texts = elements
                .as_string_view_opt()
                .ok_or_else(|| Error::internal("elements that are texts"))?;
            let shown = match texts.is_null(at) {
                true => null,
                false => Some(texts.value(at)),
            };
            if let Some(shown) = shown {
                if std::mem::replace(any, true) {
                    text.push_str(separator);
                }
                text.push_str(shown);
                asked.grow_to(COPIES * text.len() as u64)?;
            }
        }
        Ok(())
    }
    let lists = columns.arrays[0].as_list::<i32>();
    let mut builder = StringViewBuilder::with_capacity(columns.rows);
    for row in 0..columns.rows {
        if columns.is_null(0, row) || columns.is_null(1, row) {
            builder.append_null();
            continue;
        }
        let null = match columns.len() > 2 && !columns.is_null(2, row) {
            true => Some(columns.text(2, row)?),
            false => None,
        };
        let elements = lists.value(columns.at(0, row));
        let mut text = String::new();
        let separator = columns.text(1, row)?;
        append(&elements, separator, null, &mut false, &mut text, &mut Asked::default())?;
        builder.append_value(text);
    }
    Ok(Arc::new(builder.finish()))
}

/// By the first elements that differ, then by length.
fn ordered(columns: &Columns<'_>, holds: fn(Ordering) -> bool) -> Result<ArrayRef> {
    let nulls_last = SortOptions::new(false, false);
    let compare = make_comparator(&columns.arrays[0], &columns.arrays[1], nulls_last)?;
    let answers = (0..columns.rows)
        .map(|row| (!columns.any_null(row)).then(|| holds(compare(columns.at(0, row), columns.at(1, row)))));
    Ok(Arc::new(answers.collect::<BooleanArray>()))
}

/// Whether all elements of the second array are among those of the first; NULL is equal to nothing.
fn contains(columns: &Columns<'_>) -> Result<ArrayRef> {
    compared(columns, |found, wanted| found == wanted)
}

fn overlaps(columns: &Columns<'_>) -> Result<ArrayRef> {
    compared(columns, |found, _| found > 0)
}

/// Decides by how many elements of the second array were found in the first, and how many there are.
fn compared(columns: &Columns<'_>, decide: fn(usize, usize) -> bool) -> Result<ArrayRef> {
    let (left, right) = (columns.arrays[0].as_list::<i32>(), columns.arrays[1].as_list::<i32>());
    let equal = comparison(left.values(), right.values())?;
    let answers = (0..columns.rows).map(|row| {
        if columns.any_null(row) {
            return None;
        }
        let among = elements(left, columns.at(0, row));
        let wanted = elements(right, columns.at(1, row));
        let is_found = |&at: &usize| right.values().is_valid(at) && among.clone().any(|candidate| equal(candidate, at));
        let found = wanted.clone().filter(is_found).count();
        Some(decide(found, wanted.len()))
    });
    Ok(Arc::new(answers.collect::<BooleanArray>()))
}
