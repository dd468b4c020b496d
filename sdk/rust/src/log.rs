use std::fmt::Arguments;

use crate::host;

/// Writes a line of level `debug` to the server's log: `debug!("cache has {} entries", n)`.
#[macro_export]
macro_rules! debug {
    ($($text:tt)+) => { $crate::__log("debug", format_args!($($text)+)) };
}

/// As [`debug!`], of level `info`.
#[macro_export]
macro_rules! info {
    ($($text:tt)+) => { $crate::__log("info", format_args!($($text)+)) };
}

/// As [`debug!`], of level `warn`.
#[macro_export]
macro_rules! warn {
    ($($text:tt)+) => { $crate::__log("warn", format_args!($($text)+)) };
}

/// As [`debug!`], of level `error`.
#[macro_export]
macro_rules! error {
    ($($text:tt)+) => { $crate::__log("error", format_args!($($text)+)) };
}

#[doc(hidden)]
pub fn write(level: &str, text: Arguments<'_>) {
    match text.as_str() {
        Some(text) => host::log(level, text),
        None => host::log(level, &text.to_string()),
    }
}
