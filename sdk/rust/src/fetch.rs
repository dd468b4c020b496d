use crate::encoding;
use crate::error::{Error, Result};
use crate::host;
use crate::json::{write_string, Value};

/// A request to another server, which the manifest lists in `allowed_urls`.
///
/// ```no_run
/// # fn main() -> bext_plugin::Result<()> {
/// use bext_plugin::Fetch;
///
/// let answer = Fetch::post("https://api.example.com/v1/check").header("content-type", "text/plain").body("42").send()?;
/// if answer.status() != 200 {
///     return Err("the check failed".into());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Fetch {
    url: String,
    method: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    redirect: Redirect,
}

/// What happens to a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirect {
    /// It is followed, as long as it leads to where the plugin may fetch.
    Follow,
    /// It is the answer.
    Manual,
    /// It fails the fetch.
    Error,
}

impl Fetch {
    /// A request with any method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Fetch { url: url.into(), method: method.into(), headers: Vec::new(), body: None, redirect: Redirect::Follow }
    }

    /// A GET request.
    pub fn get(url: impl Into<String>) -> Self {
        Fetch::new("GET", url)
    }

    /// A POST request.
    pub fn post(url: impl Into<String>) -> Self {
        Fetch::new("POST", url)
    }

    /// One more header field.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// What happens to a redirect; followed by default.
    pub fn redirect(mut self, redirect: Redirect) -> Self {
        self.redirect = redirect;
        self
    }

    /// Waits for the whole answer. An answer of any status is one.
    pub fn send(self) -> Result<Fetched> {
        let answer = host::fetch(&self.to_json())?;
        Fetched::of(&answer, host::fetch_body()?).ok_or_else(|| Error::new("the host's answer was not understood"))
    }

    fn to_json(&self) -> String {
        let mut json = String::from("{\"url\":");
        write_string(&mut json, &self.url);
        json.push_str(",\"method\":");
        write_string(&mut json, &self.method);
        for (i, (name, value)) in self.headers.iter().enumerate() {
            json.push_str(if i == 0 { ",\"headers\":[[" } else { ",[" });
            write_string(&mut json, name);
            json.push(',');
            write_string(&mut json, value);
            json.push_str(if i + 1 == self.headers.len() { "]]" } else { "]" });
        }
        if let Some(body) = &self.body {
            match std::str::from_utf8(body) {
                Ok(text) => {
                    json.push_str(",\"body\":");
                    write_string(&mut json, text);
                }
                Err(_) => {
                    json.push_str(",\"body_base64\":");
                    write_string(&mut json, &encoding::to_base64(body));
                }
            }
        }
        json.push_str(match self.redirect {
            Redirect::Follow => "}",
            Redirect::Manual => ",\"redirect\":\"manual\"}",
            Redirect::Error => ",\"redirect\":\"error\"}",
        });
        json
    }
}

/// The answer to a [`Fetch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    url: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Fetched {
    /// Where it came from, redirects followed.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// As in 200.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first field of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All fields in order.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, if it is text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }

    fn of(json: &str, body: Vec<u8>) -> Option<Fetched> {
        let answer = Value::parse(json)?;
        let pair = |pair: &Value| match pair.as_list()? {
            [name, value] => Some((name.as_str()?.into(), value.as_str()?.into())),
            _ => None,
        };
        Some(Fetched {
            url: answer.get("url")?.as_str()?.into(),
            status: u16::try_from(answer.get("status")?.as_i64()?).ok()?,
            headers: answer.get("headers")?.as_list()?.iter().map(pair).collect::<Option<_>>()?,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_json() {
        assert_eq!(Fetch::get("http://a/").to_json(), r#"{"url":"http://a/","method":"GET"}"#);
        let request = Fetch::post("http://a/").header("x-a", "1").header("x-b", "\"2\"").body("é");
        assert_eq!(
            request.redirect(Redirect::Manual).to_json(),
            r#"{"url":"http://a/","method":"POST","headers":[["x-a","1"],["x-b","\"2\""]],"body":"é","redirect":"manual"}"#
        );
        assert!(Fetch::post("http://a/").body([255, 0]).to_json().ends_with(r#","body_base64":"/wA="}"#));
    }

    #[test]
    fn answers_are_read() {
        let answer = r#"{"url":"http://a/","status":200,"headers":[["Content-Type","text/plain"]]}"#;
        let fetched = Fetched::of(answer, b"hi".to_vec()).unwrap();
        assert_eq!(
            (fetched.status(), fetched.header("content-type"), fetched.text()),
            (200, Some("text/plain"), Some("hi"))
        );
    }
}
