use sha2::{Digest, Sha256};

use super::listing::{Asset, Release, printable};
use crate::delta::{PatchName, tar_signature_name};
use crate::types::{ArchiveFormat, Product, Sha256Digest, Target};

/// The two files of a release that an upgrade needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The archive.
    pub archive: Asset,
    /// How it is compressed, by its name.
    pub format: ArchiveFormat,
    /// The signature over the archive.
    pub signature: Asset,
}

/// A patch that a release offers, and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedPatch {
    /// What its name says.
    pub name: PatchName,
    /// The patch.
    pub patch: Asset,
    /// Its length in bytes, as the listing says: without one, nobody can tell whether it is worth its while.
    pub length: u64,
    /// The signature over it.
    pub signature: Asset,
}

/// More patches than these of one release are not looked at.
const PATCHES_MAX: usize = 16;

/// Why a release has nothing for this product and target. Other releases are not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    /// No archive under the exact name.
    #[error("the release has no {stem}.tar.zst or {stem}.tar.gz; it was not built for this target")]
    NoArchive {
        /// What the name must start with.
        stem: String,
    },
    /// More than one archive that would do.
    #[error("the release has {}, and nothing says which one is meant; publish exactly one", names.join(" and "))]
    Ambiguous {
        /// Their names.
        names: Vec<String>,
    },
    /// Two assets of the same name.
    #[error("the release has two assets named {name}, and nothing says which one is meant; publish exactly one")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// An archive without its signature.
    #[error("the release has {archive}, but not its signature {archive}.sig; publish them together")]
    NoSignature {
        /// The archive's name.
        archive: String,
    },
    /// Only a name that differs in case, in a path before it, or in characters that do not show.
    #[error("the release has \"{found}\" where {wanted} is needed; names must agree exactly")]
    BadName {
        /// The exact name.
        wanted: String,
        /// The name found, made safe to print.
        found: String,
    },
}

impl Chosen {
    /// Stands for both files as the listing describes them: other files give another one. What an
    /// address asks for behind its `?` may change with each listing, and is left out.
    #[must_use]
    pub fn fingerprint(&self) -> Sha256Digest {
        let mut state = Sha256::new();
        for asset in [&self.archive, &self.signature] {
            let Asset { name, size, digest, address, api_address, described: _ } = asset;
            let plain = |address: &String| address.split(['?', '#']).next().unwrap_or_default().to_owned();
            let described = (name, size, digest, plain(address), api_address.as_ref().map(plain));
            // As JSON, so that no two descriptions run into each other.
            state.update(serde_json::to_vec(&described).expect("text and numbers have a JSON form"));
        }
        Sha256Digest::from_bytes(state.finalize().into())
    }
}

impl Release {
    /// Finds the archive for exactly this product and target, and its signature: one of each, or an
    /// error. Nothing is guessed: `gnu` never stands for `musl`, nor `.TAR.GZ` for `.tar.gz`.
    pub fn choose(&self, product: &Product, target: &Target) -> Result<Chosen, AssetError> {
        let stem = format!("{product}-{target}");
        let mut found = Vec::new();
        for format in ArchiveFormat::ALL {
            let name = format!("{stem}{}", format.suffix());
            if let Some(archive) = self.one(&name)? {
                found.push((archive, format));
            }
        }
        let (archive, format) = match found.as_slice() {
            [one] => *one,
            [] => return Err(self.nothing_named(&stem)),
            several => {
                let names = several.iter().map(|(archive, _)| archive.name.clone()).collect();
                return Err(AssetError::Ambiguous { names });
            }
        };
        let signature_name = format!("{}.sig", archive.name);
        let Some(signature) = self.one(&signature_name)? else {
            let missing = || AssetError::NoSignature { archive: archive.name.clone() };
            return Err(self.misnamed(&signature_name).unwrap_or_else(missing));
        };
        Ok(Chosen { archive: archive.clone(), format, signature: signature.clone() })
    }

