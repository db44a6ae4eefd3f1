//! Numbers of texts, in the order in which they come: short ones have even numbers, long ones odd ones.

use std::hash::BuildHasher;
use std::hint::select_unpredictable;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewArray};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use datafusion::common::hash_utils::RandomState;
use datafusion::error::Result;

use crate::numbering::WideTable;

/// Texts up to so long are wholly in their views.
const SHORT_TEXT_BYTES: u32 = 12;

/// Long texts are numbered in 31 bits.
const LONG_TEXTS_MAX: usize = i32::MAX as usize;

/// Texts are copied into blocks that are as large as all before them together, within these bounds.
const BLOCK_BYTES_MIN: usize = 16 << 10;
const BLOCK_BYTES_MAX: usize = 4 << 20;

/// The texts of a column of keys.
#[derive(Default)]
pub(crate) struct Texts {
    /// By their views.
    short: WideTable,
    long: LongTexts,
}

impl Texts {
    pub(crate) fn bytes(&self) -> usize {
        self.short.bytes() + self.long.bytes()
    }

    /// The number of each row's text, of a null any; none where there are too many.
    pub(crate) fn numbers(&mut self, texts: &StringViewArray) -> Option<Vec<u64>> {
        let views = texts.views();
        let is_short = |view: &u128| (*view as u32) <= SHORT_TEXT_BYTES;
        let mut places = Vec::new();
        if views.iter().all(is_short) {
            self.short.add(views, &mut places);
            return Some(places.into_iter().map(|place| place as u64 * 2).collect());
        }
        let short: Vec<u128> = views.iter().copied().filter(is_short).collect();
        self.short.add(&short, &mut places);
        // What a null's view leads to is nobody's.
        let is_long = |row: &usize| !is_short(&views[*row]) && texts.is_valid(*row);
        let long: Vec<&str> = (0..views.len()).filter(is_long).map(|row| texts.value(row)).collect();
        let mut long = self.long.add(&long)?.into_iter();
        let mut places = places.into_iter();
        let numbers = views.iter().enumerate().map(|(row, view)| match is_short(view) {
            true => places.next().unwrap_or_default() as u64 * 2,
            false if texts.is_null(row) => 0,
            false => u64::from(long.next().unwrap_or_default()) * 2 + 1,
        });
        Some(numbers.collect())
    }

    /// The texts of such numbers. All others are forgotten.
    pub(crate) fn take(&mut self, numbers: &[u64], nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let view = |(row, number): (usize, &u64)| {
            let place = (*number / 2) as usize;
            match *number % 2 {
                // A null may come before the first text.
                _ if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => 0,
                0 => self.short.keys()[place],
                _ => self.long.views[place],
            }
        };
        let views: ScalarBuffer<u128> = numbers.iter().enumerate().map(view).collect();
        let blocks = std::mem::take(self).long.blocks;
        let blocks = blocks.into_iter().map(Buffer::from_vec).collect::<Vec<_>>();
        Ok(Arc::new(StringViewArray::try_new(views, blocks, nulls)?))
    }
}

/// Open addressing with linear probing, at most half full: a text is looked at only where its hash is found.
#[derive(Default)]
struct LongTexts {
    /// A power of two of them, or none.
    slots: Vec<Slot>,
    /// Where the texts are in the blocks, by number, as Arrow has it.
    views: Vec<u128>,
    blocks: Vec<Vec<u8>>,
    blocks_bytes: usize,
    hasher: RandomState,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u32,
    /// The text's number plus one; zero is none.
    number: u32,
}

