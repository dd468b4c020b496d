use std::fmt;

use crate::host;

/// What hooks and host functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something did not work: a refusal of the host, or the plugin's own failure.
///
/// A hook that returns one fails. The host then uses the code of its own refusal; the plugin's own failures are
/// `E_GUEST_THREW`, with the message.
///
/// ```
/// use bext_plugin::{Code, Error};
///
/// let error = Error::new("the list is empty");
/// assert_eq!(error.code(), Code::Guest);
/// assert_eq!(error.to_string(), "the list is empty");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
}

impl Error {
    /// A failure of the plugin's own.
    pub fn new(message: impl Into<String>) -> Self {
        Error { code: Code::Guest, message: message.into() }
    }

    /// The host's refusal `number`, the last one of this call.
    pub(crate) fn of_host(number: i32) -> Self {
        Error { code: Code::of(number), message: host::last_error() }
    }

    /// What kind of refusal it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What happened; of the host's refusals it begins with the code, as in `E_HEADER_FORBIDDEN: …`.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Error::new(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Error::new(message)
    }
}

macro_rules! codes {
    ($($number:literal $variant:ident $name:literal,)*) => {
        /// Kinds of refusals. `bext explain CODE` has more about each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Code {
            /// The plugin's own failure.
            Guest,
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// A refusal that this version of the crate does not know.
            Other(i32),
        }

        impl Code {
            fn of(number: i32) -> Self {
                match number {
                    $($number => Code::$variant,)*
                    other => Code::Other(other),
                }
            }

            /// The number that a hook returns for it.
            pub(crate) fn number(self) -> i32 {
                match self {
                    Code::Guest => -1,
                    $(Code::$variant => $number,)*
                    Code::Other(other) => other,
                }
            }
        }
    };
}

codes! {
    -2 GuestResultInvalid "E_GUEST_RESULT_INVALID",
    -3 Permission "E_PERMISSION",
    -4 LimitMessage "E_LIMIT_MESSAGE",
    -5 HeaderForbidden "E_HEADER_FORBIDDEN",
    -6 HeaderInvalid "E_HEADER_INVALID",
    -7 StatusInvalid "E_STATUS_INVALID",
    -8 BodyNotDeclared "E_BODY_NOT_DECLARED",
    -9 PathRewrite "E_PATH_REWRITE",
    -10 StorageKey "E_STORAGE_KEY",
    -11 LimitStorage "E_LIMIT_STORAGE",
    -12 StateUnavailable "E_STATE_UNAVAILABLE",
    -13 QueueMessage "E_QUEUE_MESSAGE",
    -14 LimitQueue "E_LIMIT_QUEUE",
    -15 FetchForbidden "E_FETCH_FORBIDDEN",
    -16 FetchFailed "E_FETCH_FAILED",
    -17 LimitFetch "E_LIMIT_FETCH",
    -18 QueryRewrite "E_QUERY_REWRITE",
    -19 MethodRewrite "E_METHOD_REWRITE",
}