    /// The patches that make the tar of this release, for exactly this product and target: each with its
    /// signature and its length, and one of each. What is not so is left out: there is the archive.
    #[must_use]
    pub fn patches(&self, product: &Product, target: &Target) -> Vec<OfferedPatch> {
        let offered = |asset: &Asset| {
            let name = PatchName::parse(&asset.name, product, target)?;
            let patch = self.one(&asset.name).ok()??.clone();
            let signature = self.one(&name.signature()).ok()??.clone();
            Some(OfferedPatch { name, length: patch.size()?, patch, signature })
        };
        self.assets.iter().filter_map(offered).take(PATCHES_MAX).collect()
    }

    /// The signature over the uncompressed tar.
    #[must_use]
    pub fn tar_signature(&self, product: &Product, target: &Target) -> Option<&Asset> {
        self.one(&tar_signature_name(product, target)).ok()?
    }

    fn one(&self, name: &str) -> Result<Option<&Asset>, AssetError> {
        let mut named = self.assets.iter().filter(|asset| asset.name == name);
        match (named.next(), named.next()) {
            (one, None) => Ok(one),
            (_, Some(_)) => Err(AssetError::DuplicateName { name: name.to_owned() }),
        }
    }

    fn nothing_named(&self, stem: &str) -> AssetError {
        ArchiveFormat::ALL
            .into_iter()
            .find_map(|format| self.misnamed(&format!("{stem}{}", format.suffix())))
            .unwrap_or_else(|| AssetError::NoArchive { stem: stem.to_owned() })
    }

    /// Names what the publisher probably meant, for people only.
    fn misnamed(&self, wanted: &str) -> Option<AssetError> {
        let close = |name: &str| {
            let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
            let seen: String = last.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
            seen.eq_ignore_ascii_case(wanted)
        };
        let asset = self.assets.iter().find(|asset| close(&asset.name))?;
        Some(AssetError::BadName { wanted: wanted.to_owned(), found: printable(&asset.name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ReleaseTerms;
    use proptest::prelude::*;

    const STEM: &str = "exuvia-x86_64-unknown-linux-gnu";

    fn release(names: &[&str]) -> Release {
        let assets = names
            .iter()
            .map(|name| (*name).to_owned())
            .map(|name| Asset {
                address: name.clone(),
                name,
                size: None,
                digest: None,
                api_address: None,
                described: None,
            })
            .collect();
        Release {
            version: "1.0.0".parse().unwrap(),
            prerelease: false,
            notes_url: None,
            published_at: None,
            assets,
            terms: ReleaseTerms::default(),
        }
    }

    fn choose(names: &[&str]) -> Result<Chosen, AssetError> {
        release(names).choose(&"exuvia".parse().unwrap(), &"x86_64-unknown-linux-gnu".parse().unwrap())
    }

    #[test]
    fn the_exact_triple_is_chosen_among_many() {
        let names: Vec<String> = ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-gnu"]
            .iter()
            .flat_map(|target| ["", ".sig"].map(|end| format!("exuvia-{target}.tar.zst{end}")))
            .chain(["SHA256SUMS".to_owned(), format!("{STEM}.tar.sig")])
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let chosen = choose(&names).unwrap();
        assert_eq!(chosen.archive.name(), format!("{STEM}.tar.zst"));
        assert_eq!(chosen.signature.name(), format!("{STEM}.tar.zst.sig"));
        assert_eq!(chosen.format, ArchiveFormat::TarZst);
    }

    proptest! {
        #[test]
        fn what_is_chosen_has_exactly_the_right_names(names in prop::collection::vec("(exuvia|EXUVIA|a/exuvia)-x86(_64)?-unknown-linux-(gnu|musl)[.]tar[.](gz|zst)([.]sig)?", 0..12)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let count = |wanted: &str| names.iter().filter(|name| **name == wanted).count();
            match choose(&names) {
                Ok(chosen) => {
                    let archive = format!("{STEM}{}", chosen.format.suffix());
                    prop_assert_eq!(chosen.archive.name(), archive.as_str());
                    prop_assert_eq!(chosen.signature.name(), format!("{archive}.sig"));
                    prop_assert_eq!(count(&archive), 1);
                    prop_assert_eq!(count(&format!("{STEM}.tar.gz")) + count(&format!("{STEM}.tar.zst")), 1);
                }
                Err(AssetError::NoArchive { .. }) => {
                    prop_assert_eq!(count(&format!("{STEM}.tar.gz")) + count(&format!("{STEM}.tar.zst")), 0);
                }
                Err(_) => {}
            }
        }
    }
}
