//! The names that a repository gives its files. Whatever is called otherwise is not the repository's own.

use crate::publish::repo::place::{METADATA, SCRATCH, STAGED, TARGETS};
use crate::tuf::ReleaseDescription;
use crate::tuf::metadata::{RoleType, RoleVersion};
use crate::types::{ArchiveFormat, Product, ReleaseId};

/// What a file of a repository is, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An edition of a role's file, under a name that carries its version.
    Edition(RoleType, RoleVersion),
    /// The timestamp, which has one name for all its editions.
    Timestamp,
    /// An archive. That its name is there says that its version is taken.
    Archive,
    /// A signature of an archive.
    Signature,
    /// A draft.
    Draft,
    /// What a check of the place wrote.
    Scratch,
    /// None of these.
    Foreign,
}

impl Kind {
    pub(super) fn of(path: &str, product: &Product) -> Self {
        let below = |folder: &str| path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        let known = if let Some(name) = below(METADATA) {
            edition(name)
        } else if let Some(name) = below(TARGETS) {
            asset(name, product)
        } else if let Some(name) = below(STAGED) {
            RoleType::ALL.into_iter().any(|kind| name == format!("{kind}.json")).then_some(Self::Draft)
        } else {
            below(SCRATCH).map(|_| Self::Scratch)
        };
        known.unwrap_or(Self::Foreign)
    }
}

fn edition(name: &str) -> Option<Kind> {
    let stem = name.strip_suffix(".json")?;
    if stem == RoleType::Timestamp.as_str() {
        return Some(Kind::Timestamp);
    }
    let (number, role) = stem.split_once('.')?;
    let role = RoleType::ALL.into_iter().find(|kind| *kind != RoleType::Timestamp && kind.as_str() == role)?;
    let version = RoleVersion::new(number.parse().ok()?)?;
    // `01.root.json` is no name of ours.
    (version.to_string() == number).then_some(Kind::Edition(role, version))
}

/// `PRODUCT/VERSION/SHA256.PRODUCT-TARGET.tar.zst`, with or without `.sig`.
fn asset(name: &str, product: &Product) -> Option<Kind> {
    let mut parts = name.split('/');
    let (Some(of), Some(version), Some(file), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let (digest, plain) = file.split_once('.')?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (archive, kind) = match plain.strip_suffix(".sig") {
        Some(archive) => (archive, Kind::Signature),
        None => (plain, Kind::Archive),
    };
    let format = ArchiveFormat::of_name(archive)?;
    let stem = archive.strip_suffix(format.suffix())?;
    let target = stem.strip_prefix(product.as_str())?.strip_prefix('-')?;
    let id = ReleaseId { product: product.clone(), version: version.parse().ok()?, target: target.parse().ok()? };
    let is_ours = is_digest && ReleaseDescription::path(&id, format) == format!("{of}/{version}/{archive}");
    is_ours.then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_repository_s_own_forms_are_known() {
        let product: Product = "exuvia".parse().unwrap();
        let of = |path: &str| Kind::of(path, &product);
        let digest = "ab".repeat(32);
        let version = |number| RoleVersion::new(number).unwrap();
        assert_eq!(of("public/metadata/12.targets.json"), Kind::Edition(RoleType::Targets, version(12)));
        assert_eq!(of("public/metadata/1.root.json"), Kind::Edition(RoleType::Root, version(1)));
        assert_eq!(of("public/metadata/timestamp.json"), Kind::Timestamp);
        assert_eq!(of("staged/targets.json"), Kind::Draft);
        assert_eq!(of("doctor/0123/large"), Kind::Scratch);
        let archive = format!("public/targets/exuvia/1.4.0/{digest}.exuvia-x86_64-unknown-linux-gnu.tar.zst");
        assert_eq!(of(&archive), Kind::Archive);
        assert_eq!(of(&format!("{archive}.sig")), Kind::Signature);
        for strange in [
            "public/metadata/01.targets.json".to_owned(),
            "public/metadata/0.targets.json".to_owned(),
            "public/metadata/+1.targets.json".to_owned(),
            "public/metadata/99999999999999999999.targets.json".to_owned(),
            "public/metadata/1.timestamp.json".to_owned(),
            "public/metadata/1.bins.json".to_owned(),
            "public/metadata/a/1.targets.json".to_owned(),
            "public/metadata/1.targets.json~".to_owned(),
            "public/index.html".to_owned(),
            "staged/notes.txt".to_owned(),
            format!("{archive}.asc"),
            archive.replace("/1.4.0/", "/1.4/"),
            archive.replace("/1.4.0/", "/01.4.0/"),
            archive.replace("/1.4.0/", "/../"),
            archive.replace("/exuvia/", "/other/"),
            archive.replace(".exuvia-", ".other-"),
            archive.replace("abab", "ABAB"),
            archive.replace(&digest, "abab"),
            archive.replace("/1.4.0/", "/1.4.0/deeper/"),
        ] {
            assert_eq!(of(&strange), Kind::Foreign, "{strange}");
        }
    }
}
