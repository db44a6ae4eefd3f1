//! Who is connected: process numbers and secret keys, for CancelRequest and for the shutdown.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::TryRngCore;
use rand::rngs::OsRng;
use staffa::{Canceller, Error, Result};

/// Secret key bytes of protocol 3.0.
pub(crate) const SHORT_KEY_BYTES: usize = 4;

/// Secret key bytes we give from protocol 3.2 on, which allows 4 to 256.
pub(crate) const LONG_KEY_BYTES: usize = 32;

/// All logged-in connections of a server.
#[derive(Default)]
pub(crate) struct Backends {
    /// Held only for a look-up or an insertion, never across an await.
    by_process: Mutex<HashMap<i32, Entry>>,
}

struct Entry {
    key: SecretKey,
    canceller: Canceller,
}

/// Proves to CancelRequest that its sender is the connection's owner.
#[derive(Clone)]
pub(crate) struct SecretKey(Box<[u8]>);

impl SecretKey {
    fn random(length: usize) -> Result<Self> {
        let mut key = vec![0; length].into_boxed_slice();
        OsRng
            .try_fill_bytes(&mut key)
            .map_err(|error| Error::internal(format!("no random numbers: {error}")))?;
        Ok(Self(key))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Looks at all bytes in any case, so that the time tells nothing about where two keys differ.
    fn matches(&self, other: &[u8]) -> bool {
        let differing = self.0.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
        self.0.len() == other.len() && differing == 0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A connection's place among the others; dropping it takes it out.
pub(crate) struct Registration {
    backends: Arc<Backends>,
    process: i32,
    key: SecretKey,
}

impl Backends {
    /// Takes a session in and gives it a secret key. `process` is its number, which no other open session has.
    pub(crate) fn register(
        self: &Arc<Self>,
        process: i32,
        key_bytes: usize,
        canceller: Canceller,
    ) -> Result<Registration> {
        let key = SecretKey::random(key_bytes)?;
        self.by_process.lock().insert(
            process,
            Entry {
                key: key.clone(),
                canceller,
            },
        );
        Ok(Registration {
            backends: Arc::clone(self),
            process,
            key,
        })
    }

    /// Cancels what the connection of that number runs, if the key is its own. Nobody is told whether it was.
    pub(crate) fn cancel(&self, process: i32, key: &[u8]) {
        let canceller = {
            let entries = self.by_process.lock();
            entries
                .get(&process)
                .filter(|entry| entry.key.matches(key))
                .map(|entry| entry.canceller.clone())
        };
        match canceller {
            Some(canceller) => canceller.cancel(),
            None => tracing::info!(process, "cancel request for no connection, or with a wrong key"),
        }
    }

    /// Ends whatever any connection runs.
    pub(crate) fn terminate_all(&self) {
        for entry in self.by_process.lock().values() {
            entry.canceller.terminate();
        }
    }
}

impl Registration {
    pub(crate) fn process(&self) -> i32 {
        self.process
    }

    pub(crate) fn key(&self) -> &SecretKey {
        &self.key
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.backends.by_process.lock().remove(&self.process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_only_in_full() {
        let key = SecretKey(Box::new([1, 2, 3, 4]));
        assert!(key.matches(&[1, 2, 3, 4]));
        for other in [&[1, 2, 3][..], &[1, 2, 3, 4, 0], &[1, 2, 3, 5], &[]] {
            assert!(!key.matches(other));
        }
    }

    #[test]
    fn a_connection_is_known_until_its_registration_is_dropped() {
        let backends = Arc::new(Backends::default());
        let first = backends
            .register(1, SHORT_KEY_BYTES, Canceller::default())
            .expect("random numbers");
        let second = backends
            .register(2, LONG_KEY_BYTES, Canceller::default())
            .expect("random numbers");
        assert_eq!((first.key().bytes().len(), second.key().bytes().len()), (4, 32));
        drop(first);
        assert_eq!(
            backends.by_process.lock().keys().collect::<Vec<_>>(),
            [&second.process()]
        );
    }
}
