//! Hashes, signatures and randomness, done by the host.

use crate::error::Result;
use crate::host;

/// At most 65,536 bytes that nobody can guess.
pub fn random(into: &mut [u8]) -> Result<()> {
    host::random(into)
}

/// The SHA-256 of `bytes` (FIPS 180-4).
pub fn sha256(bytes: impl AsRef<[u8]>) -> Result<[u8; 32]> {
    host::sha256(bytes.as_ref())
}

/// The HMAC of `bytes` with SHA-256 (RFC 2104). Compare it with [`equal`].
pub fn hmac_sha256(key: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<[u8; 32]> {
    host::hmac_sha256(key.as_ref(), bytes.as_ref())
}

/// Whether the signature of `message` is right (RFC 8032).
pub fn ed25519_verify(public_key: &[u8; 32], signature: &[u8; 64], message: impl AsRef<[u8]>) -> Result<bool> {
    host::ed25519_verify(public_key, signature, message.as_ref())
}

/// Whether both are the same, in a time that does not tell where they differ.
///
/// ```
/// assert!(bext_plugin::crypto::equal(b"abc", b"abc"));
/// assert!(!bext_plugin::crypto::equal(b"abc", b"abcd"));
/// ```
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    // The compiler must not see that the loop could end early.
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| opaque(difference | (a ^ b))) == 0
}

#[inline(never)]
fn opaque(byte: u8) -> u8 {
    byte
}
