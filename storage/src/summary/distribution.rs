//! How a column's values are distributed: the most common ones, and bounds between which the others lie in equal numbers. Both are
//! found as PostgreSQL's ANALYZE finds them (`compute_scalar_stats`, `analyze_mcv_list` in src/backend/commands/analyze.c).

use std::cmp::Ordering;

use arrow::array::{ArrayRef, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, concat, take};

use super::Distribution;
use crate::error::{Error, Result};

/// PostgreSQL's default_statistics_target: so many common values, and spaces between bounds.
pub(super) const TARGET: usize = 100;

/// Values of a column: rows that were picked, and perhaps what is known of rows that were not looked at again.
pub(super) struct Points {
    /// Without nulls: picked ones in the order of the rows, then those of `known`.
    pub(super) values: ArrayRef,
    pub(super) picked: usize,
    /// How many picked rows' worth each of the others is, and whether it is a common value, or a bound among many others.
    pub(super) known: Vec<(f64, bool)>,
    /// Picked rows, those with nulls too, and the worth of those that are not looked at.
    pub(super) sampled: f64,
    /// Rows of the table.
    pub(super) rows: f64,
    pub(super) null_share: f64,
    /// Different values, about.
    pub(super) distinct: f64,
}

/// A value with its worth.
struct Group {
    /// One of the points.
    point: u32,
    weight: f64,
    /// The worth of those that are certain.
    count: f64,
}

impl Points {
    pub(super) fn distribution(&self) -> Result<Distribution> {
        let failed = |error| Error::internal(format!("values cannot be compared ({error})"));
        let plain = SortOptions::new(false, false);
        let compare = make_comparator(&self.values, &self.values, plain).map_err(failed)?;
        let mut order: Vec<usize> = (0..self.values.len()).collect();
        order.sort_by(|a, b| compare(*a, *b));
        let correlation = self.correlation(&order);
        let mut groups: Vec<Group> = Vec::new();
        for point in order {
            let (weight, is_certain) = match point.checked_sub(self.picked) {
                None => (1.0, true),
                Some(known) => self.known.get(known).copied().unwrap_or((0.0, false)),
            };
            let count = if is_certain { weight } else { 0.0 };
            match groups.last_mut() {
                Some(last) if compare(last.point as usize, point) == Ordering::Equal => {
                    last.weight += weight;
                    last.count += count;
                }
                _ => groups.push(Group {
                    // Samples are far smaller than 2^32.
                    point: point as u32,
                    weight,
                    count,
                }),
            }
        }
        let common = self.common(&groups);
        let shares = common.iter().map(|place| groups[*place].count / self.sampled);
        let shares: Vec<f64> = shares.collect();
        let rest: Vec<&Group> = groups
            .iter()
            .enumerate()
            .filter(|(place, _)| !common.contains(place))
            .map(|(_, group)| group)
            .collect();
        let bounds = bounds(&rest);
        let values = |points: Vec<u32>| take(&self.values, &UInt32Array::from(points), None).map_err(failed);
        Ok(Distribution {
            common: values(common.iter().map(|place| groups[*place].point).collect())?,
            shares,
            bounds: values(bounds)?,
            correlation,
        })
    }

    /// Which groups are common values, the most common first.
    fn common(&self, groups: &[Group]) -> Vec<usize> {
        let mut common: Vec<usize> = (0..groups.len()).filter(|place| groups[*place].count > 1.0).collect();
        // Stable: of equally common ones the smaller first.
        common.sort_by(|a, b| groups[*b].count.total_cmp(&groups[*a].count));
        // All that there are.
        let is_complete = common.len() == groups.len() && self.distinct < common.len() as f64 + 0.5;
        let is_short = common.len() <= TARGET && self.distinct <= 0.1 * self.rows;
        common.truncate(TARGET);
        if is_complete && is_short || self.sampled >= self.rows || self.rows <= 1.0 {
            return common;
        }
        // Those that would be thought clearly rarer if they were not listed.
        let (total, sampled) = (self.rows, self.sampled);
        let mut listed: f64 = common.iter().map(|place| groups[*place].count).sum();
        while let Some(last) = common.last() {
            let count = groups[*last].count;
            listed -= count;
            let others = (self.distinct - (common.len() - 1) as f64).max(1.0);
            let share = (1.0 - listed / sampled - self.null_share).clamp(0.0, 1.0) / others;
            let inside = total * count / sampled;
            let variance = sampled * inside * (total - inside) * (total - sampled) / (total * total * (total - 1.0));
            if count > share * sampled + 2.0 * variance.max(0.0).sqrt() + 0.5 {
                break;
            }
            common.pop();
        }
        common
    }

    /// How the order of values hangs together with that of rows.
    fn correlation(&self, order: &[usize]) -> Option<f64> {
        if self.picked < 2 || !self.known.is_empty() {
            return None;
        }
        let count = self.picked as f64;
        let products = order.iter().enumerate().map(|(place, row)| place as f64 * *row as f64);
        let products: f64 = products.sum();
        let sum = count * (count - 1.0) / 2.0;
        let squares = count * (count - 1.0) * (2.0 * count - 1.0) / 6.0;
        Some((count * products - sum * sum) / (count * squares - sum * sum))
    }
}

/// Points of values in ascending order, between which there is as much.
fn bounds(groups: &[&Group]) -> Vec<u32> {
    let count = groups.len().min(TARGET + 1);
    let weight: f64 = groups.iter().map(|group| group.weight).sum();
    if count < 2 {
        return Vec::new();
    }
    let mut bounds = Vec::with_capacity(count);
    let (mut below, mut groups) = (0.0, groups.iter().peekable());
    for bound in 0..count {
        let wanted = ((weight - 1.0).max(0.0) * bound as f64 / (count - 1) as f64).floor();
        while let Some(group) = groups.peek() {
            if below + group.weight > wanted || bound + 1 == count && below + group.weight >= weight {
                bounds.push(group.point);
                break;
            }
            below += group.weight;
            groups.next();
        }
    }
    bounds
}

/// Points of what was found before, when `rows` rows are added to it; each picked row is worth `unit` rows.
pub(super) fn known_points(
    before: &Distribution,
    rows: f64,
    null_share: f64,
    unit: f64,
) -> Result<(ArrayRef, Vec<(f64, bool)>)> {
    let values = concat(&[&before.common, &before.bounds])?;
    let listed: f64 = before.shares.iter().sum();
    let each = (1.0 - listed - null_share).max(0.0) * rows / unit / before.bounds.len().max(1) as f64;
    let common = before.shares.iter().map(|share| (share * rows / unit, true));
    let bounds = (0..before.bounds.len()).map(|_| (each, false));
    Ok((values, common.chain(bounds).collect()))
}
