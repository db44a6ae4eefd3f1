//! Slows down who guesses passwords.
//!
//! After a few wrong ones for a role from an address, guesses for it from there are let through one by one, with a pause between them, and who
//! would have to wait too long is refused. Whether there is such a role makes no difference. Others, and other roles, notice nothing.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Wrong passwords that are forgiven: people mistype them.
const FREE: u32 = 5;

/// The pause between two guesses after that: twenty in a minute.
const PAUSE: Duration = Duration::from_secs(3);

/// The longest that one client is made to wait.
const WAIT_MAX: Duration = Duration::from_secs(6);

/// How long a wrong password counts.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// How many guessers are remembered; of more the oldest are forgotten.
const GUESSERS_MAX: usize = 10_000;

/// One role and the address that clients come from, where that is known. Of the role a hash that nobody outside can foresee: names that
/// were made up may be as long as a message, and many.
type Guesser = (u64, Option<IpAddr>);

/// Wrong passwords of late.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// Held for a look-up or a change only.
    guessers: Mutex<HashMap<Guesser, Failures>>,
    hashes: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
    /// When the next guess may be made.
    next: Instant,
}

impl Throttle {
    /// How long a client must wait before its password is looked at; `None`: longer than anybody may.
    pub(crate) fn wait(&self, user: &str, address: Option<IpAddr>) -> Option<Duration> {
        self.wait_at(Instant::now(), user, address)
    }

    fn wait_at(&self, now: Instant, user: &str, address: Option<IpAddr>) -> Option<Duration> {
        let mut guessers = self.guessers.lock();
        let Some(failures) = guessers.get_mut(&self.guesser(user, address)) else {
            return Some(Duration::ZERO);
        };
        if failures.count < FREE || now.duration_since(failures.last) > MEMORY {
            return Some(Duration::ZERO);
        }
        let turn = failures.next.max(now);
        let wait = turn.duration_since(now);
        if wait > WAIT_MAX {
            return None;
        }
        // Those that come at the same time get turns one after the other.
        failures.next = turn + PAUSE;
        Some(wait)
    }

    /// A password was wrong.
    pub(crate) fn failed(&self, user: &str, address: Option<IpAddr>) {
        self.failed_at(Instant::now(), user, address);
    }

    fn failed_at(&self, now: Instant, user: &str, address: Option<IpAddr>) {
        let mut guessers = self.guessers.lock();
        if guessers.len() >= GUESSERS_MAX {
            guessers.retain(|_, failures| now.duration_since(failures.last) <= MEMORY);
            let oldest = guessers.iter().min_by_key(|(_, failures)| failures.last);
            if let Some(oldest) = oldest
                .map(|(guesser, _)| *guesser)
                .filter(|_| guessers.len() >= GUESSERS_MAX)
            {
                guessers.remove(&oldest);
            }
        }
        let failures = guessers.entry(self.guesser(user, address)).or_insert(Failures {
            count: 0,
            last: now,
            next: now,
        });
        if now.duration_since(failures.last) > MEMORY {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        failures.next = failures.next.max(now + PAUSE);
    }

    /// A password was right: who knows it does not guess.
    pub(crate) fn succeeded(&self, user: &str, address: Option<IpAddr>) {
        self.guessers.lock().remove(&self.guesser(user, address));
    }

    fn guesser(&self, user: &str, address: Option<IpAddr>) -> Guesser {
        (self.hashes.hash_one(user), address.map(network))
    }
}

/// What one client has: an IPv4 address, or the 64 bits that IPv6 networks are given, in which it may take as many as it likes.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_become_slow_and_others_do_not() {
        let throttle = Throttle::default();
        let (here, there) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        let start = Instant::now();
        for _ in 0..FREE {
            assert_eq!(throttle.wait_at(start, "ann", here), Some(Duration::ZERO));
            throttle.failed_at(start, "ann", here);
        }
        // A minute of guesses as fast as they are let through.
        let (mut now, mut guesses) = (start, 0);
        while now < start + Duration::from_secs(60) {
            match throttle.wait_at(now, "ann", here) {
                Some(wait) => {
                    now += wait;
                    throttle.failed_at(now, "ann", here);
                    guesses += 1;
                }
                None => now += Duration::from_secs(1),
            }
        }
        assert!((10..=20).contains(&guesses), "{guesses} guesses");
        assert_eq!(throttle.wait_at(now, "ann", there), Some(Duration::ZERO));
        assert_eq!(throttle.wait_at(now, "bob", here), Some(Duration::ZERO));
        throttle.succeeded("ann", here);
        assert_eq!(throttle.wait_at(now, "ann", here), Some(Duration::ZERO));
    }

    #[test]
    fn other_addresses_of_the_same_network_are_no_others() {
        let throttle = Throttle::default();
        let now = Instant::now();
        let at = |text: &str| Some(text.parse().expect("an address"));
        for last in 1..=FREE {
            throttle.failed_at(now, "ann", at(&format!("2001:db8::{last}")));
            throttle.failed_at(now, "ann", at("10.0.0.1"));
        }
        for (address, wanted) in [
            ("2001:db8::ffff:0:1", PAUSE),
            ("2001:db8:0:1::1", Duration::ZERO),
            ("::ffff:10.0.0.1", PAUSE),
            ("10.0.0.2", Duration::ZERO),
        ] {
            assert_eq!(throttle.wait_at(now, "ann", at(address)), Some(wanted), "{address}");
        }
    }

    #[test]
    fn a_crowd_waits_in_turns_and_its_end_is_refused() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..FREE {
            throttle.failed_at(now, "ann", None);
        }
        let waits: Vec<_> = (0..4).map(|_| throttle.wait_at(now, "ann", None)).collect();
        assert_eq!(waits, [Some(PAUSE), Some(PAUSE * 2), None, None]);
        let later = now + MEMORY + Duration::from_secs(1);
        assert_eq!(throttle.wait_at(later, "ann", None), Some(Duration::ZERO));
    }
}
