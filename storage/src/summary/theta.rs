//! Theta sketches of Apache DataSketches: how many different values there are, of any number of values in some kilobytes.
//!
//! A sketch keeps the smallest hashes: `theta` is the least of those that it had to let go, and of hashes that spread evenly the share
//! below it is known. Two of them are united by the smaller `theta`. Other engines read what is stored, and unite it with theirs:
//! hash function, seed and serial form are DataSketches' (the compact form, version 3, in the order of the hashes).

use crate::error::{Error, Result};

/// How many hashes are kept: the default of DataSketches, with an error of 1.6 %.
const KEPT: usize = 4096;
/// The table while it grows.
const SLOTS_MIN: usize = 64;
const SLOTS_MAX: usize = 4 * KEPT;

/// DataSketches' default, and what it makes of it to recognise sketches of another.
const SEED: u64 = 9001;
const SEED_HASH: u16 = 0x93cc;

/// Of hashes, which have 63 bits.
const THETA_MAX: u64 = i64::MAX as u64;

const SERIAL_VERSION: u8 = 3;
const FAMILY_COMPACT: u8 = 3;
const FLAG_BIG_ENDIAN: u8 = 1;
const FLAG_READ_ONLY: u8 = 2;
const FLAG_EMPTY: u8 = 4;
const FLAG_COMPACT: u8 = 8;
const FLAG_ORDERED: u8 = 16;

/// A sketch.
#[derive(Clone, Debug)]
pub(crate) struct ThetaSketch {
    /// Hashes by open addressing; 0 is none.
    slots: Vec<u64>,
    count: usize,
    theta: u64,
}

impl ThetaSketch {
    pub(crate) fn new() -> Self {
        Self {
            slots: vec![0; SLOTS_MIN],
            count: 0,
            theta: THETA_MAX,
        }
    }

    /// Notes a value. DataSketches notes none without bytes.
    pub(crate) fn add(&mut self, value: &[u8]) {
        if !value.is_empty() {
            self.add_hash(murmur3_x64_128(value, SEED).0 >> 1);
        }
    }

    /// Notes what another has seen.
    pub(crate) fn unite(&mut self, other: &Self) {
        self.theta = self.theta.min(other.theta);
        let own: Vec<u64> = self.hashes().collect();
        self.refill(&own, self.slots.len());
        other.hashes().for_each(|hash| self.add_hash(hash));
    }

    /// How many different values there were, about.
    pub(crate) fn estimate(&self) -> f64 {
        let (hashes, theta) = self.kept();
        hashes.len() as f64 * (THETA_MAX as f64 / theta as f64)
    }

    /// Its serial form.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (hashes, theta) = self.kept();
        let flags = FLAG_READ_ONLY | FLAG_COMPACT | FLAG_ORDERED;
        let is_exact = theta == THETA_MAX;
        let (longs, flags) = match (is_exact, hashes.len()) {
            (true, 0) => (1, flags | FLAG_EMPTY),
            (true, 1) => (1, flags),
            (true, _) => (2, flags),
            (false, _) => (3, flags),
        };
        let mut bytes = vec![longs, SERIAL_VERSION, FAMILY_COMPACT, 0, 0, flags];
        bytes.extend(SEED_HASH.to_le_bytes());
        if longs > 1 {
            // At most `KEPT`.
            bytes.extend((hashes.len() as u32).to_le_bytes());
            bytes.extend(1.0_f32.to_le_bytes());
        }
        if longs > 2 {
            bytes.extend(theta.to_le_bytes());
        }
        bytes.extend(hashes.iter().flat_map(|hash| hash.to_le_bytes()));
        bytes
    }

    /// Errors: `CorruptFile` of bytes that are no such sketch, or one of another seed.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: &str| Error::corrupt(format!("a theta sketch {what}"));
        let (words, rest) = bytes.as_chunks::<8>();
        let [first, words @ ..] = words else {
            return Err(wrong("is too short"));
        };
        let [longs, version, family, _, _, flags, seed @ ..] = *first;
        if version != SERIAL_VERSION || family != FAMILY_COMPACT || flags & FLAG_BIG_ENDIAN != 0 || !rest.is_empty() {
            return Err(wrong("is of a form that is not known"));
        }
        if flags & FLAG_EMPTY == 0 && u16::from_le_bytes(seed) != SEED_HASH {
            return Err(wrong("has another seed"));
        }
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let (count, theta, hashes) = match (longs & 0x3f, words.as_slice()) {
            (1, hashes) => (hashes.len(), THETA_MAX, hashes),
            (2, [count, hashes @ ..]) => (*count as u32 as usize, THETA_MAX, hashes),
            (3, [count, theta, hashes @ ..]) => (*count as u32 as usize, *theta, hashes),
            _ => return Err(wrong("is too short")),
        };
        let are_hashes = hashes.iter().all(|hash| (1..theta).contains(hash));
        if count != hashes.len() || !(1..=THETA_MAX).contains(&theta) || !are_hashes {
            return Err(wrong("does not fit its counts"));
        }
        let mut sketch = Self { theta, ..Self::new() };
        hashes.iter().for_each(|hash| sketch.add_hash(*hash));
        Ok(sketch)
    }

    /// The memory it takes.
    pub(crate) fn weight(&self) -> usize {
        self.slots.len() * size_of::<u64>()
    }

    fn hashes(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().copied().filter(|hash| (1..self.theta).contains(hash))
    }

    /// The hashes that count, in order, and what they are all below.
    fn kept(&self) -> (Vec<u64>, u64) {
        let mut hashes: Vec<u64> = self.hashes().collect();
        hashes.sort_unstable();
        let theta = hashes.get(KEPT).copied().unwrap_or(self.theta);
        hashes.truncate(KEPT);
        (hashes, theta)
    }

    fn add_hash(&mut self, hash: u64) {
        if hash == 0 || hash >= self.theta {
            return;
        }
        if !insert(&mut self.slots, hash) {
            return;
        }
        self.count += 1;
        if self.count * 4 > self.slots.len() * 3 {
            let (mut hashes, slots): (Vec<u64>, _) = (self.hashes().collect(), self.slots.len());
            if slots == SLOTS_MAX {
                let (_, theta, _) = hashes.select_nth_unstable(KEPT);
                self.theta = *theta;
                hashes.truncate(KEPT);
            }
            self.refill(&hashes, (slots * 2).min(SLOTS_MAX));
        }
    }

    fn refill(&mut self, hashes: &[u64], slots: usize) {
        self.slots.clear();
        self.slots.resize(slots, 0);
        self.count = hashes.len();
        for hash in hashes {
            insert(&mut self.slots, *hash);
        }
    }
}

