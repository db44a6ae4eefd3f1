//! MurmurHash3, x86 variant, 32 bits, seed 0: the hash of Iceberg's bucket transform.

const C1: u32 = 0xcc9e_2d51;
const C2: u32 = 0x1b87_3593;

/// The hash of some bytes.
pub(super) fn murmur3_x86_32(bytes: &[u8]) -> u32 {
    let mut hash = 0u32;
    let (blocks, tail) = bytes.as_chunks::<4>();
    for block in blocks {
        hash = (hash ^ scramble(u32::from_le_bytes(*block)))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        let last = tail
            .iter()
            .rev()
            .fold(0u32, |word, byte| (word << 8) | u32::from(*byte));
        hash ^= scramble(last);
    }
    // The reference takes the length modulo 2^32.
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

fn scramble(word: u32) -> u32 {
    word.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of the Iceberg spec, appendix B, of bytes that need no type.
    #[test]
    fn matches_the_spec() {
        assert_eq!(murmur3_x86_32(b"iceberg") as i32, 1_210_000_089);
        assert_eq!(murmur3_x86_32(&34i64.to_le_bytes()) as i32, 2_017_239_379);
        assert_eq!(murmur3_x86_32(&[0, 1, 2, 3]) as i32, -188_683_207);
        assert_eq!(murmur3_x86_32(b""), 0);
    }
}
