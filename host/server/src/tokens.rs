//! Secrets of tokens: how they are made and hashed. The secret is shown once; only its hash is kept.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What every secret begins with, so that scanners for leaked secrets can find it.
pub const PREFIX: &str = "ty_";

/// A new secret, `ty_` and 43 characters, and its hash.
pub fn generate() -> (String, [u8; 32]) {
    let secret = format!("{PREFIX}{}", random());
    let hash = hash(&secret);
    (secret, hash)
}

/// What is kept of a secret. It is 32 random bytes, so a slow hash would gain nothing.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// 32 random bytes, in 43 characters that need no escape anywhere.
pub(crate) fn random() -> String {
    let mut bytes = [0; 32];
    // The operating system has random bytes from its first second on; without them nothing here would be safe.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_need_no_escape() {
        let (one, hash_of_one) = generate();
        let (other, _) = generate();
        assert_ne!(one, other);
        assert_eq!(one.len(), 46);
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        assert_eq!(hash(&one), hash_of_one);
    }
}
