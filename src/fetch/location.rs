use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use super::reach::shown;

/// Where releases are published: the address of a `releases.json`, or a folder that holds one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Location {
    /// The address of the listing.
    Web(Url),
    /// The folder with the listing and everything that it names.
    Folder(PathBuf),
}

/// Why a text is not a [`Location`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing at all.
    #[error("is empty; give the address of a releases.json, or a folder that holds one")]
    Empty,
    /// Looks like an address, but is not one.
    #[error("is not a valid address")]
    Address,
    /// An address that is neither http nor https.
    #[error("is neither an http or https address nor a folder; for a folder give its plain path, without file:")]
    Scheme,
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http" | "https") => {
                let mut url: Url = text.parse().map_err(|_| LocationError::Address)?;
                url.set_fragment(None);
                Ok(Self::Web(url))
            }
            Some(_) => Err(LocationError::Scheme),
            None if text.starts_with("file:") => Err(LocationError::Scheme),
            // An address that lost its slashes, and no folder of that name.
            None if text.starts_with("http:") || text.starts_with("https:") => Err(LocationError::Address),
            None => Ok(Self::Folder(PathBuf::from(text))),
        }
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, LocationError> {
        text.parse()
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        match location {
            Location::Web(url) => url.into(),
            Location::Folder(path) => path.to_string_lossy().into_owned(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web(url) => f.write_str(&shown(url)),
            Self::Folder(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_an_address_or_a_folder() {
        assert!(matches!("https://example.org/releases.json".parse(), Ok(Location::Web(_))));
        assert!(matches!("HTTP://127.0.0.1/releases.json".parse(), Ok(Location::Web(_))));
        assert!(matches!("/srv/releases".parse(), Ok(Location::Folder(_))));
        assert_eq!("".parse::<Location>(), Err(LocationError::Empty));
        assert_eq!("https://".parse::<Location>(), Err(LocationError::Address));
        for bad in ["file:///srv/releases", "file:/srv/releases", "ftp://example.org/", "s3://bucket/"] {
            assert_eq!(bad.parse::<Location>(), Err(LocationError::Scheme), "{bad}");
        }
        let secret: Location = "https://user:word@example.org/r.json?token=word".parse().unwrap();
        assert_eq!(secret.to_string(), "https://example.org/r.json");
    }
}
