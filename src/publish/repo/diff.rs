//! What is about to be signed, against what is published: every member that differs, whatever it is.

use std::collections::BTreeMap;
use std::fmt;

use crate::crypto::{PublicKey, ReleaseMetadata};
use crate::tuf::metadata::{Metadata, Signed, WriteError};
use crate::tuf::{Json, JsonError};

/// One member that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Where it stands.
    pub at: String,
    /// What is published there.
    pub before: Option<String>,
    /// What would be published.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "~ {}: {before} -> {after}", self.at),
            (None, Some(after)) => write!(f, "+ {}: {after}", self.at),
            (Some(before), None) => write!(f, "- {}: {before}", self.at),
            (None, None) => write!(f, "  {}", self.at),
        }
    }
}

/// The signed part of a file as a value.
pub(super) fn signed_part<T: Signed>(metadata: &Metadata<T>) -> Result<Json, WriteError> {
    let bytes = metadata.to_bytes()?;
    let Ok(Json::Object(mut file)) = Json::parse(&bytes) as Result<Json, JsonError> else {
        return Err(WriteError::Changes);
    };
    Ok(file.remove("signed").unwrap_or(Json::Null))
}

/// Every leaf that is not the same in both.
pub(super) fn changes(before: Option<&Json>, after: &Json) -> Vec<Change> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    if let Some(before) = before {
        leaves(before, "", &mut old);
    }
    leaves(after, "", &mut new);
    let mut changes = Vec::new();
    for (at, after) in &new {
        match old.remove(at) {
            Some(before) if before == *after => {}
            before => changes.push(Change { at: at.clone(), before, after: Some(after.clone()) }),
        }
    }
    changes.extend(old.into_iter().map(|(at, before)| Change { at, before: Some(before), after: None }));
    changes.sort();
    changes
}

fn leaves(value: &Json, at: &str, into: &mut BTreeMap<String, String>) {
    match value {
        Json::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                leaves(value, &below(at, name), into);
            }
        }
        Json::Array(items) if items.iter().any(|item| matches!(item, Json::Object(_) | Json::Array(_))) => {
            for (number, item) in items.iter().enumerate() {
                leaves(item, &format!("{at}[{number}]"), into);
            }
        }
        leaf => drop(into.insert(at.to_owned(), shown(leaf))),
    }
}

/// A name that could be taken for something else is quoted.
fn below(at: &str, name: &str) -> String {
    let is_plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    match (is_plain, at.is_empty()) {
        (true, true) => name.to_owned(),
        (true, false) => format!("{at}.{name}"),
        (false, _) => format!("{at}[{}]", quoted(name)),
    }
}

fn shown(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Integer(number) => number.as_str().to_owned(),
        // By what it is, and not by what the file calls it.
        Json::String(text) => match PublicKey::<ReleaseMetadata>::from_pem(text) {
            Ok(key) if key.to_pem() == *text => format!("the ML-DSA-65 key {}", key.id()),
            _ => quoted(text),
        },
        Json::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Json::Object(_) => "{}".to_owned(),
    }
}

/// In ASCII, so that nothing can be written to look like something else.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(before: &str, after: &str) -> Vec<String> {
        let read = |text: &str| Json::parse(text.as_bytes()).unwrap();
        changes(Some(&read(before)), &read(after)).iter().map(Change::to_string).collect()
    }

    #[test]
    fn every_difference_is_a_line_and_nothing_else_is() {
        let before = r#"{"a":1,"b":{"c":["x","y"],"d":{}},"gone":null,"l":[{"n":1}]}"#;
        let after = r#"{"a":1,"b":{"c":["y","x"],"d":{"e.f":true}},"l":[{"n":2}],"new":"\u202e\n\""}"#;
        let expected = [
            "- b.d: {}",
            r#"+ b.d["e.f"]: true"#,
            r#"~ b.c: ["x", "y"] -> ["y", "x"]"#,
            "- gone: null",
            "~ l[0].n: 1 -> 2",
            r#"+ new: "\u{202e}\n\"""#,
        ];
        let mut expected = expected.map(str::to_owned);
        let mut found = of(before, after);
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(of(before, before), Vec::<String>::new());
    }

    #[test]
    fn names_with_dots_are_not_taken_for_levels() {
        assert_ne!(of("{}", r#"{"a.b":1}"#), of("{}", r#"{"a":{"b":1}}"#));
    }

    #[test]
    fn a_key_is_shown_by_what_it_is() {
        let key = crate::crypto::SecretKey::<ReleaseMetadata>::from_seed(&[1; 32]);
        let pem = serde_json::to_string(&key.public().to_pem()).unwrap();
        let lines = of(r#"{"v":1}"#, &format!(r#"{{"v":1,"k":{pem}}}"#));
        assert_eq!(lines, [format!("+ k: the ML-DSA-65 key {}", key.public().id())]);
    }
}
