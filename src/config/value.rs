//! From what was written to what it means: one function for each kind of value.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;
use jiff::tz::TimeZone;
use url::{Host, Url};

use super::error::ValueError;
use super::settings::{Job, LogFormat};
use crate::types::{ByteLimit, Channel, NodeName, WeeklyWindow};

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    /// A variable or a flag: text that each kind reads in its own way.
    Plain(String),
    /// A string in a file.
    Text(String),
    /// A number in a file.
    Number(String),
    /// A list of strings in a file.
    List(Vec<String>),
    /// Anything else that a file can hold, as it was spelled there.
    Other(String),
}

impl Raw {
    /// As it was written, near enough to be recognised.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Plain(text) | Self::Text(text) | Self::Number(text) | Self::Other(text) => text.clone(),
            Self::List(items) => items.join(", "),
        }
    }

    fn text(&self) -> Result<&str, ValueError> {
        match self {
            Self::Plain(text) | Self::Text(text) => Ok(text),
            _ => Err(ValueError::WantsText),
        }
    }

    fn number(&self) -> Result<&str, ValueError> {
        match self {
            Self::Plain(text) | Self::Number(text) => Ok(text),
            _ => Err(ValueError::WantsNumber),
        }
    }
}

const LONGEST: Duration = Duration::from_hours(366 * 24);

fn span(raw: &Raw) -> Result<jiff::SignedDuration, ValueError> {
    let text = raw.text()?;
    SpanParser::new()
        .parse_span(text.trim())
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| ValueError::Duration)
}

pub(super) fn duration(raw: &Raw) -> Result<Duration, ValueError> {
    match Duration::try_from(span(raw)?) {
        Ok(span) if !span.is_zero() && span <= LONGEST => Ok(span),
        _ => Err(ValueError::DurationRange),
    }
}

pub(super) fn window(raw: &Raw) -> Result<Duration, ValueError> {
    match Duration::try_from(span(raw)?) {
        Ok(span) if span <= LONGEST => Ok(span),
        _ => Err(ValueError::WindowRange),
    }
}

pub(super) fn fraction(raw: &Raw) -> Result<f64, ValueError> {
    match raw.number()?.parse() {
        Ok(fraction) if (0.0..=0.5).contains(&fraction) => Ok(fraction),
        _ => Err(ValueError::Number("0", "0.5")),
    }
}

/// A number from 1 to `most`.
pub(super) fn count(raw: &Raw, most: u8) -> Result<u8, ValueError> {
    match raw.number()?.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(count),
        _ => Err(ValueError::Count(most)),
    }
}

pub(super) fn size(raw: &Raw) -> Result<ByteLimit, ValueError> {
    raw.text().or_else(|error| raw.number().map_err(|_| error))?.parse().map_err(ValueError::Size)
}

pub(super) fn node(raw: &Raw) -> Result<NodeName, ValueError> {
    raw.text()?.parse().map_err(ValueError::Name)
}

pub(super) fn listen(raw: &Raw) -> Result<Option<SocketAddr>, ValueError> {
    match raw.text()? {
        "off" => Ok(None),
        address => address.parse().map(Some).map_err(|_| ValueError::Address),
    }
}

pub(super) fn addresses(raw: &Raw) -> Result<Vec<SocketAddr>, ValueError> {
    let addresses: Vec<SocketAddr> = items(raw)?
        .into_iter()
        .map(|item| item.parse().map_err(|_| ValueError::Addresses))
        .collect::<Result<_, _>>()?;
    let once = |at: usize| !addresses[..at].contains(&addresses[at]);
    if addresses.len() <= usize::from(Job::MOST_LISTENERS) && (0..addresses.len()).all(once) {
        Ok(addresses)
    } else {
        Err(ValueError::Addresses)
    }
}

/// Public keys of age, each once.
pub(super) fn recipients(raw: &Raw) -> Result<Vec<String>, ValueError> {
    let keys: Vec<String> = items(raw)?.into_iter().map(str::to_owned).collect();
    let good = |at: usize| keys[at].parse::<age::x25519::Recipient>().is_ok() && !keys[..at].contains(&keys[at]);
    if (0..keys.len()).all(good) { Ok(keys) } else { Err(ValueError::Recipients) }
}

pub(super) fn path(raw: &Raw) -> Result<PathBuf, ValueError> {
    let path = PathBuf::from(raw.text()?);
    if path.is_absolute() { Ok(path) } else { Err(ValueError::Path) }
}

