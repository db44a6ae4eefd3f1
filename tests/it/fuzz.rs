//! Seeded mutations of `fuzz/corpus` through everything that reads bytes of strangers (`src/fuzz.rs`).
//!
//! `STAFFA_FUZZ_COUNT` is how many of each; `STAFFA_FUZZ_SEED` which. What fails is in the message, and goes into the corpus once it is mended.

use std::fs;
use std::time::{Duration, Instant};

use staffa_tests::fuzz::TARGETS;

use crate::support::package;

/// Of each target, in every run of the tests.
const COUNT: u64 = 300;
/// None of these is long: a debug build on a busy machine needs a small part of it.
const TIME_MAX: Duration = Duration::from_secs(30);

/// SplitMix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// One of the seeds with a few things wrong, some of them taken from another.
fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    const ODD: [u64; 8] = [0, 1, 127, 128, 255, u32::MAX as u64, i64::MAX as u64, u64::MAX];
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let place = random.below(data.len() + 1);
        let end = (place + 1 + random.below(8)).min(data.len());
        match random.below(8) {
            0 => data.truncate(place),
            1 | 2 if place < data.len() => data[place] = random.next() as u8,
            3 if place < data.len() => data[place] ^= 1 << random.below(8),
            4 => drop(data.drain(place..end)),
            5 => {
                let odd = ODD[random.below(ODD.len())].to_be_bytes();
                let odd = odd[8 - [1, 2, 4, 8][random.below(4)]..].to_vec();
                drop(data.splice(place..(place + odd.len()).min(data.len()), odd));
            }
            6 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let part = other[from..(from + random.below(64)).min(other.len())].to_vec();
                drop(data.splice(place..place, part));
            }
            _ => {
                let part = data[place..end].to_vec();
                drop(data.splice(place..place, part));
            }
        }
    }
    data
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// Says what a target panicked on.
struct AtWork<'a> {
    name: &'a str,
    round: u64,
    data: &'a [u8],
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}, round {}: {}", self.name, self.round, self.data.escape_ascii());
        }
    }
}

fn run(name: &str) {
    let (_, target) = *TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let folder = package().parent().unwrap().join("fuzz/corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    seeds.iter().for_each(|seed| target(seed));
    let mut random = Random(number("STAFFA_FUZZ_SEED", 1));
    for round in 0..number("STAFFA_FUZZ_COUNT", COUNT) {
        let data = mutated(&mut random, &seeds);
        let at_work = AtWork {
            name,
            round,
            data: &data,
        };
        let begun = Instant::now();
        target(at_work.data);
        assert!(begun.elapsed() < TIME_MAX, "it took {:?}", begun.elapsed());
    }
}

#[test]
fn introductions() {
    run("introduction");
}

#[test]
fn messages() {
    run("messages");
}

#[test]
fn sql() {
    run("sql");
}

#[test]
fn values() {
    run("values");
}

#[test]
fn copy() {
    run("copy");
}

#[test]
fn tables() {
    run("table");
}

#[test]
fn deletes() {
    run("deletes");
}

#[test]
fn parquet() {
    run("parquet");
}
