//! Sets of the inputs of joins, as bits.

/// How many inputs a set can hold.
pub(super) const SET_MAX: usize = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Set(u64);

impl Set {
    pub(super) fn one(leaf: usize) -> Self {
        Self(1 << leaf)
    }

    /// The first so many.
    pub(super) fn first(count: usize) -> Self {
        match count {
            SET_MAX.. => Self(u64::MAX),
            count => Self((1 << count) - 1),
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, leaf: usize) -> bool {
        self.0 >> leaf & 1 == 1
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The smallest of its members alone.
    pub(super) fn lowest(self) -> Self {
        Self(self.0 & self.0.wrapping_neg())
    }

    /// This one and all before it, of a set of one.
    pub(super) fn up_to(self) -> Self {
        Self(self.0 | self.0.wrapping_sub(1))
    }

    pub(super) fn members(self) -> impl DoubleEndedIterator<Item = usize> {
        (0..SET_MAX).filter(move |leaf| self.has(*leaf))
    }

    /// All that can be made of its members, but for the empty one.
    pub(super) fn subsets(self) -> impl Iterator<Item = Self> {
        let mut next = Some(self.0 & self.0.wrapping_neg());
        std::iter::from_fn(move || {
            let subset = next.filter(|bits| *bits != 0)?;
            // The next larger number made of these bits.
            let larger = subset.wrapping_sub(self.0) & self.0;
            next = Some(larger);
            Some(Self(subset))
        })
    }
}
