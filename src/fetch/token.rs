use std::ffi::OsString;
use std::fmt;

use reqwest::header::HeaderValue;
use url::Url;

use super::reach::is_loopback;

/// A secret that opens an API. It is shown by nothing, and leaves for one origin only.
#[derive(Clone)]
pub struct Token {
    bearer: HeaderValue,
}

/// Why a text is not a [`Token`]. Says nothing about the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("holds characters that no token has; it must be one word of printable ASCII, without quotes or spaces")]
pub struct TokenError;

impl Token {
    /// The variables that are looked at, in this order.
    pub const VARIABLES: [&str; 2] = ["GH_TOKEN", "GITHUB_TOKEN"];

    /// Takes a token; white space around it, as editors and shells leave it, does not count.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() || text.len() > 1024 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError);
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| TokenError)?;
        // Also keeps it out of the compression tables of HTTP/2.
        bearer.set_sensitive(true);
        Ok(Self { bearer })
    }

    /// The first of [`Self::VARIABLES`] that is set, and not empty; with its name where it is no token.
    pub fn from_variables(
        value: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>, (&'static str, TokenError)> {
        for name in Self::VARIABLES {
            if let Some(text) = value(name).filter(|text| !text.is_empty()) {
                let token = text.to_str().ok_or(TokenError).and_then(Self::new);
                return token.map(Some).map_err(|error| (name, error));
            }
        }
        Ok(None)
    }

    /// What to send with a request to `url`, when that belongs to the API at `api`: the same scheme,
    /// host and port, and a path below the API's. Plain http is for loopback alone.
    pub(super) fn for_url(&self, api: &Url, url: &Url) -> Option<&HeaderValue> {
        let below = url.path().strip_prefix(api.path().trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'));
        let private = url.scheme() == "https" || is_loopback(url);
        (url.origin() == api.origin() && below && private).then_some(&self.bearer)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
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
    fn a_token_goes_to_the_apis_origin_and_path_alone() {
        let token = Token::new(" ghp_throwaway\n").unwrap();
        let sent = |api: &str, to: &str| token.for_url(&url(api), &url(to)).is_some();
        assert!(sent("https://api.example", "https://api.example/repos/a/b/releases?page=2"));
        assert!(sent("https://ghe.example/api/v3", "https://ghe.example/api/v3/repos/a/b"));
        assert!(sent("http://127.0.0.1:8080", "http://127.0.0.1:8080/repos/a/b"));
        for (api, to) in [
            ("https://api.example", "http://api.example/repos"),
            ("https://api.example", "https://api.example:444/repos"),
            ("https://api.example", "https://api.example.evil.test/repos"),
            ("https://api.example", "https://github.example/a/b"),
            ("https://ghe.example/api/v3", "https://ghe.example/a/b/releases/download/v1/x"),
            ("https://ghe.example/api/v3", "https://ghe.example/api/v33/repos"),
            ("http://ghe.example", "http://ghe.example/repos"),
        ] {
            assert!(!sent(api, to), "{api} {to}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::new("ghp_throwaway").unwrap();
        let sent = token.for_url(&url("https://a.example"), &url("https://a.example/x")).unwrap();
        for text in [format!("{token:?}"), format!("{token:#?}"), format!("{sent:?}")] {
            assert!(!text.contains("throwaway"), "{text}");
        }
    }

    #[test]
    fn the_first_variable_that_is_set_counts() {
        let from = |set: &[(&str, &str)]| {
            Token::from_variables(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into()))
        };
        assert!(from(&[]).unwrap().is_none());
        assert!(from(&[("GH_TOKEN", ""), ("GITHUB_TOKEN", "b")]).unwrap().is_some());
        assert_eq!(from(&[("GH_TOKEN", "a b"), ("GITHUB_TOKEN", "b")]).unwrap_err(), ("GH_TOKEN", TokenError));
        let both = from(&[("GH_TOKEN", "a"), ("GITHUB_TOKEN", "b")]).unwrap().unwrap();
        assert_eq!(both.bearer, "Bearer a");
    }

    proptest! {
        #[test]
        fn no_token_smuggles_a_header(text in "\\PC{0,12}[\r\n \t\0]?\\PC{0,12}") {
            if let Ok(token) = Token::new(&text) {
                prop_assert!(token.bearer.as_bytes()[7..].iter().all(u8::is_ascii_graphic));
            }
        }
    }
}
