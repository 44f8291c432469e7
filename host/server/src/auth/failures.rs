//! How often an address has failed to show a good token. The memory is bounded: an attacker has many addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
const MOST_ADDRESSES: usize = 10_000;

/// Counts by address and minute.
pub struct Failures {
    allowed: u32,
    counts: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Failures {
    pub fn new(allowed: u32) -> Self {
        Failures {
            allowed,
            counts: Mutex::new(HashMap::new()),
        }
    }

    /// Counts a failure; the time to wait when there were too many.
    pub fn count(&self, peer: IpAddr) -> Option<Duration> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = network(peer);
        let now = Instant::now();
        if counts.len() >= MOST_ADDRESSES && !counts.contains_key(&peer) {
            counts.retain(|_, (since, _)| now - *since < WINDOW);
            if counts.len() >= MOST_ADDRESSES {
                counts.clear();
            }
        }
        let (since, count) = counts.entry(peer).or_insert((now, 0));
        if now - *since >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        (*count > self.allowed).then(|| WINDOW.saturating_sub(now - *since))
    }
}

/// Of IPv6 the /64: whoever has one address of it has them all.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_one_network_count_together_and_others_apart() {
        let failures = Failures::new(2);
        let at = |text: &str| failures.count(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), None);
        assert_eq!(at("2001:db8::2"), None);
        assert!(at("2001:db8::3").is_some());
        assert_eq!(at("2001:db8:0:1::1"), None);
        assert_eq!(at("10.0.0.1"), None);
        assert_eq!(at("::ffff:10.0.0.1"), None);
        assert!(at("10.0.0.1").is_some());
    }

    #[test]
    fn the_memory_is_bounded() {
        let failures = Failures::new(2);
        for i in 0..3 * MOST_ADDRESSES as u32 {
            failures.count(IpAddr::V4(i.into()));
        }
        assert!(failures.counts.lock().unwrap().len() <= MOST_ADDRESSES);
    }
}
