use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::types::Sha256Digest;

/// The file's name in a version's folder.
pub(super) const SUMS: &str = "SHA256SUMS";

/// The content of a `SHA256SUMS` file, as `sha256sum --check` reads it: the archives of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums(BTreeMap<String, Sha256Digest>);

/// A line, counted from 1, that is not `<digest>  <file name>`, or repeats a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not a SHA-256 digest, two spaces and the name of a file that no line before names")]
pub struct SumsError(pub usize);

impl Sums {
    pub(super) fn parse(text: &str) -> Result<Self, SumsError> {
        let mut sums = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let wrong = SumsError(index + 1);
            let (digest, name) = line.split_once("  ").ok_or(wrong)?;
            let digest = digest.parse().map_err(|_| wrong)?;
            let plain = !name.is_empty() && !name.contains('/') && name.trim() == name;
            if !plain || sums.insert(name.to_owned(), digest).is_some() {
                return Err(wrong);
            }
        }
        Ok(Self(sums))
    }

    pub(super) fn set(&mut self, name: String, digest: Sha256Digest) {
        self.0.insert(name, digest);
    }

    pub(super) fn find(&self, name: &str) -> Option<Sha256Digest> {
        self.0.get(name).copied()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, digest) in &self.0 {
            writeln!(text, "{digest}  {name}").expect("writing to a String cannot fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_survive_their_text_sorted_by_name() {
        let mut sums = Sums::default();
        for (name, byte) in [("b.tar.zst", 1), ("a.tar.zst", 2)] {
            sums.set(name.to_owned(), Sha256Digest::from_bytes([byte; 32]));
        }
        let text = sums.to_text();
        assert!(text.starts_with(&format!("{}  a.tar.zst\n", "02".repeat(32))));
        assert_eq!(Sums::parse(&text), Ok(sums));
    }

    #[test]
    fn lines_of_another_form_are_refused() {
        let digest = "0".repeat(64);
        for line in ["", "x", &digest, &format!("{digest} a"), &format!("{digest}  ../a"), &format!("{digest}  ")] {
            assert_eq!(Sums::parse(&format!("{line}\n")), Err(SumsError(1)), "{line:?}");
        }
        let twice = format!("{digest}  a\n{digest}  a\n");
        assert_eq!(Sums::parse(&twice), Err(SumsError(2)));
    }
}