pub(super) fn listing(raw: &Raw) -> Result<String, ValueError> {
    let text = raw.text()?;
    let is_url = || Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if text.starts_with('/') || is_url() { Ok(text.to_owned()) } else { Err(ValueError::Listing) }
}

/// `owner/name`, as GitHub spells its repositories.
pub(super) fn repository(raw: &Raw) -> Result<String, ValueError> {
    let text = raw.text()?;
    let plain = |text: &str, more: &str| {
        (1..=100).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
            && !text.chars().all(|c| c == '.')
    };
    match text.split_once('/') {
        Some((owner, name)) if plain(owner, "-_") && plain(name, "-_.") => Ok(text.to_owned()),
        _ => Err(ValueError::Repository),
    }
}

/// The address of a service: http or https, without anything secret or variable in it.
pub(super) fn url(raw: &Raw) -> Result<String, ValueError> {
    plain_url(raw.text()?)
}

pub(super) fn urls(raw: &Raw) -> Result<Vec<String>, ValueError> {
    items(raw)?.into_iter().map(plain_url).collect()
}

/// Addresses, in which `{version}` and `{name}` may stand for those of a file.
pub(super) fn targets(raw: &Raw) -> Result<Vec<String>, ValueError> {
    let place = |text: &str| {
        let filled = text.replace("{version}", "1.0.0").replace("{name}", "name");
        let is_template = text.contains(['{', '}']);
        if filled.contains(['{', '}']) || (is_template && !text.contains("{name}")) {
            return Err(ValueError::Targets);
        }
        plain_url(&filled).map(|_| text.to_owned())
    };
    items(raw)?.into_iter().map(place).collect()
}

fn plain_url(text: &str) -> Result<String, ValueError> {
    let url = Url::parse(text).map_err(|_| ValueError::Url)?;
    let bare =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !bare {
        return Err(ValueError::Url);
    }
    Ok(text.to_owned())
}

/// An address of this host: loopback, without user and password.
pub(super) fn own_url(raw: &Raw) -> Result<String, ValueError> {
    let text = raw.text()?;
    let url = Url::parse(text).map_err(|_| ValueError::OwnUrl)?;
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let open = url.username().is_empty() && url.password().is_none();
    if loopback && open && matches!(url.scheme(), "http" | "https") {
        Ok(text.to_owned())
    } else {
        Err(ValueError::OwnUrl)
    }
}

/// A program by its absolute path, and its arguments.
pub(super) fn command(raw: &Raw) -> Result<Vec<String>, ValueError> {
    let argv: Vec<String> = items(raw)?.into_iter().map(str::to_owned).collect();
    let is_absolute = argv.first().is_some_and(|program| PathBuf::from(program).is_absolute());
    let is_plain = argv.iter().all(|word| !word.contains('\0'));
    if is_absolute && is_plain { Ok(argv) } else { Err(ValueError::Command) }
}

pub(super) fn hosts(raw: &Raw) -> Result<Vec<String>, ValueError> {
    items(raw)?.into_iter().map(host).collect()
}

fn items(raw: &Raw) -> Result<Vec<&str>, ValueError> {
    match raw {
        Raw::Plain(text) => Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()),
        Raw::List(items) => Ok(items.iter().map(String::as_str).collect()),
        _ => Err(ValueError::WantsList),
    }
}

/// `host`, `host:port`, `[::1]` or `[::1]:port`, in the spelling that a parsed URL gives it.
fn host(text: &str) -> Result<String, ValueError> {
    let bare = match text.rsplit_once(':') {
        Some((bare, port)) if !bare.is_empty() && !text.ends_with(']') => {
            port.parse::<u16>().map_err(|_| ValueError::Host)?;
            bare
        }
        _ => text,
    };
    let host = Host::parse(bare).map_err(|_| ValueError::Host)?.to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(plain) {
        return Err(ValueError::Host);
    }
    Ok(host + &text[bare.len()..])
}

pub(super) fn channel(raw: &Raw) -> Result<Channel, ValueError> {
    raw.text()?.parse().map_err(|_| ValueError::Choice("stable, beta"))
}

