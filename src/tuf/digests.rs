use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use sha2::digest::DynDigest;

use super::fields::{self, FormatError, Problem};
use super::json::Json;

/// The digests of one file, by the name of their algorithm; at least one. Lower-case hexadecimal where
/// they match anything: another spelling is kept, and never matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests(BTreeMap<String, String>);

/// Why a file is not the one that metadata describes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another length.
    #[error("it is {found} bytes long, and the metadata says {stated}")]
    Length {
        /// Length in bytes that the metadata states.
        stated: u64,
        /// Length in bytes of what was found.
        found: u64,
    },
    /// Another content.
    #[error("its {0} digest is not the one in the metadata")]
    Digest(String),
    /// A digest that this build cannot compute, so that nothing is known about it.
    #[error("the metadata lists a {0} digest, which this build cannot compute")]
    Algorithm(String),
}

impl Digests {
    /// Digests that were computed elsewhere. `None` when there are none.
    #[must_use]
    pub fn new(digests: BTreeMap<String, String>) -> Option<Self> {
        (!digests.is_empty()).then_some(Self(digests))
    }

    /// The length and the SHA-256 digest of what `source` holds.
    pub fn sha256_of(source: &mut dyn Read) -> io::Result<(u64, Self)> {
        let (length, digests) = Self::of(source, &["sha256"])?;
        Ok((length, digests.expect("every build computes SHA-256")))
    }

    /// The length and the digests of what `source` holds; no digests when an algorithm is unknown.
    pub fn of(source: &mut dyn Read, algorithms: &[&str]) -> io::Result<(u64, Option<Self>)> {
        let empty = algorithms.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        let Ok(mut hasher) = Hasher::of(&Self(empty)) else { return Ok((0, None)) };
        let length = io::copy(source, &mut hasher)?;
        Ok((length, Self::new(hasher.finish().collect())))
    }

    /// The digest by that algorithm.
    #[must_use]
    pub fn get(&self, algorithm: &str) -> Option<&str> {
        self.0.get(algorithm).map(String::as_str)
    }

    /// Every algorithm with its digest.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(algorithm, digest)| (algorithm.as_str(), digest.as_str()))
    }

    /// The one that names the file where file names carry a digest: the best known one.
    #[must_use]
    pub fn preferred(&self) -> &str {
        let known = ["sha256", "sha512"].into_iter().find_map(|algorithm| self.get(algorithm));
        known.or(self.0.values().next().map(String::as_str)).unwrap_or_default()
    }

    pub(super) fn read(value: Json) -> Result<Self, FormatError> {
        let digests = fields::members(value, |_, value| fields::string(value))?;
        Self::new(digests).ok_or_else(|| FormatError::new(Problem::NoDigest))
    }

    pub(super) fn write(&self) -> Json {
        fields::written(&self.0, |digest| Json::String(digest.clone()))
    }
}

/// Takes a file in pieces, and says at the end whether it is the described one. All digests that are
/// listed must match.
pub struct Verifier {
    stated: Option<u64>,
    found: u64,
    hasher: Hasher,
    digests: Digests,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verifier({} bytes of {:?})", self.found, self.stated)
    }
}

impl Verifier {
    /// For a file of these digests, and of this length if one is stated.
    pub fn new(length: Option<u64>, digests: &Digests) -> Result<Self, Mismatch> {
        Ok(Self { stated: length, found: 0, hasher: Hasher::of(digests)?, digests: digests.clone() })
    }

    /// Whether everything that was written is the described file.
    pub fn finish(self) -> Result<(), Mismatch> {
        if let Some(stated) = self.stated
            && stated != self.found
        {
            return Err(Mismatch::Length { stated, found: self.found });
        }
        for (algorithm, found) in self.hasher.finish() {
            if self.digests.get(&algorithm) != Some(&found) {
                return Err(Mismatch::Digest(algorithm));
            }
        }
        Ok(())
    }
}

impl Write for Verifier {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.write_all(bytes)?;
        self.found += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether `bytes` have this length and these digests, as far as either is stated.
pub(super) fn verify(bytes: &[u8], length: Option<u64>, digests: Option<&Digests>) -> Result<(), Mismatch> {
    let found = bytes.len() as u64;
    match length {
        Some(stated) if stated != found => return Err(Mismatch::Length { stated, found }),
        _ => {}
    }
    let Some(digests) = digests else { return Ok(()) };
    let mut verifier = Verifier::new(None, digests)?;
    verifier.hasher.update(bytes);
    verifier.finish()
}

struct Hasher(Vec<(String, Box<dyn DynDigest + Send>)>);

impl Hasher {
    fn of(digests: &Digests) -> Result<Self, Mismatch> {
        let each = digests.0.keys().map(|name| match algorithm(name) {
            Some(digest) => Ok((name.clone(), digest)),
            None => Err(Mismatch::Algorithm(name.clone())),
        });
        each.collect::<Result<_, _>>().map(Self)
    }

