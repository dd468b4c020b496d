//! Bytes as text.

use std::fmt::Write;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// With padding (RFC 4648 §4).
///
/// ```
/// assert_eq!(bext_plugin::encoding::to_base64(b"hello"), "aGVsbG8=");
/// ```
pub fn to_base64(bytes: impl AsRef<[u8]>) -> String {
    let mut text = encode(bytes.as_ref(), BASE64);
    while text.len() % 4 != 0 {
        text.push('=');
    }
    text
}

/// Without padding (RFC 4648 §5).
///
/// ```
/// assert_eq!(bext_plugin::encoding::to_base64url(b"hello"), "aGVsbG8");
/// ```
pub fn to_base64url(bytes: impl AsRef<[u8]>) -> String {
    encode(bytes.as_ref(), BASE64URL)
}

fn encode(bytes: &[u8], digits: &[u8; 64]) -> String {
    let mut text = String::with_capacity(bytes.len() / 3 * 4 + 4);
    for part in bytes.chunks(3) {
        let bits = part.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for digit in 0..=part.len() {
            text.push(digits[(bits >> (18 - 6 * digit) & 63) as usize].into());
        }
    }
    text
}

/// None: it is not base64url without padding.
///
/// ```
/// assert_eq!(bext_plugin::encoding::from_base64url("aGVsbG8").unwrap(), b"hello");
/// assert_eq!(bext_plugin::encoding::from_base64url("aGVsbG8="), None);
/// ```
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    if text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0u32, 0);
    for digit in text.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// Two lower-case digits for each byte.
///
/// ```
/// assert_eq!(bext_plugin::encoding::to_hex([0, 255]), "00ff");
/// ```
pub fn to_hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String does not fail
        text
    })
}

/// None: it is not pairs of hexadecimal digits.
///
/// ```
/// assert_eq!(bext_plugin::encoding::from_hex("00fF").unwrap(), [0, 255]);
/// assert_eq!(bext_plugin::encoding::from_hex("0"), None);
/// ```
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() % 2 == 1 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.as_bytes().chunks(2).map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_comes_back_in_every_length() {
        for len in 0..70 {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 89) as u8).collect();
            assert_eq!(from_base64url(&to_base64url(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn what_is_not_base64url_is_refused() {
        for text in ["a", "aGVsbG8=", "aG+s", "aG/s", "aG s", "aGVsb", "é"] {
            assert_eq!(from_base64url(text), None, "{text}");
        }
    }
}