/// A list in a file; elsewhere separated by semicolons, because days are separated by commas.
pub(super) fn weekly(raw: &Raw) -> Result<Vec<WeeklyWindow>, ValueError> {
    let items: Vec<&str> = match raw {
        Raw::Plain(text) => text.split(';').filter(|item| !item.trim().is_empty()).collect(),
        Raw::List(items) => items.iter().map(String::as_str).collect(),
        _ => return Err(ValueError::WantsWindows),
    };
    items.into_iter().map(|item| item.parse().map_err(ValueError::Window)).collect()
}

pub(super) fn time_zone(raw: &Raw) -> Result<TimeZone, ValueError> {
    let name = raw.text()?;
    // Fixed offsets and POSIX rules have no name that says where they hold: only names are taken.
    TimeZone::get(name).map_err(|_| ValueError::TimeZone)
}

pub(super) fn log_format(raw: &Raw) -> Result<LogFormat, ValueError> {
    match raw.text()? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(ValueError::Choice("text, json")),
    }
}

pub(super) fn filter(raw: &Raw) -> Result<String, ValueError> {
    let text = raw.text()?;
    // The parser counts bytes without the space before a directive: it reads such directives wrongly,
    // and panics where that ends within a letter.
    let directives: Vec<&str> = text.split(',').map(str::trim).collect();
    let text = directives.join(",");
    let parsed = text.is_ascii().then(|| tracing_subscriber::EnvFilter::try_new(&text));
    match parsed {
        Some(Ok(_)) => Ok(text),
        _ => Err(ValueError::Filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str) -> Raw {
        Raw::Plain(text.to_owned())
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("1h 30m", 5400), ("24h", 86_400), ("2d", 172_800)] {
            assert_eq!(duration(&plain(text)), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration(&plain("250ms")), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn times_that_mean_nothing_are_refused() {
        for text in ["", "10", "ten minutes", "1 month", "1y", "10 m x"] {
            assert_eq!(duration(&plain(text)), Err(ValueError::Duration), "{text:?}");
        }
        for text in ["0s", "-5s", "5s ago", "367d", "99999h"] {
            assert_eq!(duration(&plain(text)), Err(ValueError::DurationRange), "{text:?}");
        }
        assert_eq!(window(&plain("0s")), Ok(Duration::ZERO));
        assert_eq!(window(&plain("-1s")), Err(ValueError::WindowRange));
    }

    #[test]
    fn directives_may_be_spaced_and_hold_letters_of_targets_alone() {
        let spaced = filter(&plain(" warn, exuvia::fetch=debug "));
        assert_eq!(spaced, Ok("warn,exuvia::fetch=debug".to_owned()));
        for text in [" \u{610}=", "é=info", "info,\u{a0}\u{610}=debug"] {
            assert_eq!(filter(&plain(text)), Err(ValueError::Filter), "{text:?}");
        }
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for text in ["0", "11", "-1", "3.5", "NaN", ""] {
            assert_eq!(count(&plain(text), 10), Err(ValueError::Count(10)), "{text:?}");
        }
        for text in ["0.51", "-0.1", "NaN", "inf", "20%"] {
            assert_eq!(fraction(&plain(text)), Err(ValueError::Number("0", "0.5")), "{text:?}");
        }
    }

    #[test]
    fn a_file_must_use_the_right_kind_of_value() {
        assert_eq!(duration(&Raw::Number("30".into())), Err(ValueError::WantsText));
        assert_eq!(count(&Raw::Text("3".into()), 10), Err(ValueError::WantsNumber));
        assert_eq!(hosts(&Raw::Text("a.example".into())), Err(ValueError::WantsList));
        assert_eq!(size(&Raw::Number("4096".into())), Ok(ByteLimit::kib(4)));
        assert_eq!(size(&Raw::Other("true".into())), Err(ValueError::WantsText));
    }

    #[test]
    fn hosts_take_the_spelling_of_a_url() {
        assert_eq!(
            hosts(&plain("CDN.Example, 127.0.0.1:8080,[::1]:80 , [::1]")),
            Ok(["cdn.example", "127.0.0.1:8080", "[::1]:80", "[::1]"].map(str::to_owned).to_vec())
        );
        for text in ["https://a.example", "a.example/path", "*.example", "a.example:99999", "a b", "a@b", ":80"] {
            assert_eq!(hosts(&plain(text)), Err(ValueError::Host), "{text:?}");
        }
    }

    #[test]
    fn a_listing_is_a_url_or_an_absolute_folder() {
        for text in ["https://a.example/releases.json", "http://127.0.0.1:80/releases.json", "/srv/releases"] {
            assert_eq!(listing(&plain(text)), Ok(text.to_owned()));
        }
        for text in ["", "releases", "./releases", "ftp://a.example/", "file:///srv", "https://"] {
            assert_eq!(listing(&plain(text)), Err(ValueError::Listing), "{text:?}");
        }
    }

    #[test]
    fn weekly_windows_and_time_zones_are_read_or_refused() {
        let both = weekly(&plain("Sat,Sun 02:00-03:00; Mon 04:00-05:00 ;"));
        assert_eq!(both.map(|windows| windows.len()), Ok(2));
        assert_eq!(weekly(&plain("")), Ok(Vec::new()));
        assert_eq!(weekly(&plain("Mon 5-6")), Err(ValueError::Window(crate::types::WeeklyError::Hours)));
        assert_eq!(weekly(&Raw::Text("Mon 05:00-06:00".into())), Err(ValueError::WantsWindows));
        assert_eq!(time_zone(&plain("europe/berlin")).map(|zone| zone.iana_name() == Some("Europe/Berlin")), Ok(true));
        for name in ["", "Berlin", "../../etc/passwd", "/etc/localtime", "CET-1CEST,M3.5.0,M10.5.0/3"] {
            assert_eq!(time_zone(&plain(name)), Err(ValueError::TimeZone), "{name:?}");
        }
        assert_eq!(channel(&plain("nightly")), Err(ValueError::Choice("stable, beta")));
    }

    #[test]
    fn a_repository_is_an_owner_and_a_name() {
        assert_eq!(repository(&plain("a-b/c.d")), Ok("a-b/c.d".to_owned()));
        for text in ["", "a", "a/b/c", "a/..", "https://github.example/a/b", "a b/c", "a/b?c"] {
            assert_eq!(repository(&plain(text)), Err(ValueError::Repository), "{text:?}");
        }
    }

    #[test]
    fn addresses_of_services_hold_nothing_secret() {
        let good = ["https://a.example/x/", "http://127.0.0.1:80"].map(str::to_owned);
        assert_eq!(urls(&Raw::List(good.to_vec())), Ok(good.to_vec()));
        for text in
            ["", "a.example", "/srv", "ftp://a.example", "https://u:p@a.example", "https://a.example/?t=1", "https://"]
        {
            assert_eq!(url(&plain(text)), Err(ValueError::Url), "{text:?}");
        }
    }

    #[test]
    fn a_health_check_is_a_program_by_its_path_or_an_address_of_this_host() {
        let argv = ["/bin/check", "--deep", "a b"].map(str::to_owned).to_vec();
        assert_eq!(command(&Raw::List(argv.clone())), Ok(argv));
        assert_eq!(command(&plain("/bin/check, --deep")).map(|argv| argv.len()), Ok(2));
        for text in ["", "check", "./check", "/bin/ch\0eck"] {
            assert_eq!(command(&plain(text)), Err(ValueError::Command), "{text:?}");
        }
        assert_eq!(command(&Raw::Text("/bin/check".into())), Err(ValueError::WantsList));
        for text in
            ["http://127.0.0.1:7650/readyz?deep=1", "https://localhost/", "http://[::1]:80/x", "http://127.9.9.9/"]
        {
            assert_eq!(own_url(&plain(text)), Ok(text.to_owned()));
        }
        for text in [
            "",
            "/readyz",
            "http://10.0.0.1/",
            "http://localhost.example/",
            "http://u:p@127.0.0.1/",
            "ftp://127.0.0.1/",
        ] {
            assert_eq!(own_url(&plain(text)), Err(ValueError::OwnUrl), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "\\PC{0,24}") {
            let raw = plain(&text);
            let _ = (duration(&raw), window(&raw), fraction(&raw), count(&raw, 9), size(&raw), node(&raw));
            let _ = (repository(&raw), url(&raw), urls(&raw), own_url(&raw), command(&raw));
            let _ = (listen(&raw), path(&raw), listing(&raw), hosts(&raw), log_format(&raw), filter(&raw));
        }

        #[test]
        fn an_accepted_time_is_positive_and_bounded(text in "-?[0-9]{1,6} ?(ms|s|m|h|d|w)( [0-9]{1,3}m)?") {
            if let Ok(span) = duration(&plain(&text)) {
                prop_assert!(!span.is_zero() && span <= LONGEST);
            }
        }
    }
}
