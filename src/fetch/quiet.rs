use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use url::Url;

use super::backoff::retry_after;
use super::error::FetchError;
use super::reach::{authority, shown};

/// The longest time for which a server's wish is remembered: no answer silences a node for good.
const LONGEST: Duration = Duration::from_hours(24);

/// Servers that asked to be left alone, and until when. Kept in this process alone.
#[derive(Debug, Default)]
pub(super) struct Quiet(Mutex<HashMap<String, Instant>>);

impl Quiet {
    /// Refuses to ask a server that does not want to be asked yet.
    pub(super) fn heed(&self, url: &Url) -> Result<(), FetchError> {
        let until = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&authority(url)).copied();
        let pause = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if pause.is_zero() {
            return Ok(());
        }
        Err(FetchError::LeftAlone { url: shown(url), until: from_now(pause), pause })
    }

    /// Turns a failed answer into its error, and remembers the wish in it.
    pub(super) fn refusal(&self, url: &Url, status: u16, head: &HeaderMap) -> FetchError {
        let now = SystemTime::now();
        let wish = head.get(RETRY_AFTER).and_then(|field| retry_after(field.to_str().ok()?, now));
        let spent = matches!(status, 403 | 429).then(|| spent_until(head, now)).flatten();
        let pause = wish.max(spent).map(|pause| pause.min(LONGEST));
        if let Some(pause) = pause {
            let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.insert(authority(url), Instant::now() + pause);
        }
        match (pause, spent) {
            (Some(pause), Some(_)) => FetchError::RateLimited { url: shown(url), until: from_now(pause), pause },
            _ => FetchError::Status { url: shown(url), status, retry_after: wish },
        }
    }
}

/// How long a spent request budget lasts, as GitHub and others say it: seconds since 1970.
fn spent_until(head: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let number = |name: &str| head.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    if number("x-ratelimit-remaining")? != 0 {
        return None;
    }
    let reset = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(number("x-ratelimit-reset")?))?;
    // A second more: the field has no fractions.
    Some(reset.duration_since(now).unwrap_or_default() + Duration::from_secs(1))
}

fn from_now(pause: Duration) -> Timestamp {
    let pause = jiff::SignedDuration::try_from(pause).unwrap_or(jiff::SignedDuration::MAX);
    Timestamp::now().saturating_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn head(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn in_seconds(seconds: u64) -> String {
        (SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + seconds).to_string()
    }

    #[test]
    fn a_wish_is_for_one_server_and_is_heeded() {
        let quiet = Quiet::default();
        let (asked, other): (Url, Url) =
            ("http://127.0.0.1:1/a".parse().unwrap(), "http://127.0.0.1:2/a".parse().unwrap());
        let error = quiet.refusal(&asked, 503, &head(&[("retry-after", "100")]));
        assert!(matches!(error, FetchError::Status { status: 503, retry_after: Some(_), .. }), "{error:?}");
        assert!(
            matches!(quiet.heed(&asked), Err(FetchError::LeftAlone { pause, .. }) if pause > Duration::from_secs(98))
        );
        assert!(quiet.heed(&other).is_ok());
    }

    #[test]
    fn no_wish_is_remembered_for_longer_than_a_day() {
        for fields in [
            [("retry-after", "99999999999999999999"), ("x", "")],
            [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "18446744073709551615")],
        ] {
            let (quiet, url) = (Quiet::default(), "http://127.0.0.1:1/a".parse().unwrap());
            quiet.refusal(&url, 429, &head(&fields));
            if let Err(error) = quiet.heed(&url) {
                assert!(error.retry_after().unwrap() <= LONGEST);
            }
        }
    }

    #[test]
    fn a_spent_budget_is_told_from_a_plain_refusal() {
        let (quiet, url) = (Quiet::default(), "http://127.0.0.1:1/a".parse().unwrap());
        let reset = in_seconds(1800);
        let left = quiet.refusal(&url, 403, &head(&[("x-ratelimit-remaining", "59"), ("x-ratelimit-reset", &reset)]));
        assert!(matches!(left, FetchError::Status { status: 403, retry_after: None, .. }), "{left:?}");
        assert!(quiet.heed(&url).is_ok());
        let spent = quiet.refusal(&url, 403, &head(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &reset)]));
        assert!(
            matches!(spent, FetchError::RateLimited { pause, .. } if pause > Duration::from_secs(1790)),
            "{spent:?}"
        );
        assert!(quiet.heed(&url).is_err());
    }
}
