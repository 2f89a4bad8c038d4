use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The members of a JSON object. Their order means nothing; `str` orders by code point, as canonical
/// JSON does.
pub type Object = BTreeMap<String, Json>;

/// A JSON value as metadata may hold it: every name once, every number an integer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of any size.
    Integer(Integer),
    /// A text.
    String(String),
    /// Values in order.
    Array(Vec<Json>),
    /// Members by name.
    Object(Object),
}

/// An integer of any size: metadata may carry some that this program neither needs nor could count to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integer(String);

/// Why bytes are not JSON that metadata may consist of.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON (RFC 8259) in UTF-8.
    #[error("it is not JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    Encoding,
    /// Nested too deeply.
    #[error("it nests deeper than {DEPTH} levels")]
    Depth,
    /// A name stands twice in one object: two readers could each see another value.
    #[error("the member {0:?} stands twice in one object")]
    Duplicate(String),
    /// A number with a fraction or an exponent: it has no canonical form.
    #[error("{0} is not an integer")]
    Fraction(String),
}

/// Levels of nesting that are read. Metadata itself needs seven; the rest is for custom data.
const DEPTH: usize = 32;

impl Json {
    /// Reads a whole text. The caller has bounded its length.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(bytes).map_err(|_| JsonError::Encoding)?;
        // The whole grammar is judged here, without recursion, before anything is built.
        let whole: &RawValue = serde_json::from_str(text).map_err(JsonError::Syntax)?;
        Self::build(whole, DEPTH)
    }

    fn build(raw: &RawValue, depth: usize) -> Result<Self, JsonError> {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'{' | b'[') if depth == 0 => Err(JsonError::Depth),
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text).map_err(JsonError::Syntax)?;
                let mut object = Object::new();
                for (name, raw) in members {
                    if object.contains_key(&name) {
                        return Err(JsonError::Duplicate(name));
                    }
                    object.insert(name, Self::build(raw, depth - 1)?);
                }
                Ok(Self::Object(object))
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(JsonError::Syntax)?;
                items.into_iter().map(|raw| Self::build(raw, depth - 1)).collect::<Result<_, _>>().map(Self::Array)
            }
            Some(b'"') => serde_json::from_str(text).map(Self::String).map_err(JsonError::Syntax),
            Some(b't') => Ok(Self::Bool(true)),
            Some(b'f') => Ok(Self::Bool(false)),
            Some(b'n') => Ok(Self::Null),
            _ => text.parse().map(Self::Integer),
        }
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl Integer {
    /// The number, if it is at least 0 and at most 2^64 - 1.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// Its decimal digits, with a sign if it is negative.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Integer {
    type Err = JsonError;

    /// Reads digits as JSON has them: no plus sign, no leading zeros. Zero has no sign.
    fn from_str(text: &str) -> Result<Self, JsonError> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !plain || (digits.len() > 1 && digits.starts_with('0')) {
            return Err(JsonError::Fraction(text.chars().take(40).collect()));
        }
        Ok(Self(if digits == "0" { digits.to_owned() } else { text.to_owned() }))
    }
}

impl From<u64> for Integer {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Integer(number.into())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t37_a_member_that_stands_twice_is_refused_at_any_level_and_however_it_is_spelt() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"b":2,"a":3}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(matches!(Json::parse(text.as_bytes()), Err(JsonError::Duplicate(name)) if name == "a"), "{text}");
        }
        assert!(Json::parse(br#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn t52_nesting_is_bounded_without_recursion() {
        let nested = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
        assert!(Json::parse(&nested(DEPTH)).is_ok());
        assert!(matches!(Json::parse(&nested(DEPTH + 1)), Err(JsonError::Depth)));
        assert!(matches!(Json::parse(&nested(1_000_000)), Err(JsonError::Depth)));
        assert!(matches!(Json::parse(&vec![b'['; 1_000_000]), Err(JsonError::Syntax(_))));
        let objects = [r#"{"a":"#.repeat(1_000_000), "1".to_owned(), "}".repeat(1_000_000)].concat();
        assert!(matches!(Json::parse(objects.as_bytes()), Err(JsonError::Depth)));
    }

    #[test]
    fn t52_what_is_no_json_is_refused_and_never_panics() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "nul",
            "NaN",
            "Infinity",
            "{\"a\"}",
            "[1,]",
            "01",
            "+1",
            "--1",
            "\"\\ud800\"",
            "\"\u{1}\"",
            "\u{feff}{}",
            "{} {}",
            "'a'",
            "\"\\x\"",
        ] {
            assert!(matches!(Json::parse(text.as_bytes()), Err(JsonError::Syntax(_))), "{text:?}");
        }
        assert!(matches!(Json::parse(b"\"\xff\""), Err(JsonError::Encoding)));
    }

    #[test]
    fn integers_of_any_size_are_kept_and_fractions_refused() {
        let big = "123456789012345678901234567890";
        let parsed = Json::parse(big.as_bytes()).unwrap();
        assert_eq!(parsed, Json::Integer(big.parse().unwrap()));
        assert_eq!(Json::parse(b"-0").unwrap(), Json::from(0));
        assert_eq!(big.parse::<Integer>().unwrap().to_u64(), None);
        for text in ["1.0", "1e3", "1E3", "-0.0"] {
            assert!(matches!(Json::parse(text.as_bytes()), Err(JsonError::Fraction(_))), "{text}");
        }
    }
}
