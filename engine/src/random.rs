//! The numbers of `random()`: PostgreSQL's generator (xoroshiro128**), so that a seed gives the same numbers as there.

/// Digits of a float behind its binary point.
const DIGITS: u32 = 52;

/// Where a session's numbers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(u64, u64);

impl Random {
    /// The numbers that follow `setseed(seed)`; seeds are from -1 to 1.
    pub(crate) fn seeded(seed: f64) -> Self {
        let mut state = (((1_u64 << DIGITS) - 1) as f64 * seed) as i64 as u64;
        Self(split_mix(&mut state), split_mix(&mut state))
    }

    /// The next number, from 0 to below 1.
    pub(crate) fn next(&mut self) -> f64 {
        let digits = self.next_bits() >> (u64::BITS - DIGITS);
        digits as f64 / (1_u64 << DIGITS) as f64
    }

    fn next_bits(&mut self) -> u64 {
        let (first, mixed) = (self.0, self.1 ^ self.0);
        self.0 = first.rotate_left(24) ^ mixed ^ (mixed << 16);
        self.1 = mixed.rotate_left(37);
        first.wrapping_mul(5).rotate_left(7).wrapping_mul(9)
    }
}

impl Default for Random {
    /// Numbers that nobody foresees.
    fn default() -> Self {
        let (first, second) = uuid::Uuid::new_v4().as_u64_pair();
        Self(first, second)
    }
}

/// Makes one seed to several that have nothing in common.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
