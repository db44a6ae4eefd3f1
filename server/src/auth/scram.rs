//! SCRAM-SHA-256 (RFC 5802, RFC 7677) with PostgreSQL's stored verifiers. The arithmetic is the pgwire crate's; ours are
//! the messages around it, the verifier's text form, and that an unknown user meets the same exchange as a known one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramSecret, ScramServerAuth, gen_salted_password};
use pgwire::error::PgWireError;
use staffa::ErrorKind;

use crate::pgwire::link::Link;
use crate::pgwire::reply;
use crate::pgwire::report::{Report, Step};

const MECHANISM: &str = "SCRAM-SHA-256";

/// Salt bytes, as many as PostgreSQL takes.
const SALT_BYTES: usize = 16;

/// Bytes of a SHA-256 hash.
const KEY_BYTES: usize = 32;

/// A verifier's text; `None` when it is not one.
fn parse_verifier(text: &str) -> Option<ScramSecret> {
    let (head, keys) = text.strip_prefix(MECHANISM)?.strip_prefix('$')?.split_once('$')?;
    let (iterations, salt) = head.split_once(':')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    let decode = |text: &str| STANDARD.decode(text).ok();
    let (salt, stored_key, server_key) = (decode(salt)?, decode(stored_key)?, decode(server_key)?);
    let iterations = iterations.parse().ok().filter(|&iterations: &u32| iterations > 0)? as usize;
    (stored_key.len() == KEY_BYTES && server_key.len() == KEY_BYTES && !salt.is_empty()).then_some(
        ScramSecret::Verifier {
            salt,
            iterations,
            stored_key,
            server_key,
        },
    )
}

/// Verifiers for users that do not exist or have no password: the same user meets the same salt each time, as a real
/// one would, and no password fits.
pub(crate) struct Doubles {
    secret: [u8; KEY_BYTES],
}

impl Doubles {
    pub(crate) fn new() -> Self {
        Self { secret: rand::random() }
    }

    fn verifier(&self, user: &str) -> ScramSecret {
        let mut salt = gen_salted_password(user, &self.secret, 1);
        salt.truncate(SALT_BYTES);
        ScramSecret::Verifier {
            salt,
            iterations: SCRAM_ITERATIONS,
            stored_key: rand::random::<[u8; KEY_BYTES]>().to_vec(),
            server_key: rand::random::<[u8; KEY_BYTES]>().to_vec(),
        }
    }
}

/// Whether a password that was sent as it is fits. Takes as long for a user that does not exist.
pub(crate) fn is_password(user: &str, password: &str, verifier: Option<&str>, doubles: &Doubles) -> bool {
    let double = doubles.verifier(user);
    let secret = verifier.and_then(parse_verifier).unwrap_or(double);
    let ScramSecret::Verifier {
        salt,
        iterations,
        stored_key,
        ..
    } = secret
    else {
        return false;
    };
    let salted = gen_salted_password(password, &salt, iterations);
    match ScramSecret::verifier_from_salted_password(salt, salted, iterations) {
        ScramSecret::Verifier { stored_key: given, .. } => is_equal(&given, &stored_key),
        ScramSecret::SaltedPassword { .. } => false,
    }
}

/// HMAC-SHA-256 of a message, under a key that is plain ASCII. One round of PBKDF2 is one: of the message and the number of
/// the round.
pub(crate) fn keyed_hash(key: &str, message: &[u8]) -> Vec<u8> {
    gen_salted_password(key, message, 1)
}

/// In a time that tells nothing of where two keys differ.
pub(crate) fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

/// The exchange: client-first, server-first, client-final, server-final.
pub(crate) async fn authenticate(link: &mut Link, user: &str, verifier: Option<&str>, doubles: &Doubles) -> Step<()> {
    // The double is made in both cases: whether a role exists is not to be told from the time either.
    let double = doubles.verifier(user);
    let secret = verifier.and_then(parse_verifier).unwrap_or(double);

    let mut out = BytesMut::new();
    reply::authentication_sasl(&mut out, &[MECHANISM]);
    link.send(&mut out).await?;
    let client_first = match link.read_authentication().await? {
        Some(body) => initial_response(body)?,
        None => return Err(hung_up().into()),
    };
    let (server_first, exchange) = ScramServerAuth::new()
        .on_client_first_message_with_secret(&client_first, secret)
        .map_err(|error| refusal(user, &error))?;
    reply::authentication_sasl_continue(&mut out, server_first.as_bytes());
    link.send(&mut out).await?;
    let client_final = link.read_authentication().await?.ok_or_else(hung_up)?;
    let server_final = exchange
        .on_client_final_message(&client_final)
        .map_err(|error| refusal(user, &error))?;
    reply::authentication_sasl_final(&mut out, server_final.as_bytes());
    link.send(&mut out).await?;
    Ok(())
}

