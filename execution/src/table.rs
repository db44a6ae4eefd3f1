//! From a key to the rows of the build side that have it.

use std::hint::select_unpredictable;

use crate::keys::KeyColumns;

/// Of a key that is not in its first place. No table has so many rows.
const ELSEWHERE: u32 = u32::MAX;

/// Where keys are dense, slots a row costs no more memory than a hash table would.
const SLOTS_A_ROW_MAX: u64 = 16;

/// A range that small is always looked up directly.
const SMALL_RANGE: u64 = 1 << 16;

/// The rows of each key. A row is its number plus one; zero is none.
#[derive(Debug)]
pub(crate) struct Table {
    heads: Heads,
    /// The next row of the same key. Empty where no key has two.
    next: Vec<u32>,
}

/// The first row of each key.
#[derive(Debug)]
enum Heads {
    /// By the key itself.
    Direct { least: i64, rows: Vec<u32> },
    /// Open addressing with linear probing, at most half full.
    Hashed { slots: Vec<Slot>, shift: u32 },
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: i64,
    row: u32,
}

/// A slot's place by the high bits of a product: Fibonacci hashing (Knuth, TAOCP 3, 6.4).
fn place(key: i64, shift: u32) -> usize {
    let hash = key.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from(hash >> shift).unwrap_or(0)
}

impl Table {
    /// Bytes of a table of so many rows at most.
    pub(crate) fn bytes_max(rows: usize) -> usize {
        let slots = (rows * 2).next_power_of_two().max(2) * size_of::<Slot>();
        let direct = (rows * SLOTS_A_ROW_MAX as usize).max(SMALL_RANGE as usize) * size_of::<u32>();
        slots.max(direct) + rows * size_of::<u32>()
    }

    /// `packed` are the keys of `keys`, whose null rows are in no table.
    pub(crate) fn new(packed: &[i64], keys: &KeyColumns) -> Self {
        let rows = || (0..packed.len()).filter(|row| !keys.is_null(*row));
        let least = rows().map(|row| packed[row]).min().unwrap_or(0);
        let greatest = rows().map(|row| packed[row]).max().unwrap_or(0);
        let range = greatest.wrapping_sub(least).cast_unsigned();
        let is_dense = range < (packed.len() as u64 * SLOTS_A_ROW_MAX).max(SMALL_RANGE);
        let mut heads = if is_dense {
            Heads::Direct {
                least,
                rows: vec![0; usize::try_from(range).unwrap_or(0) + 1],
            }
        } else {
            let slots = (packed.len() * 2).next_power_of_two().max(2);
            Heads::Hashed {
                slots: vec![Slot::default(); slots],
                shift: u64::BITS - slots.trailing_zeros(),
            }
        };
        let mut next = Vec::new();
        // From the last to the first, so that the rows of a key come in their order.
        for row in rows().collect::<Vec<_>>().into_iter().rev() {
            // Build sides of 2^32 rows are refused before.
            let number = row as u32 + 1;
            let head = heads.slot(packed[row]);
            if *head != 0 {
                if next.is_empty() {
                    next = vec![0; packed.len()];
                }
                next[row] = *head;
            }
            *head = number;
        }
        Self { heads, next }
    }

    /// Bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        let heads = match &self.heads {
            Heads::Direct { rows, .. } => size_of_val(rows.as_slice()),
            Heads::Hashed { slots, .. } => size_of_val(slots.as_slice()),
        };
        heads + size_of_val(self.next.as_slice())
    }

    /// Whether each key has one row.
    pub(crate) fn is_unique(&self) -> bool {
        self.next.is_empty()
    }

    /// The row after one of the same key.
    pub(crate) fn after(&self, row: u32) -> u32 {
        self.next.get((row as usize).wrapping_sub(1)).copied().unwrap_or(0)
    }

    /// The first row of each of these keys.
    pub(crate) fn first_rows(&self, packed: &[i64]) -> Vec<u32> {
        match &self.heads {
            Heads::Direct { least, rows } => {
                let row = |key: &i64| {
                    usize::try_from(key.wrapping_sub(*least).cast_unsigned())
                        .ok()
                        .and_then(|at| rows.get(at))
                };
                packed.iter().map(|key| row(key).copied().unwrap_or(0)).collect()
            }
            Heads::Hashed { slots, shift } => {
                // First those that are where they are looked for, or would be: these reads do not wait for each other, and no branch hangs on them.
                let first = |key: &i64| {
                    let slot = slots[place(*key, *shift)];
                    let is_found = (slot.row == 0) | (slot.key == *key);
                    select_unpredictable(is_found, slot.row, ELSEWHERE)
                };
                let mut found: Vec<u32> = packed.iter().map(first).collect();
                let mask = slots.len() - 1;
                for (row, key) in found.iter_mut().zip(packed).filter(|(row, _)| **row == ELSEWHERE) {
                    let mut at = place(*key, *shift);
                    *row = loop {
                        at = (at + 1) & mask;
                        let slot = slots[at];
                        if slot.row == 0 || slot.key == *key {
                            break slot.row;
                        }
                    };
                }
                found
            }
        }
    }
}

impl Heads {
    /// Where the first row of a key is kept.
    fn slot(&mut self, key: i64) -> &mut u32 {
        match self {
            Heads::Direct { least, rows } => {
                let at = usize::try_from(key.wrapping_sub(*least).cast_unsigned()).unwrap_or(0);
                &mut rows[at]
            }
            Heads::Hashed { slots, shift } => {
                let mask = slots.len() - 1;
                let mut at = place(key, *shift) & mask;
                while slots[at].row != 0 && slots[at].key != key {
                    at = (at + 1) & mask;
                }
                slots[at].key = key;
                &mut slots[at].row
            }
        }
    }
}
