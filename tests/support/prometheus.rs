//! A strict reader of Prometheus' text format 0.0.4: what its own checker complains about, too.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// A metric with its samples.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) samples: BTreeMap<Labels, f64>,
}

/// The families of a page by name; `Err`: the first line that is wrong, and why.
pub(crate) fn parse(page: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families = BTreeMap::<String, Family>::new();
    let mut helped = BTreeSet::new();
    let mut open = String::new();
    if !page.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    for line in page.strip_suffix('\n').unwrap_or_default().split('\n') {
        let wrong = |why: &str| Err(format!("{why}: {line:?}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else { return wrong("no help") };
            if !is_name(name) || help.trim().is_empty() || help.replace("\\\\", "").replace("\\n", "").contains('\\') {
                return wrong("help");
            }
            if !helped.insert(name.to_owned()) {
                return wrong("a second help");
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { return wrong("no type") };
            if !helped.contains(name) {
                return wrong("a type before its help");
            }
            if !["counter", "gauge"].contains(&kind) || (kind == "counter") != name.ends_with("_total") {
                return wrong("a type that does not fit its name");
            }
            name.clone_into(&mut open);
            let family = Family { kind: kind.to_owned(), samples: BTreeMap::new() };
            if families.insert(open.clone(), family).is_some() {
                return wrong("a second type");
            }
        } else {
            let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap_or(line.len()));
            if name != open || !is_name(name) {
                return wrong("a sample outside its family");
            }
            let Some((labels, value)) = labels(rest) else { return wrong("labels") };
            let number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
            let value = match value.strip_prefix(' ').map(|text| (text, text.parse::<f64>())) {
                Some((text, Ok(value))) if text.chars().all(number) && value.is_finite() => value,
                _ => return wrong("a value that is no number"),
            };
            let family = families.get_mut(name).expect("it was opened");
            if family.kind == "counter" && value < 0.0 {
                return wrong("a counter below nothing");
            }
            let one_set = |other: &Labels| other.keys().eq(labels.keys());
            if !family.samples.keys().all(one_set) {
                return wrong("other label names than before");
            }
            if family.samples.insert(labels, value).is_some() {
                return wrong("a second sample with these labels");
            }
        }
    }
    Ok(families)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `{a="b",c="d"}`, or nothing; and what follows.
fn labels(text: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Some((labels, text)) };
    loop {
        let (name, behind) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = behind.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    c @ ('"' | '\\') => c,
                    _ => return None,
                }),
                (_, c) => value.push(c),
            }
        };
        if !is_name(name) || value.is_empty() || labels.insert(name.to_owned(), value).is_some() {
            return None;
        }
        rest = &behind[end + 1..];
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        rest = rest.strip_prefix(',')?;
    }
}
