use crate::error::Result;
use crate::host;

/// What `on_request` decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The request goes on, with what was changed about it.
    Continue,
    /// This is the response; neither later plugins nor the app see the request.
    Answer(Answer),
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Outcome::Answer(answer)
    }
}

/// A response made by the plugin.
///
/// ```
/// use bext_plugin::Answer;
///
/// let answer = Answer::new(303).header("location", "/login").header("cache-control", "no-store");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    /// A list of pairs as the ABI has it: name NUL value NUL …
    headers: Vec<u8>,
    body: Vec<u8>,
}

impl Answer {
    /// Without headers and body. Status: 200 to 599, checked by the host.
    pub fn new(status: u16) -> Self {
        Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    /// One more header field, checked by the host.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        for text in [name, value] {
            self.headers.extend_from_slice(text.as_bytes());
            self.headers.push(0);
        }
        self
    }

    /// The body. The host computes its length; the content type is the plugin's to say.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn send(&self) -> Result<()> {
        host::respond(self.status, &self.headers, &self.body)
    }
}
