//! JSON (RFC 8259) for events, users and answers, enough to need no other crate for it.
//!
//! ```
//! use bext_plugin::json::Value;
//!
//! let user = Value::parse(r#"{"id":"ada","claims":{"roles":["admin"],"age":36}}"#).unwrap();
//! assert_eq!(user.get("id").and_then(Value::as_str), Some("ada"));
//! assert_eq!(user.get("claims").and_then(|claims| claims.get("age")).and_then(Value::as_i64), Some(36));
//! ```

use std::fmt;

/// Levels of lists and objects in one another.
const MAX_LEVELS: usize = 64;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// A text.
    String(String),
    /// A list.
    List(Vec<Value>),
    /// Members in order. Of several with one name the last counts: see [`Value::get`].
    Object(Vec<(String, Value)>),
}

impl Value {
    /// None: the text is not JSON, or nested over 64 levels.
    pub fn parse(text: &str) -> Option<Value> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(MAX_LEVELS)?;
        parser.space();
        (parser.at == text.len()).then_some(value)
    }

    /// The member of an object; of several with this name the last.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one that is written without fraction and exponent, and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Number(number) => number.parse().ok(),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(number) => number.parse().ok(),
            _ => None,
        }
    }

    /// Whether it is `true`, if it is that or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub fn as_object(&self) -> Option<&[(String, Value)]> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    fn write(&self, text: &mut String) {
        match self {
            Value::Null => text.push_str("null"),
            Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => text.push_str(number),
            Value::String(value) => write_string(text, value),
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    text.push(if i == 0 { '[' } else { ',' });
                    item.write(text);
                }
                text.push_str(if items.is_empty() { "[]" } else { "]" });
            }
            Value::Object(members) => {
                for (i, (name, value)) in members.iter().enumerate() {
                    text.push(if i == 0 { '{' } else { ',' });
                    write_string(text, name);
                    text.push(':');
                    value.write(text);
                }
                text.push_str(if members.is_empty() { "{}" } else { "}" });
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Number(number.to_string())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

/// JSON text.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// Writes a JSON string, with its quotes.
///
/// ```
/// let mut text = String::new();
/// bext_plugin::json::write_string(&mut text, "a \"b\"\n");
/// assert_eq!(text, r#""a \"b\"\u000a""#);
/// ```
pub fn write_string(to: &mut String, text: &str) {
    to.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => to.extend(['\\', c]),
            '\0'..='\x1f' => {
                let digit = |value: u32| char::from_digit(value, 16).unwrap_or('0');
                to.extend(['\\', 'u', '0', '0', digit(c as u32 >> 4), digit(c as u32 & 15)]);
            }
            _ => to.push(c),
        }
    }
    to.push('"');
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