/// Whether it was not there. The table is a power of two and never full.
fn insert(slots: &mut [u64], hash: u64) -> bool {
    let mask = slots.len() - 1;
    let mut place = hash as usize & mask;
    loop {
        match slots[place] {
            0 => {
                slots[place] = hash;
                return true;
            }
            known if known == hash => return false,
            _ => place = (place + 1) & mask,
        }
    }
}

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// MurmurHash3, x64 variant, 128 bits.
fn murmur3_x64_128(bytes: &[u8], seed: u64) -> (u64, u64) {
    let (mut h1, mut h2) = (seed, seed);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        let (k1, k2) = halves(block);
        h1 = (h1 ^ k1.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2))
            .rotate_left(27)
            .wrapping_add(h2)
            .wrapping_mul(5)
            .wrapping_add(0x52dc_e729);
        h2 = (h2 ^ k2.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1))
            .rotate_left(31)
            .wrapping_add(h1)
            .wrapping_mul(5)
            .wrapping_add(0x3849_5ab5);
    }
    if !tail.is_empty() {
        let mut block = [0; 16];
        block[..tail.len()].copy_from_slice(tail);
        let (k1, k2) = halves(&block);
        h2 ^= k2.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
        h1 ^= k1.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    }
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finished(h1);
    h2 = finished(h2);
    h1 = h1.wrapping_add(h2);
    (h1, h2.wrapping_add(h1))
}

fn halves(block: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*block);
    (both as u64, (both >> 64) as u64)
}

fn finished(mut word: u64) -> u64 {
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: std::ops::Range<i64>) -> ThetaSketch {
        let mut sketch = ThetaSketch::new();
        values.for_each(|value| sketch.add(&value.to_le_bytes()));
        sketch
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_seed_is_datasketches() {
        assert_eq!(murmur3_x64_128(&SEED.to_le_bytes(), 0).0 as u16, SEED_HASH);
    }

    /// What the library `datasketches` 5.2 for Python makes of the same values, but for the sampling probability, which that one
    /// leaves out and Java's writes.
    #[test]
    fn the_form_is_datasketches() {
        let text = |value: &str| {
            let mut sketch = ThetaSketch::new();
            sketch.add(value.as_bytes());
            sketch
        };
        let golden = [
            (of(0..0), "01030300001ecc93"),
            (of(0..1), "01030300001acc93e56b61eec8804420"),
            (
                of(0..3),
                "02030300001acc93030000000000803f15f97dcbbd86a105c397fc1281709d1ee56b61eec8804420",
            ),
            (text("iceberg"), "01030300001acc9319e1926a76422e03"),
        ];
        for (sketch, bytes) in golden {
            assert_eq!(hex(&sketch.to_bytes()), bytes);
        }
    }

    #[test]
    fn counts_are_exact_while_they_are_small_and_near_later() {
        assert_eq!(of(0..4096).estimate(), 4096.0);
        let mut sketch = of(0..1_000_000);
        assert!((sketch.estimate() / 1e6 - 1.0).abs() < 0.05, "{}", sketch.estimate());
        sketch.unite(&of(900_000..1_500_000));
        assert!((sketch.estimate() / 1.5e6 - 1.0).abs() < 0.05, "{}", sketch.estimate());
        let mut few = of(0..10);
        few.unite(&of(5..20));
        assert_eq!(few.estimate(), 20.0);
    }

    #[test]
    fn sketches_survive_their_serial_form() {
        for values in [0, 1, 2, 4096, 4097, 100_000] {
            let bytes = of(0..values).to_bytes();
            let read = ThetaSketch::from_bytes(&bytes).unwrap();
            assert_eq!((read.estimate(), read.to_bytes()), (of(0..values).estimate(), bytes));
        }
        let bytes = of(0..100).to_bytes();
        for damaged in [&bytes[..5], &bytes[..16], &bytes[..bytes.len() - 1], &bytes[8..]] {
            assert!(ThetaSketch::from_bytes(damaged).is_err());
        }
    }
}
