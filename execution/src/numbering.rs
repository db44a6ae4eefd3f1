//! Numbers of keys, in the order in which they come.

use std::hint::select_unpredictable;

/// Of a key that was not found.
pub(crate) const UNKNOWN: usize = usize::MAX;

/// A key.
pub(crate) trait Key: Copy + Default + PartialEq + Send {
    /// With a number of so many bits after it.
    fn with(self, number: u64, bits: u32) -> Self;
    /// The last number put into it, and what was there before.
    fn without(self, bits: u32) -> (u64, Self);
    fn hash(self) -> u64;
}

/// Fibonacci hashing (Knuth, TAOCP 3, 6.4): the high bits are a slot's place.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

pub(crate) fn mask(bits: u32) -> u64 {
    u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0)
}

impl Key for u64 {
    fn with(self, number: u64, bits: u32) -> Self {
        self.checked_shl(bits).unwrap_or(0) | number
    }

    fn without(self, bits: u32) -> (u64, Self) {
        (self & mask(bits), self.checked_shr(bits).unwrap_or(0))
    }

    fn hash(self) -> u64 {
        (self ^ (self >> 32)).wrapping_mul(SPREAD)
    }
}

impl Key for u128 {
    fn with(self, number: u64, bits: u32) -> Self {
        self.checked_shl(bits).unwrap_or(0) | u128::from(number)
    }

    fn without(self, bits: u32) -> (u64, Self) {
        (self as u64 & mask(bits), self >> bits)
    }

    fn hash(self) -> u64 {
        let high = ((self >> 64) as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        Key::hash(self as u64 ^ high ^ (high >> 29))
    }
}

/// Groups by keys that are small numbers.
#[derive(Default)]
pub(crate) struct Dense {
    /// By key, the group's number plus one; zero is none.
    groups: Vec<u32>,
    keys: Vec<u64>,
}

impl Dense {
    /// By their numbers.
    pub(crate) fn keys(&self) -> &[u64] {
        &self.keys
    }

    pub(crate) fn into_keys(self) -> Vec<u64> {
        self.keys
    }

    pub(crate) fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<u32>() + self.keys.capacity() * size_of::<u64>()
    }

    pub(crate) fn add(&mut self, keys: &[u64], numbers: &mut Vec<usize>) {
        let greatest = keys.iter().copied().max().unwrap_or(0) as usize;
        if greatest >= self.groups.len() {
            self.groups.resize((greatest + 1).next_power_of_two(), 0);
        }
        numbers.clear();
        numbers.extend(keys.iter().map(|key| {
            let group = &mut self.groups[*key as usize];
            if *group == 0 {
                self.keys.push(*key);
                *group = self.keys.len() as u32;
            }
            *group as usize - 1
        }));
    }
}

/// Numbers of keys of 64 bits. Open addressing with linear probing, at most three quarters full; the keys are in the slots.
#[derive(Default)]
pub(crate) struct NarrowTable {
    /// A power of two of them, or none.
    slots: Vec<Slot>,
    keys: Vec<u64>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    key: u64,
    /// The key's number plus one; zero is none.
    number: u32,
}

impl NarrowTable {
    /// By their numbers.
    pub(crate) fn keys(&self) -> &[u64] {
        &self.keys
    }

    pub(crate) fn into_keys(self) -> Vec<u64> {
        self.keys
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.keys.capacity() * size_of::<u64>()
    }

    pub(crate) fn add(&mut self, keys: &[u64], numbers: &mut Vec<usize>) {
        if self.is_full(keys.len()) {
            self.grow(keys.len());
        }
        let shift = self.shift();
        // First the keys that are where they are looked for: these reads do not wait for each other, and nothing hangs on what they find, no branch
        // either, which a processor would have to guess before it has the slot. An empty slot has the number zero, whatever its key.
        let slots = self.slots.as_slice();
        numbers.clear();
        numbers.extend(keys.iter().map(|key| {
            let slot = slots[place(*key, shift)];
            let number = select_unpredictable(slot.key == *key, slot.number, 0);
            (number as usize).wrapping_sub(1)
        }));
        for row in unknown(numbers) {
            numbers[row as usize] = self.find_or_insert(keys[row as usize], shift);
        }
    }

    fn is_full(&self, more: usize) -> bool {
        (self.keys.len() + more) * 4 > self.slots.len() * 3
    }

    fn slots_for(&self, more: usize) -> usize {
        ((self.keys.len() + more) * 3 / 2).next_power_of_two().max(2)
    }

    pub(crate) fn growth_bytes(&self, more: usize) -> usize {
        match self.is_full(more) {
            true => self.slots_for(more) * size_of::<Slot>(),
            false => 0,
        }
    }

    fn find_or_insert(&mut self, key: u64, shift: u32) -> usize {
        let last = self.slots.len() - 1;
        let mut at = place(key, shift);
        loop {
            let slot = &mut self.slots[at];
            if slot.number == 0 {
                self.keys.push(key);
                *slot = Slot {
                    key,
                    number: self.keys.len() as u32,
                };
                return self.keys.len() - 1;
            }
            if slot.key == key {
                return slot.number as usize - 1;
            }
            at = (at + 1) & last;
        }
    }

