//! Keys and values of this plugin, for the tenant of the request. Reads and writes are local and quick; [`increment`],
//! [`compare_and_set`] and [`flush`] wait for other processes, or the disk.

use std::time::Duration;

use crate::error::Result;
use crate::host;

/// The value. Of a counter: its decimal digits.
pub fn get(key: &str) -> Result<Option<Vec<u8>>> {
    host::storage_get(key)
}

/// The value, if it is text.
pub fn get_text(key: &str) -> Result<Option<String>> {
    Ok(get(key)?.and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// Keeps the value until it is deleted.
pub fn set(key: &str, value: impl AsRef<[u8]>) -> Result<()> {
    host::storage_set(key, value.as_ref())
}

/// Keeps the value for this long, in whole milliseconds and at least one.
pub fn set_for(key: &str, value: impl AsRef<[u8]>, time: Duration) -> Result<()> {
    host::storage_set_ttl(key, value.as_ref(), milliseconds(Some(time)))
}

/// Returns whether there was one.
pub fn delete(key: &str) -> Result<bool> {
    host::storage_delete(key)
}

/// Keys that start with `prefix`, sorted; at most `limit`, 1 to 1,000.
pub fn keys(prefix: &str, limit: u16) -> Result<Vec<String>> {
    let list = host::text_of(host::storage_keys(prefix, limit.into())?);
    Ok(list.split_terminator('\0').map(String::from).collect())
}

/// Adds to a counter, atomically across processes, and returns the sum. Without a key it starts at 0 and lives for `time`
/// (none: until deleted). Waits.
pub fn increment(key: &str, by: i64, time: Option<Duration>) -> Result<i64> {
    host::storage_incr(key, by, milliseconds(time))
}

/// Sets the value if the present one is `expected` (none: if there is none), atomically across processes. Returns whether
/// it was set. Waits.
pub fn compare_and_set(
    key: &str,
    expected: Option<&[u8]>,
    value: impl AsRef<[u8]>,
    time: Option<Duration>,
) -> Result<bool> {
    host::storage_cas(key, expected, value.as_ref(), milliseconds(time))
}

/// Waits until everything this plugin has written is on disk.
pub fn flush() -> Result<()> {
    host::storage_flush()
}

/// 0 means "for ever" to the host, so that no time that is given may become 0.
fn milliseconds(time: Option<Duration>) -> i64 {
    time.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::milliseconds;
    use std::time::Duration;

    #[test]
    fn a_short_time_is_not_for_ever() {
        assert_eq!(milliseconds(None), 0);
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), 1);
        assert_eq!(milliseconds(Some(Duration::MAX)), i64::MAX);
    }
}