    fn update(&mut self, bytes: &[u8]) {
        for (_, digest) in &mut self.0 {
            digest.update(bytes);
        }
    }

    fn finish(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter().map(|(name, digest)| (name, hex::encode(digest.finalize())))
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The algorithms by the names that Python's hashlib gives them, which is what repositories write. MD5
/// and SHA-1 are unknown on purpose.
fn algorithm(name: &str) -> Option<Box<dyn DynDigest + Send>> {
    Some(match name {
        "sha224" => Box::new(sha2::Sha224::default()),
        "sha256" => Box::new(sha2::Sha256::default()),
        "sha384" => Box::new(sha2::Sha384::default()),
        "sha512" => Box::new(sha2::Sha512::default()),
        #[cfg(feature = "tuf-interop")]
        "sha3_224" => Box::new(sha3::Sha3_224::default()),
        #[cfg(feature = "tuf-interop")]
        "sha3_256" => Box::new(sha3::Sha3_256::default()),
        #[cfg(feature = "tuf-interop")]
        "sha3_384" => Box::new(sha3::Sha3_384::default()),
        #[cfg(feature = "tuf-interop")]
        "sha3_512" => Box::new(sha3::Sha3_512::default()),
        #[cfg(feature = "tuf-interop")]
        "blake2s" => Box::new(blake2::Blake2s256::default()),
        #[cfg(feature = "tuf-interop")]
        "blake2b" => Box::new(blake2::Blake2b512::default()),
        #[cfg(feature = "tuf-interop")]
        "blake2b-256" => Box::new(blake2::Blake2b256::default()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(list: &[(&str, &str)]) -> Digests {
        let list = list.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned()));
        Digests::new(list.collect()).unwrap()
    }

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn t38_every_listed_digest_must_match_and_an_unknown_one_matches_nothing() {
        let (length, both) = Digests::of(&mut &b"abc"[..], &["sha256", "sha512"]).unwrap();
        let both = both.unwrap();
        assert_eq!((length, both.get("sha256")), (3, Some(ABC)));
        assert_eq!(verify(b"abc", Some(3), Some(&both)), Ok(()));
        let one_wrong = digests(&[("sha256", ABC), ("sha512", &"0".repeat(128))]);
        assert_eq!(verify(b"abc", None, Some(&one_wrong)), Err(Mismatch::Digest("sha512".into())));
        let one_unknown = digests(&[("md5", "900150983cd24fb0d6963f7d28e17f72"), ("sha256", ABC)]);
        assert_eq!(verify(b"abc", None, Some(&one_unknown)), Err(Mismatch::Algorithm("md5".into())));
        let upper = digests(&[("sha256", &ABC.to_uppercase())]);
        assert_eq!(verify(b"abc", None, Some(&upper)), Err(Mismatch::Digest("sha256".into())));
        assert_eq!(verify(b"abc", Some(4), Some(&both)), Err(Mismatch::Length { stated: 4, found: 3 }));
        assert_eq!(Digests::new(BTreeMap::new()), None);
    }

    #[test]
    fn a_file_in_pieces_is_judged_as_a_whole() {
        let digests = digests(&[("sha256", ABC)]);
        let mut verifier = Verifier::new(Some(3), &digests).unwrap();
        for piece in [&b"a"[..], b"", b"bc"] {
            verifier.write_all(piece).unwrap();
        }
        assert_eq!(verifier.finish(), Ok(()));
        assert_eq!(Verifier::new(Some(3), &digests).unwrap().finish(), Err(Mismatch::Length { stated: 3, found: 0 }));
    }

    #[cfg(feature = "tuf-interop")]
    #[test]
    fn digests_of_other_repositories_are_what_hashlib_computes() {
        let known = [
            ("blake2b-256", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"),
            ("blake2s", "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"),
            ("sha3_256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
        ];
        assert_eq!(verify(b"abc", None, Some(&digests(&known))), Ok(()));
    }
}