    fn shift(&self) -> u32 {
        u64::BITS - self.slots.len().trailing_zeros()
    }

    /// Makes room for so many more keys.
    fn grow(&mut self, more: usize) {
        let slots = self.slots_for(more);
        // All is made anew from the keys: the old ones need not stay beside the new.
        self.slots = Vec::new();
        self.slots.resize(slots, Slot::default());
        let (shift, last) = (self.shift(), slots - 1);
        for (number, key) in self.keys.iter().enumerate() {
            let mut at = place(*key, shift);
            while self.slots[at].number != 0 {
                at = (at + 1) & last;
            }
            self.slots[at] = Slot {
                key: *key,
                number: number as u32 + 1,
            };
        }
    }
}

/// Numbers of keys of 128 bits. Open addressing with linear probing, at most half full. With the keys in them slots of many groups would be far
/// more memory than processors have near: they have a part of the hash, and keys are looked at only where that is the same.
#[derive(Default)]
pub(crate) struct WideTable {
    /// A power of two of them, or none.
    slots: Vec<Tag>,
    keys: Vec<u128>,
}

#[derive(Clone, Copy, Default)]
struct Tag {
    hash: u32,
    /// The key's number plus one; zero is none.
    number: u32,
}

impl WideTable {
    /// By their numbers.
    pub(crate) fn keys(&self) -> &[u128] {
        &self.keys
    }

    pub(crate) fn into_keys(self) -> Vec<u128> {
        self.keys
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Tag>() + self.keys.capacity() * size_of::<u128>()
    }

    pub(crate) fn add(&mut self, keys: &[u128], numbers: &mut Vec<usize>) {
        numbers.clear();
        if keys.is_empty() {
            return;
        }
        if self.is_full(keys.len()) {
            self.grow(keys.len());
        }
        let hashes: Vec<u32> = keys.iter().map(|key| (key.hash() >> 32) as u32).collect();
        let shift = self.shift();
        // As in the other table, first what is where it is looked for: slots, then keys.
        let slots = self.slots.as_slice();
        numbers.extend(hashes.iter().map(|hash| {
            let slot = slots[(hash >> shift) as usize];
            let number = select_unpredictable(slot.hash == *hash, slot.number, 0);
            (number as usize).wrapping_sub(1)
        }));
        if let Some(last) = self.keys.len().checked_sub(1) {
            for (key, number) in keys.iter().zip(numbers.iter_mut()) {
                // One that is unknown is compared with any.
                let is_known = (self.keys[(*number).min(last)] == *key) & (*number <= last);
                *number = select_unpredictable(is_known, *number, UNKNOWN);
            }
        }
        for row in unknown(numbers) {
            let row = row as usize;
            numbers[row] = self.find_or_insert(keys[row], hashes[row], shift);
        }
    }

    fn is_full(&self, more: usize) -> bool {
        (self.keys.len() + more) * 2 > self.slots.len()
    }

    /// Keys are numbered in 31 bits: there are never more slots than parts of hashes.
    fn slots_for(&self, more: usize) -> usize {
        ((self.keys.len() + more) * 2).next_power_of_two().max(2)
    }

    pub(crate) fn growth_bytes(&self, more: usize) -> usize {
        match self.is_full(more) {
            true => self.slots_for(more) * size_of::<Tag>(),
            false => 0,
        }
    }

    fn find_or_insert(&mut self, key: u128, hash: u32, shift: u32) -> usize {
        let last = self.slots.len() - 1;
        let mut at = (hash >> shift) as usize;
        loop {
            let slot = &mut self.slots[at];
            if slot.number == 0 {
                self.keys.push(key);
                *slot = Tag {
                    hash,
                    number: self.keys.len() as u32,
                };
                return self.keys.len() - 1;
            }
            if slot.hash == hash && self.keys[slot.number as usize - 1] == key {
                return slot.number as usize - 1;
            }
            at = (at + 1) & last;
        }
    }

    fn shift(&self) -> u32 {
        u32::BITS - self.slots.len().trailing_zeros()
    }

    /// Makes room for so many more keys.
    fn grow(&mut self, more: usize) {
        let slots = self.slots_for(more);
        let before = std::mem::replace(&mut self.slots, vec![Tag::default(); slots]);
        let shift = self.shift();
        for tag in before.into_iter().filter(|tag| tag.number != 0) {
            let mut at = (tag.hash >> shift) as usize;
            while self.slots[at].number != 0 {
                at = (at + 1) & (slots - 1);
            }
            self.slots[at] = tag;
        }
    }
}

/// The rows whose keys were not found at once.
fn unknown(numbers: &[usize]) -> Vec<u32> {
    let (mut rows, mut count) = (vec![0; numbers.len()], 0);
    for (row, number) in (0..).zip(numbers) {
        rows[count] = row;
        count += usize::from(*number == UNKNOWN);
    }
    rows.truncate(count);
    rows
}

fn place(key: u64, shift: u32) -> usize {
    usize::try_from(key.hash() >> shift).unwrap_or(0)
}
