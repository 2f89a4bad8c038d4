use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// A host that settings name: `cdn.example.org`, `cdn.example.org:8443`, `[::1]:8080`.
///
/// Compared whole: no wildcards, and a name never covers its subdomains.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName {
    host: Host<String>,
    port: Option<u16>,
}

/// Why a text is not a [`HostName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a host such as cdn.example.org or cdn.example.org:8443 (no scheme, no path, no wildcard)")]
pub struct HostNameError;

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        if text.is_empty() || text.len() > 260 || !text.bytes().all(plain) {
            return Err(HostNameError);
        }
        let url = Url::parse(&format!("https://{text}/")).map_err(|_| HostNameError)?;
        Ok(Self { host: url.host().ok_or(HostNameError)?.to_owned(), port: url.port() })
    }
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;

    fn try_from(text: String) -> Result<Self, HostNameError> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

impl HostName {
    /// The host of an address, with its port where that is unusual.
    pub(super) fn of(url: &Url) -> Option<Self> {
        Some(Self { host: url.host()?.to_owned(), port: url.port() })
    }

    pub(super) fn is_host_of(&self, url: &Url) -> bool {
        url.host().is_some_and(|host| host.to_owned() == self.host)
    }

    /// The host alone, as a resolver takes it, and the port, if there is one.
    pub(super) fn parts(&self) -> (String, Option<u16>) {
        let host = match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        (host, self.port)
    }

    /// Without a port of its own, it stands for the usual port of the address's scheme.
    fn covers(&self, url: &Url) -> bool {
        self.is_host_of(url) && url.port() == self.port
    }
}

/// Why an address is not requested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefusal {
    /// Not an address at all, or a relative one without anything to relate it to.
    #[error("it is not a valid address")]
    NotAnAddress,
    /// Neither http nor https.
    #[error("only http and https are fetched, never {scheme}:")]
    Scheme {
        /// The scheme found.
        scheme: String,
    },
    /// `user:password@` in the address.
    #[error("it carries a user name or password; nothing secret is sent to a release server")]
    Credentials,
    /// Plain http to somewhere that is neither loopback nor allowed by name.
    #[error("plain http is used for loopback only; use https, or name the host in source.allow_plain_http")]
    PlainHttp,
    /// From https down to plain http.
    #[error("it leads from https down to plain http, which anybody on the way can read and change")]
    Downgrade,
    /// Neither the listing's own host nor a configured asset host.
    #[error("{host} is neither the listing's own host nor named in source.asset_hosts; add it there if it is meant")]
    HostNotAllowed {
        /// The host found, with its port where it has an unusual one.
        host: String,
    },
    /// An asset of a folder whose path is not made of plain names below that folder.
    #[error("assets of a folder are named by a relative path of plain names below that folder")]
    OutsideFolder,
}

/// Where requests may go. Bounds what a hostile listing or redirect can make a node connect to; it
/// does not authenticate anything.
#[derive(Clone, Debug)]
pub struct Reach {
    own: Url,
    asset_hosts: Vec<HostName>,
    plain_http_hosts: Vec<HostName>,
}

impl Reach {
    /// The reach of a listing at `own`.
    #[must_use]
    pub fn new(own: Url, asset_hosts: Vec<HostName>, plain_http_hosts: Vec<HostName>) -> Self {
        Self { own, asset_hosts, plain_http_hosts }
    }

    /// Judges an address before it is requested: the listing, one of its assets, or (`from`) the
    /// target of a redirect.
    pub fn admit(&self, url: &Url, from: Option<&Url>) -> Result<(), UrlRefusal> {
        match url.scheme() {
            "https" => {}
            "http" => {
                if self.own.scheme() == "https" || from.is_some_and(|from| from.scheme() == "https") {
                    return Err(UrlRefusal::Downgrade);
                }
                if !is_loopback(url) && !self.plain_http_hosts.iter().any(|name| name.is_host_of(url)) {
                    return Err(UrlRefusal::PlainHttp);
                }
            }
            scheme => return Err(UrlRefusal::Scheme { scheme: scheme.escape_debug().take(32).collect() }),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefusal::Credentials);
        }
        // The usual ports of both schemes count as one place: servers send http up to https.
        let own = url.host() == self.own.host() && url.port() == self.own.port();
        if own || self.asset_hosts.iter().any(|name| name.covers(url)) {
            return Ok(());
        }
        Err(UrlRefusal::HostNotAllowed { host: authority(url) })
    }
}

pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether the address names this machine. Judged by the name alone: no lookup is made.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The address as it may be shown: without query, fragment and credentials, which may be secrets.
pub(super) fn shown(url: &Url) -> String {
    let text = format!("{}://{}{}", url.scheme(), authority(url), url.path());
    if text.len() <= 300 { text } else { text.chars().take(300).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn reach(own: &str) -> Reach {
        Reach::new(
            url(own),
            vec!["cdn.example.org".parse().unwrap(), "cdn.example.org:8443".parse().unwrap()],
            vec!["mirror.lan".parse().unwrap()],
        )
    }

    #[test]
    fn the_own_host_and_configured_hosts_are_in_reach() {
        let reach = reach("https://example.org/releases.json");
        for good in [
            "https://example.org/a",
            "https://cdn.example.org/a",
            "https://cdn.example.org:8443/a",
            "https://EXAMPLE.org:443/a",
        ] {
            assert_eq!(reach.admit(&url(good), None), Ok(()), "{good}");
        }
        for bad in [
            "https://example.com/a",
            "https://sub.example.org/a",
            "https://example.org:8443/a",
            "https://example.org./a",
            "https://cdn.example.org.evil.test/a",
            "https://169.254.169.254/latest/meta-data",
            "https://127.0.0.1/a",
        ] {
            assert!(matches!(reach.admit(&url(bad), None), Err(UrlRefusal::HostNotAllowed { .. })), "{bad}");
        }
    }

    #[test]
    fn only_http_and_https_are_fetched() {
        let reach = reach("http://127.0.0.1/releases.json");
        for bad in ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:text/plain,a", "gopher://127.0.0.1/"] {
            assert!(matches!(reach.admit(&url(bad), None), Err(UrlRefusal::Scheme { .. })), "{bad}");
        }
    }

    #[test]
    fn https_never_leads_to_http() {
        let secure = reach("https://example.org/releases.json");
        assert_eq!(secure.admit(&url("http://example.org/a"), None), Err(UrlRefusal::Downgrade));
        assert_eq!(secure.admit(&url("http://127.0.0.1/a"), None), Err(UrlRefusal::Downgrade));
        let plain = reach("http://127.0.0.1/releases.json");
        let from = url("https://127.0.0.1/a");
        assert_eq!(plain.admit(&url("http://127.0.0.1/b"), Some(&from)), Err(UrlRefusal::Downgrade));
    }

    #[test]
    fn plain_http_is_for_loopback_and_hosts_allowed_by_name() {
        for good in ["http://127.0.0.1:80/r", "http://127.9.9.9:8080/r", "http://[::1]:8080/r", "http://localhost/r"] {
            assert_eq!(reach(good).admit(&url(good), None), Ok(()), "{good}");
        }
        let named = "http://mirror.lan:8080/r";
        assert_eq!(reach(named).admit(&url(named), None), Ok(()));
        for bad in ["http://example.org/r", "http://localhost.example.org/r", "http://0.0.0.0/r", "http://10.0.0.1/r"] {
            assert_eq!(reach(bad).admit(&url(bad), None), Err(UrlRefusal::PlainHttp), "{bad}");
        }
    }

    #[test]
    fn credentials_in_an_address_are_refused_and_never_shown() {
        let address = "https://user:secret@example.org/a?token=secret#secret";
        assert_eq!(reach("https://example.org/").admit(&url(address), None), Err(UrlRefusal::Credentials));
        assert_eq!(shown(&url(address)), "https://example.org/a");
    }

    #[test]
    fn a_host_name_is_a_host_and_nothing_more() {
        for bad in ["", "https://a", "a/b", "a@b", "*.a", "a b", "a?b", "a#b", "a:99999", "a\\b", "::1"] {
            assert_eq!(bad.parse::<HostName>(), Err(HostNameError), "{bad:?}");
        }
        for good in ["a", "a.b:1", "[::1]:1", "127.0.0.1:8080"] {
            assert_eq!(good.parse::<HostName>().unwrap().to_string(), good);
        }
    }
}
