//! What must hold of everything that this room's own parsers accept: doors for the fuzz targets, which
//! live in another package and see only what is public. Built for fuzzing, and with the tests so that
//! the lints see it.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

use super::backoff::retry_after;
use super::bundle::named;
use super::error::FetchError;
use super::folder::plain_names;
use super::github::Pages;
use super::link::related;
use super::listing::{Listing, ListingLimits};
use super::quiet::Quiet;
use super::reach::{HostName, Reach};
use super::resume::Begun;
use super::settings::HttpSettings;
use super::shared::Kept;
use super::tar_bundle::{Member, Unread, index};

/// A sibling's copy of a listing: what is accepted is written back as the same, and no date makes it
/// fresh for longer than its lifetime.
pub fn kept_listing(bytes: &[u8], now: Timestamp) {
    let Ok(kept) = Kept::from_bytes(bytes.to_vec()) else { return };
    let written = kept.to_bytes().expect("what was read can be written");
    let again = Kept::from_bytes(written).expect("what was written can be read");
    assert_eq!((kept.fetched_at, &kept.etag, &kept.body), (again.fetched_at, &again.etag, &again.body));
    let lifetime = Duration::from_mins(30);
    if kept.is_fresh(now, lifetime) {
        let age = now.duration_since(kept.fetched_at).as_secs();
        assert!((-5..1800).contains(&age), "{age} s old, and fresh");
    }
}

/// The pages of an API: put together, they are one listing, of no more than its limits allow.
pub fn pages(pages: &[&[u8]]) {
    let limits = ListingLimits { releases: 20, ..ListingLimits::default() };
    let settings = HttpSettings { listing_limits: limits, ..HttpSettings::default() };
    let mut together = Pages::new(&settings);
    for page in pages {
        match together.add(page, String::new) {
            Ok(true) => {}
            Ok(false) | Err(FetchError::WebPage { .. } | FetchError::NotAListing { .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    let whole = together.into_bytes();
    assert!(settings.listing_limit.admits(whole.len() as u64));
    Listing::parse(&whole, &settings.listing_limits).expect("whole entries between commas and brackets");
}

/// The head of an answer. Fields that no server can send are left out.
pub fn head(fields: &[(&[u8], &[u8])], status: u16, kept: u64) {
    let mut head = HeaderMap::new();
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            head.append(name, value);
        }
    }
    let url: Url = "https://releases.example/a?secret".parse().expect("an address");
    if let Some(begun) = Begun::of(&url, &head, None)
        && let Some(whole) = begun.goes_on(&url, &head, kept)
    {
        assert!(whole > kept, "a rest of nothing");
        assert!(!begun.validator().as_bytes().starts_with(b"W/"), "a weak validator names no content");
    }
    let quiet = Quiet::default();
    match quiet.refusal(&url, status, &head) {
        FetchError::RateLimited { url, pause, .. } => {
            assert!(!url.contains("secret") && pause <= Duration::from_hours(24));
        }
        FetchError::Status { url, .. } => assert!(!url.contains("secret")),
        other => panic!("{other}"),
    }
    if let Err(FetchError::LeftAlone { pause, .. }) = quiet.heed(&url) {
        assert!(pause <= Duration::from_hours(24), "silenced for {pause:?}");
    }
    for field in head.values().filter_map(|value| value.to_str().ok()) {
        let _ = retry_after(field, SystemTime::now());
    }
    if let Some(target) = related(&head, "next") {
        let spelled = format!("<{target}>");
        assert!(head.values().any(|value| value.as_bytes().windows(spelled.len()).any(|at| at == spelled.as_bytes())));
    }
}

/// An address that a listing or a redirect gives, judged against the listing's own and its settings.
pub fn addresses(own: &str, hosts: &[&str], address: &str) {
    for name in named(address).unwrap_or_default() {
        assert!(plain_names(&name).is_some(), "{name:?} may lead out of a bundle");
    }
    let hosts: Vec<HostName> = hosts.iter().filter_map(|host| host.parse().ok()).collect();
    let (Ok(own), Ok(url)) = (own.parse::<Url>(), address.parse::<Url>()) else { return };
    if !own.has_host() || Reach::new(own.clone(), hosts.clone(), hosts.clone()).admit(&url, None).is_err() {
        return;
    }
    assert!(url.username().is_empty() && url.password().is_none(), "{url}");
    let named = |other: &HostName| HostName::of(&url).is_some_and(|host| host == *other);
    assert!(HostName::of(&own).is_some_and(|own| named(&own)) || hosts.iter().any(named), "{url} was not configured");
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        None => false,
    };
    let plain_is_allowed = is_loopback || hosts.iter().any(|host| host.is_host_of(&url));
    assert!(url.scheme() == "https" || (url.scheme() == "http" && plain_is_allowed), "{url}");
    let from = Url::parse("https://from.example/").expect("an address");
    if url.scheme() == "http" {
        assert!(Reach::new(own, hosts.clone(), hosts).admit(&url, Some(&from)).is_err(), "down from https to {url}");
    }
}

/// A bundle: what is found in it lies in it, apart, under plain names, and where another reader of tar
/// files finds it, too.
pub fn tar_bundle(bytes: &[u8]) {
    let found = index(bytes.len() as u64, |block, at| {
        let at = usize::try_from(at).map_err(std::io::Error::other)?;
        block.copy_from_slice(bytes.get(at..at + 512).ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    });
    let members = match found {
        Ok(members) => members,
        Err(Unread::Bundle(_)) => return,
        Err(Unread::Io(error)) => panic!("{error}"),
    };
    let mut places: Vec<Member> = members.values().copied().collect();
    places.sort_by_key(|member| member.at);
    for pair in places.windows(2) {
        assert!(pair[0].at + pair[0].length <= pair[1].at, "two files in one place");
    }
    assert!(places.last().is_none_or(|last| last.at + last.length <= bytes.len() as u64));
    let mut others = 0;
    for entry in tar::Archive::new(bytes).entries().expect("bytes can be read") {
        let entry = entry.expect("what is accepted here is a tar for others");
        if !entry.header().entry_type().is_file() {
            continue;
        }
        others += 1;
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("names are plain");
        let path = path.strip_prefix("./").unwrap_or(&path);
        assert!(plain_names(path).is_some(), "{path:?}");
        let Member { at, length } = members[path];
        assert_eq!((entry.raw_file_position(), entry.size()), (at, length), "{path}");
    }
    assert_eq!(others, members.len());
}