/// The data of a SASLInitialResponse: mechanism, length, that many bytes.
pub(crate) fn initial_response(mut body: Bytes) -> Result<Bytes, Report> {
    let end = body.iter().position(|&byte| byte == 0).ok_or_else(malformed)?;
    if body.split_to(end) != MECHANISM.as_bytes() {
        return Err(Report::protocol_fatal(
            "client selected an invalid SASL authentication mechanism",
        ));
    }
    body.advance(1);
    if body.len() < 4 {
        return Err(malformed());
    }
    let length = body.get_u32() as usize;
    // A client may leave the data out (length -1) and wait for an empty challenge; none does with SCRAM.
    if length != body.len() {
        return Err(malformed());
    }
    Ok(body)
}

fn refusal(user: &str, error: &PgWireError) -> Report {
    match error {
        PgWireError::InvalidPassword(_) => wrong_password(user),
        // Its text may repeat what the client sent; nobody needs it back.
        _ => malformed(),
    }
}

pub(crate) fn wrong_password(user: &str) -> Report {
    let text = format!("password authentication failed for user \"{user}\"");
    Report::fatal(ErrorKind::InvalidPassword, text)
}

fn malformed() -> Report {
    Report::protocol_fatal("malformed SCRAM message")
}

fn hung_up() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::UnexpectedEof,
        "the client hung up during authentication",
    )
}

#[cfg(test)]
mod tests {
    use staffa::scram_verifier;

    use super::*;

    #[test]
    fn damaged_verifiers_are_none() {
        let good = scram_verifier("x");
        assert!(parse_verifier(&good).is_some());
        for bad in [
            "",
            "md5abc",
            "SCRAM-SHA-256$",
            &good[..good.len() - 4],
            &good.replace("$4096", "$0"),
        ] {
            assert!(parse_verifier(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_password_fits_its_verifier_only() {
        let doubles = Doubles::new();
        let verifier = scram_verifier("pencil");
        assert!(is_password("ann", "pencil", Some(&verifier), &doubles));
        assert!(!is_password("ann", "pen", Some(&verifier), &doubles));
        assert!(!is_password("ann", "", Some(&verifier), &doubles));
        assert!(!is_password("ann", "pencil", None, &doubles));
        assert!(!is_password("ann", "pencil", Some("md5x"), &doubles));
    }

    #[test]
    fn an_unknown_user_has_the_same_salt_each_time_and_another_one_another() {
        let doubles = Doubles::new();
        let salt = |user| match doubles.verifier(user) {
            ScramSecret::Verifier { salt, iterations, .. } => (salt, iterations),
            ScramSecret::SaltedPassword { .. } => unreachable!(),
        };
        assert_eq!(salt("ann"), salt("ann"));
        assert_ne!(salt("ann"), salt("bob"));
        assert_eq!((salt("ann").0.len(), salt("ann").1), (SALT_BYTES, 4096));
    }

    #[test]
    fn initial_responses_are_checked() {
        let data = |body: &'static [u8]| initial_response(Bytes::from_static(body)).map_err(|report| report.message);
        assert_eq!(data(b"SCRAM-SHA-256\0\0\0\0\x02n,"), Ok(Bytes::from_static(b"n,")));
        assert!(data(b"SCRAM-SHA-256\0\0\0\0\x03n,").is_err());
        assert!(data(b"SCRAM-SHA-256\0\xff\xff\xff\xff").is_err());
        assert!(data(b"SCRAM-SHA-256\0\0").is_err());
        assert!(data(b"SCRAM-SHA-256").is_err());
        assert_eq!(
            data(b"SCRAM-SHA-1\0\0\0\0\0"),
            Err("client selected an invalid SASL authentication mechanism".to_owned())
        );
    }
}
