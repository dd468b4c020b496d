//! Clocks of whole milliseconds. Those of the standard library do not work in a plugin.

use crate::host;

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    host::now_ms()
}

/// Milliseconds since some moment: for measuring, since nobody sets this clock.
pub fn monotonic_ms() -> i64 {
    host::monotonic_ms()
}
