//! What plugins tell each other, and the app, about a request.

use crate::error::Result;
use crate::host;

/// Reads `plugin.key` of any plugin.
pub fn get(key: &str) -> Result<Option<String>> {
    host::extension(key)
}

/// Sets `key` of this plugin: others read it as `NAME.key`. At most 8 KiB each, 32 keys.
pub fn set(key: &str, value: &str) -> Result<()> {
    host::set_extension(key, value)
}
