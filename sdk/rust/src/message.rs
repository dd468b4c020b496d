use std::fmt;

use crate::error::Result;
use crate::host;

/// The request that a hook runs for. It reads from the host what it is asked for, when it is asked.
///
/// `on_request` may change it; changes take effect when the hook succeeds. In `on_response` it can only be read.
pub struct Request(());

/// The response that is about to be sent.
pub struct Response(());

impl Request {
    pub(crate) fn of_this_call() -> Self {
        Request(())
    }

    /// As in `GET`.
    pub fn method(&self) -> String {
        host::method()
    }

    /// Decoded and normalised.
    pub fn path(&self) -> String {
        host::path()
    }

    /// Without the question mark; empty when there is none.
    pub fn query(&self) -> String {
        host::query()
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> String {
        host::scheme()
    }

    /// Host and port, as the client named them.
    pub fn host(&self) -> String {
        host::host()
    }

    /// The client's IP address.
    pub fn client_address(&self) -> String {
        host::client_address()
    }

    /// As in the log and in `x-request-id`.
    pub fn request_id(&self) -> String {
        host::request_id()
    }

    /// `websocket`, when the client asks to go on with one.
    pub fn upgrade(&self) -> Result<Option<String>> {
        host::upgrade()
    }

    /// The tenant whose request it is.
    pub fn tenant_id(&self) -> Result<Option<String>> {
        host::tenant_id()
    }

    /// The tenant's site.
    pub fn site_id(&self) -> Result<Option<String>> {
        host::site_id()
    }

    /// Who is logged in, as JSON: `{"id": …, "claims": {…}}`.
    pub fn user(&self) -> Result<Option<String>> {
        host::user()
    }

    /// Needs `rewrite_path`: an absolute, normalised path without a query.
    pub fn set_path(&mut self, path: &str) -> Result<()> {
        host::set_path(path)
    }

    /// Needs `rewrite_path`: percent-encoded, without "?"; empty: none.
    pub fn set_query(&mut self, query: &str) -> Result<()> {
        host::set_query(query)
    }

    /// Needs `rewrite_method`: in upper case; a request that becomes GET or HEAD has no content any more.
    pub fn set_method(&mut self, method: &str) -> Result<()> {
        host::set_method(method)
    }

    /// Needs `identity`; empty: none.
    pub fn set_tenant_id(&mut self, id: &str) -> Result<()> {
        host::set_tenant_id(id)
    }

    /// Needs `identity`; empty: none.
    pub fn set_site_id(&mut self, id: &str) -> Result<()> {
        host::set_site_id(id)
    }

    /// Needs `identity`: JSON as [`Request::user`] gives it, or `null`.
    pub fn set_user(&mut self, json: &str) -> Result<()> {
        host::set_user(json)
    }
}

impl Response {
    pub(crate) fn of_this_call() -> Self {
        Response(())
    }

    /// As in 200.
    pub fn status(&self) -> Result<u16> {
        host::status()
    }

    /// 200 to 599.
    pub fn set_status(&mut self, status: u16) -> Result<()> {
        host::set_status(status)
    }
}

macro_rules! message {
    ($type:ident, $name:literal, $side:literal) => {
        impl $type {
            /// The field's value; of several with this name, joined as HTTP says. None: there is none, or the plugin may
            /// not see it (`sensitive_headers`).
            pub fn header(&self, name: &str) -> Result<Option<String>> {
                host::header($side, name)
            }

            /// All fields the plugin may see, in order, names in lower case.
            pub fn headers(&self) -> Result<Vec<(String, String)>> {
                Ok(pairs(host::headers($side)?))
            }

            /// Replaces the field.
            pub fn set_header(&mut self, name: &str, value: &str) -> Result<()> {
                host::set_header($side, name, value)
            }

            /// Adds a field, beside those there are.
            pub fn append_header(&mut self, name: &str, value: &str) -> Result<()> {
                host::append_header($side, name, value)
            }

            /// Removes every field of this name.
            pub fn remove_header(&mut self, name: &str) -> Result<()> {
                host::remove_header($side, name)
            }

            /// Bytes of the body. Like everything about it, this needs `body` in the manifest's `[sandbox]`.
            pub fn body_size(&self) -> Result<usize> {
                host::body_size($side)
            }

            /// Reads the body from `offset` on. Returns how many bytes there were; 0: the end.
            pub fn read_body(&self, offset: usize, into: &mut [u8]) -> Result<usize> {
                host::read_body($side, offset, into)
            }

            /// The whole body. It stays there for the app, or the client.
            pub fn body(&self) -> Result<Vec<u8>> {
                read_whole($side)
            }

            /// Replaces the body.
            pub fn set_body(&mut self, body: impl AsRef<[u8]>) -> Result<()> {
                host::set_body($side, body.as_ref())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($name)
            }
        }
    };
}

message!(Request, "Request", 0);
message!(Response, "Response", 1);

/// name NUL value NUL …
fn pairs(list: Vec<u8>) -> Vec<(String, String)> {
    let list = host::text_of(list);
    let mut texts = list.split_terminator('\0');
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        pairs.push((name.into(), value.into()));
    }
    pairs
}

fn read_whole(side: host::Side) -> Result<Vec<u8>> {
    let mut body = vec![0; host::body_size(side)?];
    let mut len = 0;
    while len < body.len() {
        match host::read_body(side, len, &mut body[len..])? {
            0 => break,
            read => len += read,
        }
    }
    body.truncate(len);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn pairs_keeps_empty_values() {
        let list = b"a\0\0b\x002\0".to_vec();
        assert_eq!(pairs(list), [("a".into(), "".into()), ("b".into(), "2".into())]);
        assert_eq!(pairs(Vec::new()), []);
    }
}
