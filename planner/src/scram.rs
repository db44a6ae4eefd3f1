//! What is kept of a password: a SCRAM-SHA-256 verifier (RFC 5802, RFC 7677) in PostgreSQL's text form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const MECHANISM: &str = "SCRAM-SHA-256";
/// As many as PostgreSQL takes.
const ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`, the three in base64. The salt is random, so each call gives another text.
pub fn scram_verifier(password: &str) -> String {
    with_salt(password, &rand::random::<[u8; SALT_BYTES]>())
}

fn with_salt(password: &str, salt: &[u8]) -> String {
    // What cannot be prepared is taken as it is, as in PostgreSQL.
    let prepared = stringprep::saslprep(password).unwrap_or_else(|_| password.into());
    let salted = salted(prepared.as_bytes(), salt);
    let stored_key = Sha256::digest(keyed(&salted, &[b"Client Key"]));
    let server_key = keyed(&salted, &[b"Server Key"]);
    format!(
        "{MECHANISM}${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key)
    )
}

/// Whether a text is such a verifier already.
pub(crate) fn is_verifier(text: &str) -> bool {
    let parts = || {
        let (head, keys) = text.strip_prefix(MECHANISM)?.strip_prefix('$')?.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let iterations: u32 = iterations.parse().ok()?;
        let salt = STANDARD.decode(salt).ok()?;
        let keys = [STANDARD.decode(stored_key).ok()?, STANDARD.decode(server_key).ok()?];
        Some(iterations > 0 && !salt.is_empty() && keys.iter().all(|key| key.len() == KEY_BYTES))
    };
    parts().unwrap_or(false)
}

/// PBKDF2 with HMAC-SHA-256; one block, which is all that is needed.
fn salted(password: &[u8], salt: &[u8]) -> [u8; KEY_BYTES] {
    let mut round = keyed(password, &[salt, &1_u32.to_be_bytes()]);
    let mut result = round;
    for _ in 1..ITERATIONS {
        round = keyed(password, &[&round]);
        result.iter_mut().zip(round).for_each(|(byte, other)| *byte ^= other);
    }
    result
}

fn keyed(key: &[u8], message: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in message {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_is_postgresqls() {
        // RFC 7677, section 3: user `user`, password `pencil`.
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let expected = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        assert_eq!(with_salt("pencil", &salt), expected);
        assert!(is_verifier(expected) && !is_verifier("pencil") && !is_verifier("md5abc"));
        assert_eq!(with_salt("I\u{ad}X", &salt), with_salt("IX", &salt));
    }
}
