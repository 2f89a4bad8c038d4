use std::fmt;
use std::str::FromStr;

use url::Url;

use super::reach::shown;

/// The base address of a tree that is the same as the one around a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror(Url);

/// Why a text is not a [`Mirror`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the http or https address of a folder that mirrors the listing's, without query and user")]
pub struct MirrorError;

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        let mut url: Url = text.parse().map_err(|_| MirrorError)?;
        let bare =
            url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !bare {
            return Err(MirrorError);
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl Mirror {
    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// Where this mirror has what is at `url`, when that lies in the folder of the listing at `own`.
    pub(super) fn of(&self, own: &Url, url: &Url) -> Option<Url> {
        let (folder, _) = own.path().rsplit_once('/')?;
        let below = url.path().strip_prefix(folder)?.strip_prefix('/')?;
        if url.origin() != own.origin() || below.is_empty() {
            return None;
        }
        let mut there = self.0.clone();
        // As a path, never as an address to resolve: a name may hold a colon.
        there.set_path(&format!("{}{below}", self.0.path()));
        Some(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_mirror_is_the_address_of_a_folder() {
        assert_eq!("https://m.example/tree".parse::<Mirror>().unwrap().to_string(), "https://m.example/tree/");
        for bad in
            ["", "/srv", "ftp://m.example/", "https://m.example/?x=1", "https://u@m.example/", "https://m.example/#x"]
        {
            assert_eq!(bad.parse::<Mirror>(), Err(MirrorError), "{bad:?}");
        }
    }

    #[test]
    fn a_mirror_has_what_lies_below_the_listings_folder_and_nothing_else() {
        let mirror: Mirror = "https://m.example/tree".parse().unwrap();
        let own = url("https://o.example/dl/releases.json");
        let there = |at: &str| mirror.of(&own, &url(at)).map(String::from);
        assert_eq!(there("https://o.example/dl/releases.json").unwrap(), "https://m.example/tree/releases.json");
        assert_eq!(there("https://o.example/dl/1.0.0/a.tar.zst").unwrap(), "https://m.example/tree/1.0.0/a.tar.zst");
        assert_eq!(there("https://o.example/dl/a:b?token=1").unwrap(), "https://m.example/tree/a:b");
        for elsewhere in [
            "https://o.example/other/a",
            "https://o.example/dl2/a",
            "https://o.example/dl/",
            "https://o.example:444/dl/a",
            "http://o.example/dl/a",
            "https://evil.example/dl/a",
            "https://o.example/dl/../a",
        ] {
            assert_eq!(there(elsewhere), None, "{elsewhere}");
        }
    }

    proptest! {
        #[test]
        fn no_address_leaves_the_mirrors_folder(rest in "[a-z./:@%2e\\\\?#]{0,24}") {
            let mirror: Mirror = "https://m.example/tree/".parse().unwrap();
            let own = url("https://o.example/dl/releases.json");
            let found = own.join(&rest).ok().and_then(|url| mirror.of(&own, &url));
            if let Some(there) = found {
                prop_assert!(there.as_str().starts_with("https://m.example/tree/"), "{}", there);
                prop_assert!(!there.path().contains("/../"));
            }
        }
    }
}
