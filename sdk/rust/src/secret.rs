use crate::error::{Error, Result};
use crate::host;

/// The secret that the operator mapped to `name`, which the manifest lists in `secrets`. Without a grant:
/// [`Code::Permission`](crate::Code::Permission).
pub fn secret(name: &str) -> Result<String> {
    host::secret(name)?.ok_or_else(|| Error::new(format!("there is no secret {name}")))
}
