//! Queues: work for later, done by the plugins that have `on_queue_message`.

use std::time::Duration;

use crate::error::Result;
use crate::host;

/// A message to push.
///
/// ```no_run
/// # fn main() -> bext_plugin::Result<()> {
/// use bext_plugin::queue::Message;
///
/// let id = Message::new("mail", r#"{"to":"ada@example.com"}"#).key("ada").push()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Message<'a> {
    queue: &'a str,
    json: &'a str,
    key: &'a str,
    delay_ms: i64,
}

impl<'a> Message<'a> {
    /// A message for a queue that the manifest lists in `queues`. The value is JSON.
    pub fn new(queue: &'a str, json: &'a str) -> Self {
        Message { queue, json, key: "", delay_ms: 0 }
    }

    /// Messages of one key are delivered one at a time, in order.
    pub fn key(mut self, key: &'a str) -> Self {
        self.key = key;
        self
    }

    /// Delivered no sooner than this; at most 30 days.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// Waits until the message is on disk, and returns its id.
    pub fn push(self) -> Result<String> {
        host::queue_push(self.queue, self.json, self.key, self.delay_ms)
    }
}
