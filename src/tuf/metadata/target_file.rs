use std::io::{self, Read};

use crate::tuf::digests::{Digests, Mismatch, Verifier};
use crate::tuf::fields::{self, Fields, FormatError};
use crate::tuf::json::{Json, Object};

/// What targets metadata says about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetFile {
    path: String,
    /// Its exact length in bytes.
    pub length: u64,
    /// Its digests.
    pub digests: Digests,
    /// Members that nobody here knows, `custom` among them.
    pub unrecognized: Object,
}

impl TargetFile {
    /// The file that is known as `path` in the repository: with its length and SHA-256 digest.
    pub fn of_content(path: impl Into<String>, content: &mut dyn Read) -> io::Result<Self> {
        let (length, digests) = Digests::sha256_of(content)?;
        Ok(Self { path: path.into(), length, digests, unrecognized: Object::new() })
    }

    /// Its path in the repository: a relative address, never a path on this host.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What the publisher says about the file beyond the specification.
    #[must_use]
    pub fn custom(&self) -> Option<&Json> {
        self.unrecognized.get("custom")
    }

    /// Takes the file in pieces and says whether it is this one.
    pub fn verifier(&self) -> Result<Verifier, Mismatch> {
        Verifier::new(Some(self.length), &self.digests)
    }

    /// Whether `content` is this file. Reads one byte more than it may have, at most.
    pub fn verify(&self, content: &mut dyn Read) -> io::Result<Result<(), Mismatch>> {
        let mut verifier = match self.verifier() {
            Ok(verifier) => verifier,
            Err(mismatch) => return Ok(Err(mismatch)),
        };
        io::copy(&mut content.take(self.length.saturating_add(1)), &mut verifier)?;
        Ok(verifier.finish())
    }

    /// Its addresses where file names carry digests, one for each digest: `dir/DIGEST.name`.
    pub fn prefixed_paths(&self) -> impl Iterator<Item = String> {
        self.digests.iter().map(|(_, digest)| self.prefixed_by(digest))
    }

    /// The one of [`Self::prefixed_paths`] that is asked for.
    #[must_use]
    pub fn prefixed_path(&self) -> String {
        self.prefixed_by(self.digests.preferred())
    }

    fn prefixed_by(&self, digest: &str) -> String {
        match self.path.rsplit_once('/') {
            Some((folder, name)) => format!("{folder}/{digest}.{name}"),
            None => format!("{digest}.{}", self.path),
        }
    }

    pub(super) fn read(path: &str, value: Json) -> Result<Self, FormatError> {
        let mut fields = Fields::of(value)?;
        let length = fields.read("length", fields::length)?;
        let digests = fields.read("hashes", Digests::read)?;
        Ok(Self { path: path.to_owned(), length, digests, unrecognized: fields.rest() })
    }

    pub(super) fn write(&self) -> Json {
        let mut object = self.unrecognized.clone();
        object.insert("length".to_owned(), Json::from(self.length));
        object.insert("hashes".to_owned(), self.digests.write());
        Json::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t40_the_digest_goes_before_the_file_s_name_and_not_before_its_folder() {
        for (path, prefixed) in [("a/b/name.tar", "a/b/DIGEST.name.tar"), ("name", "DIGEST.name"), ("/x", "/DIGEST.x")]
        {
            let mut file = TargetFile::of_content(path, &mut &b"abc"[..]).unwrap();
            let digest = file.digests.get("sha256").unwrap().to_owned();
            assert_eq!(file.prefixed_path().replace(&digest, "DIGEST"), prefixed);
            let both = [("sha256".to_owned(), digest), ("blake2b-256".to_owned(), "b".to_owned())];
            file.digests = Digests::new(both.into()).unwrap();
            assert_eq!(file.prefixed_path(), file.prefixed_paths().last().unwrap(), "SHA-256 is preferred");
            assert_eq!(file.prefixed_paths().count(), 2);
        }
    }
}
