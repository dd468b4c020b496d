//! The plugin's settings: its section of bext.config.toml, with the defaults of its schema.

use std::str::FromStr;

use crate::host;

/// The setting: text as it is, anything else as JSON. None: there is no such key.
///
/// Panics when the host refuses to hand it over (it is larger than what may cross the boundary): a plugin that goes on as if
/// it were not set could let through what it should stop.
pub fn get(key: &str) -> Option<String> {
    host::config(key).unwrap_or_else(|error| panic!("{error}"))
}

/// The setting as a number, a boolean, or whatever else its text can be. None: there is no such key, or it cannot.
///
/// ```no_run
/// let most: u32 = bext_plugin::config::parse("max_width").unwrap_or(2000);
/// ```
pub fn parse<T: FromStr>(key: &str) -> Option<T> {
    get(key)?.parse().ok()
}

/// The whole section as JSON.
pub fn all() -> String {
    get("").unwrap_or_else(|| "{}".into())
}