/// Each reads what its name says and stands behind it afterwards; none: it is not there.
impl Parser<'_> {
    fn value(&mut self, levels: usize) -> Option<Value> {
        self.space();
        match self.peek()? {
            b'"' => self.string().map(Value::String),
            b'{' => self.object(levels.checked_sub(1)?),
            b'[' => self.list(levels.checked_sub(1)?),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, levels: usize) -> Option<Value> {
        let mut members = Vec::new();
        self.byte(b'{')?;
        self.space();
        if self.byte(b'}').is_some() {
            return Some(Value::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.byte(b':')?;
            members.push((name, self.value(levels)?));
            self.space();
            if self.byte(b',').is_none() {
                return self.byte(b'}').map(|()| Value::Object(members));
            }
        }
    }

    fn list(&mut self, levels: usize) -> Option<Value> {
        let mut items = Vec::new();
        self.byte(b'[')?;
        self.space();
        if self.byte(b']').is_some() {
            return Some(Value::List(items));
        }
        loop {
            items.push(self.value(levels)?);
            self.space();
            if self.byte(b',').is_none() {
                return self.byte(b']').map(|()| Value::List(items));
            }
        }
    }

    fn number(&mut self) -> Option<Value> {
        let start = self.at;
        let _ = self.byte(b'-');
        if self.byte(b'0').is_none() {
            self.digits()?;
        }
        if self.byte(b'.').is_some() {
            self.digits()?;
        }
        if self.byte(b'e').or_else(|| self.byte(b'E')).is_some() {
            let _ = self.byte(b'+').or_else(|| self.byte(b'-'));
            self.digits()?;
        }
        Some(Value::Number(self.text[start..self.at].into()))
    }

    fn digits(&mut self) -> Option<()> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    fn string(&mut self) -> Option<String> {
        let mut string = String::new();
        self.byte(b'"')?;
        loop {
            let count = self.rest().iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)).count();
            string.push_str(&self.text[self.at..self.at + count]);
            self.at += count;
            if self.byte(b'"').is_some() {
                return Some(string);
            }
            self.byte(b'\\')?;
            string.push(self.escaped()?);
        }
    }

    /// What follows a backslash.
    fn escaped(&mut self) -> Option<char> {
        let escape = self.peek()?;
        self.at += 1;
        Some(match escape {
            b'"' | b'\\' | b'/' => escape.into(),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return None,
        })
    }

    /// Half a surrogate pair is no character: U+FFFD stands for it.
    fn unicode(&mut self) -> Option<char> {
        let unit = self.hex()?;
        let after = self.at;
        if (0xd800..0xdc00).contains(&unit) && self.byte(b'\\').is_some() && self.byte(b'u').is_some() {
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                return char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
            }
        }
        self.at = after;
        Some(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        let value = digits.iter().try_fold(0, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))?;
        self.at += 4;
        Some(value)
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        self.rest().starts_with(word.as_bytes()).then(|| self.at += word.len())?;
        Some(value)
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn rest(&self) -> &[u8] {
        &self.text.as_bytes()[self.at..]
    }
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn what_is_json_comes_back() {
        let texts = ["null", "true", "[]", "{}", "[1,-0,1.5e-3,\"a\"]", r#"{"a":{"b":[{}]},"":null}"#, r#""\\\"é😀""#];
        for text in texts {
            assert_eq!(Value::parse(text).map(|value| value.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Value::parse(" [ 1 , { \"a\" : \t2 } ]\r\n").unwrap().to_string(), r#"[1,{"a":2}]"#);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let texts =
            ["", " ", "nul", "nulls", "01", "1.", ".5", "+1", "-", "1e", "0x1", "NaN", "[1,]", "[,1]", "[1", "1]"];
        let more = [
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
        ];
        for text in texts.iter().chain(&more).chain(&["\"a\nb\"", "\"\0\"", "1 2", "\u{feff}1"]) {
            assert_eq!(Value::parse(text), None, "{text}");
        }
    }

    #[test]
    fn escapes_are_characters() {
        assert_eq!(
            Value::parse(r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#).unwrap().as_str(),
            Some("\"\\/\x08\x0c\n\r\té😀")
        );
        assert_eq!(Value::parse(r#""\ud83d\u0041\ude00\ud83d""#).unwrap().as_str(), Some("\u{fffd}A\u{fffd}\u{fffd}"));
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(Value::parse(&nested(64)).is_some());
        assert!(Value::parse(&nested(65)).is_none());
        assert!(Value::parse(&"[".repeat(1_000_000)).is_none());
    }

    #[test]
    fn of_several_members_the_last_counts() {
        let value = Value::parse(r#"{"a":1,"b":true,"a":2}"#).unwrap();
        assert_eq!(value.get("a").and_then(Value::as_i64), Some(2));
        assert_eq!(value.get("b").and_then(Value::as_bool), Some(true));
        assert_eq!(value.get("c"), None);
    }

    #[test]
    fn numbers_are_what_they_say() {
        let number = |text| Value::parse(text).unwrap();
        assert_eq!(number("9223372036854775807").as_i64(), Some(i64::MAX));
        assert_eq!(number("9223372036854775808").as_i64(), None);
        assert_eq!(number("1.0").as_i64(), None);
        assert_eq!(number("1.5e3").as_f64(), Some(1500.0));
    }
}
