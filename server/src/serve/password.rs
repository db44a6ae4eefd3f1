//! The first role's password: given, or made up once. Only its SCRAM verifier is stored.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rand::TryRngCore;
use rand::rngs::OsRng;
use staffa::{DEFAULT_ROLE, Warehouse, scram_verifier};

use crate::auth::AuthMode;
use crate::auth::scram::{Doubles, is_password};
use crate::cli::Failure;
use crate::config::Config;

/// Where a made-up password goes when there is no terminal to print it to.
const FILE: &str = "initial-admin-password";

/// Letters and digits that are not taken for one another.
const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// 56 characters to choose from, 22 of them: 127 bits.
const CHARACTERS: usize = 22;

/// Sees to it that the first role can log in.
pub(super) async fn settle(warehouse: &Warehouse, config: &Config) -> Result<(), Failure> {
    if let Some(password) = &config.admin_password {
        // Looked at every start: so it can be changed, and a lost one replaced, without the old one. What is kept of the
        // same one stays: tokens of the REST catalog end with it.
        let verifier = warehouse.verifier(DEFAULT_ROLE).await?;
        if is_password(DEFAULT_ROLE, password, verifier.as_deref(), &Doubles::new()) {
            return Ok(());
        }
        return Ok(warehouse.set_verifier(DEFAULT_ROLE, &scram_verifier(password)).await?);
    }
    if config.auth == AuthMode::Trust || warehouse.verifier(DEFAULT_ROLE).await?.is_some() {
        return Ok(());
    }
    let password = make()?;
    // Told before it is stored: a crash in between makes up another one at the next start, and nobody is locked out.
    tell(&password, &config.data)?;
    Ok(warehouse.set_verifier(DEFAULT_ROLE, &scram_verifier(&password)).await?)
}

fn make() -> Result<String, Failure> {
    let mut password = String::with_capacity(CHARACTERS);
    // Bytes beyond the last whole multiple would make some characters likelier than others.
    let fair = 256 - 256 % ALPHABET.len();
    while password.len() < CHARACTERS {
        let mut byte = [0];
        OsRng
            .try_fill_bytes(&mut byte)
            .map_err(|error| Failure::new(format!("the system gives no random numbers: {error}")))?;
        let number = usize::from(byte[0]);
        if number < fair {
            password.push(char::from(ALPHABET[number % ALPHABET.len()]));
        }
    }
    Ok(password)
}

/// To the terminal where there is one; else to a file that only this user can read, for output may be kept as a log.
fn tell(password: &str, data: &Path) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        let _ = writeln!(
            out,
            "The password of \"{DEFAULT_ROLE}\" is {password}\nIt is shown only this once. To set your own, start with STAFFA_ADMIN_PASSWORD.\n"
        );
        return Ok(());
    }
    let path = data.join(FILE);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{password}").and_then(|()| file.sync_all()));
    written.map_err(|error| {
        Failure::new(format!(
            "cannot write the first password to {}: {error}",
            path.display()
        ))
        .with_hint("set STAFFA_ADMIN_PASSWORD")
    })?;
    tracing::info!(file = %path.display(), "made up a password for \"{DEFAULT_ROLE}\"; delete the file once it is read");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_differ() {
        let (first, second) = (make().expect("random"), make().expect("random"));
        assert_eq!(first.len(), CHARACTERS);
        assert!(first.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(first, second);
    }
}
