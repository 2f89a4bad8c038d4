use std::collections::BTreeMap;

use serde::Deserialize;

use super::unrecovered::Unrecovered;
use crate::types::Sha256Digest;

/// What stands beside an object: names and texts. Whoever may write there chose them.
#[derive(Debug, Default)]
pub(super) struct Metadata(BTreeMap<String, String>);

/// What an object must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) length: u64,
    pub(super) digest: Sha256Digest,
    /// The digest of the reference, where a delta is kept; none: the file itself is.
    pub(super) reference: Option<Sha256Digest>,
}

const DELTA: &str = ".delta";
/// What every folder of deltas begins with.
pub(super) const REFERENCE: &str = "reference.bin";

/// The name of the file that an object keeps.
pub(super) fn original(name: &str) -> &str {
    name.strip_suffix(DELTA).unwrap_or(name)
}

#[derive(Deserialize)]
struct Sidecar {
    #[serde(rename = "Metadata")]
    metadata: BTreeMap<String, String>,
}

impl Metadata {
    /// The user metadata of an object in a bucket, without the prefix of their headers.
    pub(super) fn new(texts: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(texts.into_iter().map(|(name, text)| (name.to_ascii_lowercase(), text)).collect())
    }

    /// What a copy of a bucket keeps beside the object.
    pub(super) fn of_sidecar(bytes: &[u8]) -> Result<Self, Unrecovered> {
        let sidecar: Sidecar = serde_json::from_slice(bytes).map_err(|_| Unrecovered::Sidecar)?;
        Ok(Self::new(sidecar.metadata))
    }

    /// A member by its name, or by the one with `_` that some stores make of it: the first that is not empty.
    fn find(&self, name: &str) -> Option<&str> {
        let other = name.replace('-', "_");
        [name, &other]
            .into_iter()
            .filter_map(|name| self.0.get(name))
            .map(|text| text.trim())
            .find(|text| !text.is_empty())
    }

    fn needed(&self, name: &'static str) -> Result<&str, Unrecovered> {
        self.find(name).ok_or(Unrecovered::Missing(name))
    }

    fn digest(&self, name: &'static str) -> Result<Sha256Digest, Unrecovered> {
        self.needed(name)?.parse().map_err(|_| Unrecovered::Malformed(name))
    }

    /// What they say of the object `name`.
    pub(super) fn describe(&self, name: &str) -> Result<Described, Unrecovered> {
        if !self.0.keys().any(|name| name.starts_with("dg-") || name.starts_with("dg_")) {
            return Err(Unrecovered::NoMetadata);
        }
        if let Some(other) = self.find("dg-original-name").filter(|stated| *stated != original(name)) {
            return Err(Unrecovered::OtherName(other.chars().take(200).collect::<String>().escape_debug().to_string()));
        }
        let size = self.needed("dg-file-size")?;
        let plain = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
        let length = size.parse().ok().filter(|_| plain).ok_or(Unrecovered::Malformed("dg-file-size"))?;
        let digest = self.digest("dg-file-sha256")?;
        let reference = match self.find("dg-compression") {
            None if name.ends_with(DELTA) => {
                // A whole key of the bucket: that it is the folder's own reference is what its digest shows.
                if self.needed("dg-ref-key")?.rsplit('/').next() != Some(REFERENCE) {
                    return Err(Unrecovered::Malformed("dg-ref-key"));
                }
                Some(self.digest("dg-ref-sha256")?)
            }
            None | Some("none") => None,
            Some(_) => return Err(Unrecovered::Malformed("dg-compression")),
        };
        Ok(Described { length, digest, reference })
    }
}
