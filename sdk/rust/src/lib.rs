//! Plugins for bext in Rust.
//!
//! A plugin is a `cdylib` that names its hooks with [`export!`]:
//!
//! ```
//! use bext_plugin::{Answer, Outcome, Request, Result};
//!
//! fn on_request(request: &mut Request) -> Result<Outcome> {
//!     if request.path() != "/hello" {
//!         return Ok(Outcome::Continue);
//!     }
//!     let name = request.header("x-name")?.unwrap_or_else(|| "world".into());
//!     Ok(Answer::new(200).body(format!("Hello, {name}!")).into())
//! }
//!
//! bext_plugin::export! {
//!     on_request: on_request,
//! }
//! # fn main() {}
//! ```
//!
//! ```sh
//! cargo build --release --target wasm32-unknown-unknown
//! ```
//!
//! What the host hands over is owned (`String`, `Vec<u8>`) and freed when it is dropped: an instance serves any number of
//! requests. What the host refuses is an [`Error`] with the code that bext documents; a hook that returns it fails with that
//! code, and what the hook has changed is dropped. A panic is logged with its place, ends the call as a trap, and the
//! instance starts over from the state it had when the plugin became ready.
//!
//! Code that calls no host function can be tested natively with `cargo test`; host functions panic there.

#![deny(unsafe_code, missing_docs)]

mod answer;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod encoding;
mod error;
pub mod extensions;
mod fetch;
#[doc(hidden)]
pub mod hooks;
mod host;
pub mod json;
mod log;
mod message;
mod metric;
pub mod queue;
mod secret;
pub mod storage;

pub use answer::{Answer, Outcome};
pub use error::{Code, Error, Result};
pub use fetch::{Fetch, Fetched, Redirect};
#[doc(hidden)]
pub use log::write as __log;
pub use message::{Request, Response};
pub use metric::metric;
pub use secret::secret;

/// Whether this is the one process of the server that does what only one may do.
pub fn is_leader() -> bool {
    host::is_leader()
}