impl LongTexts {
    fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.views.capacity() * size_of::<u128>() + self.blocks_bytes
    }

    fn add(&mut self, texts: &[&str]) -> Option<Vec<u32>> {
        let most = self.views.len() + texts.len();
        if most > LONG_TEXTS_MAX {
            return None;
        }
        if most * 2 > self.slots.len() {
            self.grow((most * 3).next_power_of_two());
        }
        let hashes: Vec<u32> = texts.iter().map(|text| self.hash(text)).collect();
        // First where texts may be that are known, then where their bytes are, then the first of these: in each of these rounds reads do not wait for
        // each other, and the texts are near when they are compared.
        let likely: Vec<u32> = hashes
            .iter()
            .map(|hash| {
                let slot = self.slots[self.place(*hash)];
                select_unpredictable(slot.hash == *hash, slot.number, 0)
            })
            .collect();
        let views: Vec<u128> = likely
            .iter()
            .map(|number| self.views.get((*number as usize).wrapping_sub(1)).copied().unwrap_or(0))
            .collect();
        let first: Vec<u8> = views.iter().map(|view| self.first_byte(*view)).collect();
        let mut numbers = Vec::with_capacity(texts.len());
        for (row, (text, hash)) in texts.iter().zip(hashes).enumerate() {
            let is_known = likely[row] != 0 && first[row] == text.as_bytes()[0] && self.is(likely[row] - 1, text);
            numbers.push(match is_known {
                true => likely[row] - 1,
                false => self.find_or_insert(text, hash),
            });
        }
        Some(numbers)
    }

    fn hash(&self, text: &str) -> u32 {
        (self.hasher.hash_one(text.as_bytes()) >> 32) as u32
    }

    /// The high bits of the hash.
    fn place(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.slots.len() as u64) >> 32) as usize
    }

    fn first_byte(&self, view: u128) -> u8 {
        let (_, start, block) = parts(view);
        let byte = self.blocks.get(block).and_then(|block| block.get(start));
        byte.copied().unwrap_or(0)
    }

    fn is(&self, number: u32, text: &str) -> bool {
        let (length, start, block) = parts(self.views[number as usize]);
        length == text.len() && self.blocks[block][start..start + length] == *text.as_bytes()
    }

    fn find_or_insert(&mut self, text: &str, hash: u32) -> u32 {
        let last = self.slots.len() - 1;
        let mut at = self.place(hash);
        loop {
            let slot = self.slots[at];
            if slot.number == 0 {
                let number = self.views.len() as u32;
                self.keep(text);
                self.slots[at] = Slot {
                    hash,
                    number: number + 1,
                };
                return number;
            }
            if slot.hash == hash && self.is(slot.number - 1, text) {
                return slot.number - 1;
            }
            at = (at + 1) & last;
        }
    }

    fn keep(&mut self, text: &str) {
        let has_room = |block: &Vec<u8>| block.capacity() - block.len() >= text.len();
        if !self.blocks.last().is_some_and(has_room) {
            let bytes = self
                .blocks_bytes
                .clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX)
                .max(text.len());
            self.blocks.push(Vec::with_capacity(bytes));
            self.blocks_bytes += bytes;
        }
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        self.views.push(view(text, block.len(), number));
        block.extend_from_slice(text.as_bytes());
    }

    fn grow(&mut self, slots: usize) {
        let before = std::mem::replace(&mut self.slots, vec![Slot::default(); slots]);
        for slot in before.into_iter().filter(|slot| slot.number != 0) {
            let mut at = self.place(slot.hash);
            while self.slots[at].number != 0 {
                at = (at + 1) & (slots - 1);
            }
            self.slots[at] = slot;
        }
    }
}

/// The view of a long text: its length, its first four bytes, its block and its place there, from the low bits up.
fn view(text: &str, start: usize, block: usize) -> u128 {
    let mut first = [0; 4];
    first.copy_from_slice(&text.as_bytes()[..4]);
    text.len() as u128 | u128::from(u32::from_le_bytes(first)) << 32 | (block as u128) << 64 | (start as u128) << 96
}

/// Length, place and block.
fn parts(view: u128) -> (usize, usize, usize) {
    (
        view as u32 as usize,
        (view >> 96) as usize,
        (view >> 64) as u32 as usize,
    )
}
