use std::fmt;
use std::str::FromStr;

use url::Url;

use super::super::mirror::{Mirror, MirrorError};
use super::super::reach::shown;
use crate::tuf::metadata::TargetFile;

/// Where the files are that the metadata describes: the base of a tree, or a template for places without
/// folders, such as the assets of GitHub releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetsPlace {
    /// The address of a folder: files lie below it under their paths, with their digest before the name
    /// where the repository has it so.
    Base(Mirror),
    /// An address with `{version}` and `{name}` in it.
    Template(String),
}

/// Why a text is not a [`TargetsPlace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetsPlaceError {
    /// Not the address of a folder.
    #[error(transparent)]
    Base(#[from] MirrorError),
    /// A template that makes no addresses.
    #[error("is not an http or https address with {{name}} in it, and with {{version}} where that is needed")]
    Template,
}

impl FromStr for TargetsPlace {
    type Err = TargetsPlaceError;

    fn from_str(text: &str) -> Result<Self, TargetsPlaceError> {
        if !text.contains(['{', '}']) {
            return Ok(Self::Base(text.parse()?));
        }
        let sample = filled(text, "1.0.0", "name").parse::<Mirror>().map_err(|_| TargetsPlaceError::Template)?;
        if !text.contains("{name}") || filled(text, "", "").contains(['{', '}']) || sample.url().host_str().is_none() {
            return Err(TargetsPlaceError::Template);
        }
        Ok(Self::Template(text.to_owned()))
    }
}

impl TargetsPlace {
    /// The folder `targets` beside that of the metadata.
    pub(in crate::fetch) fn beside(metadata: &Mirror) -> Result<Self, MirrorError> {
        let url = metadata.url().join("../targets/").map_err(|_| MirrorError)?;
        Ok(Self::Base(url.as_str().parse()?))
    }

    /// The address of a file; `None` where its path has no place in a template.
    pub(super) fn address(&self, file: &TargetFile, consistent: bool) -> Option<Url> {
        match self {
            Self::Base(base) => {
                let path = if consistent { file.prefixed_path() } else { file.path().to_owned() };
                let mut url = base.url().clone();
                // As a path, never as an address to resolve.
                url.set_path(&format!("{}{path}", base.url().path()));
                Some(url)
            }
            Self::Template(template) => {
                let mut parts = file.path().rsplitn(3, '/');
                let (name, version) = (parts.next()?, parts.next()?);
                filled(template, version, name).parse().ok()
            }
        }
    }

    /// An address whose host is the place's own.
    pub(super) fn own(&self) -> Option<Url> {
        match self {
            Self::Base(base) => Some(base.url().clone()),
            Self::Template(template) => filled(template, "0.0.0", "name").parse().ok(),
        }
    }
}

impl fmt::Display for TargetsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(base) => f.write_str(&shown(base.url())),
            Self::Template(template) => f.write_str(template),
        }
    }
}

fn filled(template: &str, version: &str, name: &str) -> String {
    template.replace("{version}", version).replace("{name}", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> TargetFile {
        TargetFile::of_content(path, &mut &b"abc"[..]).unwrap()
    }

    #[test]
    fn a_tree_has_files_under_their_paths_with_the_digest_before_the_name() {
        let place: TargetsPlace = "https://t.example/all".parse().unwrap();
        let file = file("exuvia/1.0.0/a.tar.zst");
        let digest = file.digests.get("sha256").unwrap().to_owned();
        let address = |consistent| place.address(&file, consistent).unwrap().to_string();
        assert_eq!(address(true), format!("https://t.example/all/exuvia/1.0.0/{digest}.a.tar.zst"));
        assert_eq!(address(false), "https://t.example/all/exuvia/1.0.0/a.tar.zst");
    }

    #[test]
    fn a_template_is_filled_with_the_version_and_the_plain_name() {
        let text = "https://github.com/o/r/releases/download/v{version}/{name}";
        let place: TargetsPlace = text.parse().unwrap();
        let url = place.address(&file("exuvia/1.0.0-rc.1/a.tar.zst.sig"), true).unwrap();
        assert_eq!(url.as_str(), "https://github.com/o/r/releases/download/v1.0.0-rc.1/a.tar.zst.sig");
        assert_eq!(place.address(&file("a.tar.zst"), true), None);
        assert_eq!(place.to_string(), text);
    }

    #[test]
    fn what_makes_no_addresses_is_no_place() {
        for bad in ["", "/srv/targets", "ftp://t.example/", "https://t.example/?x"] {
            assert_eq!(bad.parse::<TargetsPlace>(), Err(TargetsPlaceError::Base(MirrorError)), "{bad}");
        }
        for bad in [
            "https://t.example/{version}",
            "https://t.example/{name}/{digest}",
            "https://t.example/{name}}",
            "ftp://t.example/{name}",
            "https://user@t.example/{name}",
            "{name}",
        ] {
            assert_eq!(bad.parse::<TargetsPlace>(), Err(TargetsPlaceError::Template), "{bad}");
        }
    }
}
