//! As much of YAML as our own files use, and not a bit more: whatever it does not know, it refuses.

use serde_json::{Map, Value};

struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

struct Reader<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
}

/// The document as JSON. Every scalar is a string.
pub(crate) fn parse(text: &str) -> Value {
    let lines = text.lines().enumerate().map(|(number, line)| {
        assert!(!line.contains('\t') && line.trim_end() == line, "line {}: white space", number + 1);
        Line { number: number + 1, indent: line.len() - line.trim_start().len(), text: line.trim_start() }
    });
    let mut reader = Reader { lines: lines.collect(), at: 0 };
    let value = reader.block(0);
    assert!(reader.peek().is_none(), "line {}: out of place", reader.lines[reader.at].number);
    value
}

impl<'a> Reader<'a> {
    /// The next line that says something: its indentation, text and number.
    fn peek(&mut self) -> Option<(usize, &'a str, usize)> {
        while let Some(line) = self.lines.get(self.at) {
            if !line.text.is_empty() && !line.text.starts_with('#') {
                return Some((line.indent, line.text, line.number));
            }
            self.at += 1;
        }
        None
    }

    fn block(&mut self, indent: usize) -> Value {
        let Some((found, text, number)) = self.peek() else { return Value::Null };
        if found < indent {
            return Value::Null;
        }
        assert_eq!(found, indent, "line {number}: indentation");
        if text.starts_with("- ") { self.list(indent) } else { Value::Object(self.map(indent)) }
    }

    fn list(&mut self, indent: usize) -> Value {
        let mut items = Vec::new();
        while let Some((found, text, number)) = self.peek() {
            if found != indent || !text.starts_with("- ") {
                assert!(found < indent, "line {number}: indentation");
                break;
            }
            if key_of(&text[2..]).is_some() {
                // The item is a map whose first key stands behind the dash.
                let line = &mut self.lines[self.at];
                (line.indent, line.text) = (indent + 2, &text[2..]);
                items.push(Value::Object(self.map(indent + 2)));
            } else {
                self.at += 1;
                items.push(scalar(&text[2..], number));
            }
        }
        Value::Array(items)
    }

    fn map(&mut self, indent: usize) -> Map<String, Value> {
        let mut map = Map::new();
        while let Some((found, text, number)) = self.peek() {
            if found != indent || text.starts_with("- ") {
                assert!(found <= indent, "line {number}: indentation");
                break;
            }
            let (key, rest) = key_of(text).unwrap_or_else(|| panic!("line {number}: no key in {text:?}"));
            self.at += 1;
            let value = match rest {
                "" => match self.peek() {
                    Some((inner, _, _)) if inner > indent => self.block(inner),
                    _ => Value::Null,
                },
                "|" => Value::String(self.literal(indent)),
                rest => scalar(rest, number),
            };
            assert!(map.insert(key.to_owned(), value).is_none(), "line {number}: {key:?} stands there twice");
        }
        map
    }

    /// The lines of a `|` block, joined by line feeds.
    fn literal(&mut self, indent: usize) -> String {
        let mut text = String::new();
        let mut margin = None;
        while let Some(line) = self.lines.get(self.at) {
            if !line.text.is_empty() {
                if line.indent <= indent {
                    break;
                }
                let margin = *margin.get_or_insert(line.indent);
                text.push_str(
                    &" ".repeat(line.indent.checked_sub(margin).expect("no line further left than the first")),
                );
                text.push_str(line.text);
            }
            text.push('\n');
            self.at += 1;
        }
        text
    }
}

fn key_of(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c))?;
    let rest = text[end..].strip_prefix(':').filter(|_| end > 0)?;
    if rest.is_empty() { Some((&text[..end], "")) } else { Some((&text[..end], rest.strip_prefix(' ')?)) }
}

fn scalar(text: &str, number: usize) -> Value {
    if let Some(rest) = text.strip_prefix('"') {
        let inner = rest.strip_suffix('"').unwrap_or_else(|| panic!("line {number}: a quote stays open"));
        assert!(!inner.contains(['"', '\\']), "line {number}: escapes are not read");
        return Value::String(inner.to_owned());
    }
    let text = text.split(" #").next().unwrap().trim_end();
    if text == "{}" {
        return Value::Object(Map::new());
    }
    if let Some(items) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return items.split(',').map(|item| scalar(item.trim(), number)).collect();
    }
    assert!(
        !text.starts_with(['&', '*', '!', '>', '|', '\'', '%', '@', '`', '{', '[']),
        "line {number}: {text:?} is not read"
    );
    Value::String(text.to_owned())
}

#[test]
fn the_reader_reads_what_our_files_use_and_refuses_the_rest() {
    let read = parse("a:\n  - b: 1 # one\n    c: [x, y]\n  - d\ne: |\n  f\n    g: #\n\nh: {}\n");
    let expected = r#"{"a":[{"b":"1","c":["x","y"]},"d"],"e":"f\n  g: #\n\n","h":{}}"#;
    assert_eq!(read, serde_json::from_str::<Value>(expected).unwrap());
    for wrong in ["a: &x b", "a: 1\na: 2", "a:\n   b: 1\n  c: 2", "a: >\n  b", "a: 'b'", "a", "a:\tb"] {
        assert!(std::panic::catch_unwind(|| parse(wrong)).is_err(), "{wrong:?} was read");
    }
}
