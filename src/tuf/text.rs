//! The two ways in which metadata is written: canonically, to be signed, and as a file.

use std::fmt::Write as _;

use super::json::{Json, Object};

/// OLPC canonical JSON: members ordered by code point, no white space, `"` and `\` escaped and nothing
/// else, UTF-8 as it stands. No normalisation: two texts that look alike are two texts.
#[must_use]
pub fn canonical(value: &Json) -> Vec<u8> {
    let mut text = String::new();
    write_value(value, &Style::CANONICAL, 0, &mut text);
    text.into_bytes()
}

/// As [`canonical`], for an object that is not wrapped into a value.
pub(super) fn canonical_object(object: &Object) -> Vec<u8> {
    let mut text = String::new();
    write_object(object, &Style::CANONICAL, 0, &mut text);
    text.into_bytes()
}

/// A file's text: ASCII alone, members ordered, without white space.
pub(super) fn compact(object: &Object) -> Vec<u8> {
    let mut text = String::new();
    write_object(object, &Style::COMPACT, 0, &mut text);
    text.into_bytes()
}

/// A file's text for people: as [`compact`], one member a line, indented by one space.
pub(super) fn indented(object: &Object) -> Vec<u8> {
    let mut text = String::new();
    write_object(object, &Style::INDENTED, 0, &mut text);
    text.into_bytes()
}

struct Style {
    write_string: fn(&str, &mut String),
    colon: &'static str,
    indented: bool,
}

impl Style {
    const CANONICAL: Self = Self { write_string: write_raw, colon: ":", indented: false };
    const COMPACT: Self = Self { write_string: write_ascii, colon: ":", indented: false };
    const INDENTED: Self = Self { write_string: write_ascii, colon: ": ", indented: true };

    fn line(&self, depth: usize, text: &mut String) {
        if self.indented {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', depth));
        }
    }
}

fn write_value(value: &Json, style: &Style, depth: usize, text: &mut String) {
    match value {
        Json::Null => text.push_str("null"),
        Json::Bool(true) => text.push_str("true"),
        Json::Bool(false) => text.push_str("false"),
        Json::Integer(number) => text.push_str(number.as_str()),
        Json::String(string) => (style.write_string)(string, text),
        Json::Array(items) if items.is_empty() => text.push_str("[]"),
        Json::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                text.push(if at == 0 { '[' } else { ',' });
                style.line(depth + 1, text);
                write_value(item, style, depth + 1, text);
            }
            style.line(depth, text);
            text.push(']');
        }
        Json::Object(object) => write_object(object, style, depth, text),
    }
}

fn write_object(object: &Object, style: &Style, depth: usize, text: &mut String) {
    if object.is_empty() {
        text.push_str("{}");
        return;
    }
    for (at, (name, value)) in object.iter().enumerate() {
        text.push(if at == 0 { '{' } else { ',' });
        style.line(depth + 1, text);
        (style.write_string)(name, text);
        text.push_str(style.colon);
        write_value(value, style, depth + 1, text);
    }
    style.line(depth, text);
    text.push('}');
}

fn write_raw(string: &str, text: &mut String) {
    text.push('"');
    for c in string.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
}

fn write_ascii(string: &str, text: &mut String) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(text, "\\u{unit:04x}").expect("a string takes any text");
                }
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(text: &str) -> String {
        String::from_utf8(canonical(&Json::parse(text.as_bytes()).unwrap())).unwrap()
    }

    #[test]
    fn only_quotes_and_backslashes_are_escaped() {
        assert_eq!(again(r#""\u0000\u001f\u007f\n\t\u2028/""#), "\"\u{0}\u{1f}\u{7f}\n\t\u{2028}/\"");
        assert_eq!(
            again(r#" { "b" : [ 1 , -2 , true , null ] , "a\"\\" : "é" } "#),
            r#"{"a\"\\":"é","b":[1,-2,true,null]}"#
        );
    }

    #[test]
    fn nothing_is_normalised() {
        assert_eq!(again("\"e\\u0301\""), "\"e\u{301}\"");
        assert_ne!(again("\"e\\u0301\""), again("\"\\u00e9\""));
    }

    #[test]
    fn members_are_ordered_by_code_point_and_not_by_utf_16() {
        // U+FF61 comes before U+1F600, whose UTF-16 form begins with D83D.
        assert_eq!(again("{\"\\ud83d\\ude00\":2,\"\\uff61\":1}"), "{\"\u{ff61}\":1,\"\u{1f600}\":2}");
    }

    pub(crate) fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<u64>().prop_map(Json::from),
            any::<String>().prop_map(Json::String),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
                proptest::collection::btree_map(any::<String>(), inner, 0..5).prop_map(Json::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_file_s_text_reads_back_as_the_same_value(members in proptest::collection::btree_map(any::<String>(), json(), 0..5)) {
            for bytes in [compact(&members), indented(&members)] {
                prop_assert!(bytes.is_ascii());
                prop_assert_eq!(Json::parse(&bytes).unwrap(), Json::Object(members.clone()));
            }
        }

        #[test]
        fn different_values_have_different_canonical_forms(a in json(), b in json()) {
            prop_assert_eq!(a == b, canonical(&a) == canonical(&b));
        }
    }
}
