use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};
use url::Url;

use super::reach::shown;
use super::shared::entity_tag;

/// How much older than its answer a file must be for its date to name one content and no other.
const SETTLED: Duration = Duration::from_mins(1);

/// What a broken download needs to go on: which content it was, and where it came from.
///
/// A server that lies here gains nothing that it would not gain with a whole answer: the signature
/// is over all the bytes.
#[derive(Debug)]
pub(super) struct Begun {
    validator: HeaderValue,
    /// Without the query: addresses that are signed anew at each redirect differ there.
    place: String,
    complete: Option<u64>,
}

impl Begun {
    /// What the head of a whole answer says, when the content can be named for sure: a strong entity
    /// tag, or a date of last change that lies well before the answer (RFC 9110, section 13.1.5).
    pub(super) fn of(url: &Url, head: &HeaderMap, complete: Option<u64>) -> Option<Self> {
        let validator = strong_tag(head).or_else(|| settled_date(head))?;
        Some(Self { validator, place: shown(url), complete })
    }

    /// The value of `If-Range`.
    pub(super) fn validator(&self) -> &HeaderValue {
        &self.validator
    }

    /// The complete length, when a partial answer goes on exactly behind the `kept` bytes and to the
    /// end of the same content.
    pub(super) fn goes_on(&self, url: &Url, head: &HeaderMap, kept: u64) -> Option<u64> {
        let field = head.get(CONTENT_RANGE)?.to_str().ok()?;
        let ContentRange { first, last, complete } = ContentRange::parse(field)?;
        let same = shown(url) == self.place
            && self.complete.is_none_or(|stated| stated == complete)
            && (self.validator.as_bytes().first() != Some(&b'"')
                || head.get(ETAG).is_none_or(|tag| *tag == self.validator));
        (same && first == kept && last.checked_add(1) == Some(complete)).then_some(complete)
    }
}

fn strong_tag(head: &HeaderMap) -> Option<HeaderValue> {
    let tag = entity_tag(head.get(ETAG)?.as_bytes())?;
    let inner = tag.as_bytes().strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (!inner.contains(&b'"')).then_some(tag)
}

fn settled_date(head: &HeaderMap) -> Option<HeaderValue> {
    let date = |name| httpdate::parse_http_date(head.get(name)?.to_str().ok()?).ok();
    let age = date(DATE)?.duration_since(date(LAST_MODIFIED)?).ok()?;
    (age >= SETTLED).then(|| head.get(LAST_MODIFIED).cloned()).flatten()
}

/// `Content-Range: bytes 0-499/1234` (RFC 9110, section 14.4). An unknown complete length (`*`) is
/// not accepted: nothing would say where the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    last: u64,
    complete: u64,
}

impl ContentRange {
    fn parse(field: &str) -> Option<Self> {
        let (unit, rest) = field.split_once(' ')?;
        let (range, complete) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let [first, last, complete] = [number(first)?, number(last)?, number(complete)?];
        let ordered = first <= last && last < complete;
        (unit.eq_ignore_ascii_case("bytes") && ordered).then_some(Self { first, last, complete })
    }
}

fn number(text: &str) -> Option<u64> {
    // `parse` alone would take a plus sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn only_a_validator_that_names_one_content_is_used() {
        let here = url("http://127.0.0.1/a");
        let begun = |fields: &[(&'static str, &str)]| Begun::of(&here, &head(fields), None);
        let (changed, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:37 GMT");
        assert_eq!(begun(&[("etag", "\"x\"")]).unwrap().validator(), "\"x\"");
        assert_eq!(begun(&[("last-modified", changed), ("date", later)]).unwrap().validator(), changed);
        assert_eq!(
            begun(&[("etag", "W/\"x\""), ("last-modified", changed), ("date", later)]).unwrap().validator(),
            changed
        );
        for vague in [
            &[("etag", "W/\"x\"")] as &[_],
            &[("etag", "x")],
            &[("etag", "\"")],
            &[("etag", "\"x\", \"y\"")],
            &[("last-modified", changed)],
            &[("last-modified", changed), ("date", changed)],
            &[("last-modified", later), ("date", changed)],
            &[("last-modified", "yesterday"), ("date", later)],
            &[],
        ] {
            assert!(begun(vague).is_none(), "{vague:?}");
        }
    }

    #[test]
    fn only_the_exact_rest_of_the_same_content_goes_on() {
        let here = url("http://127.0.0.1/a?signed=1");
        let begun = Begun::of(&here, &head(&[("etag", "\"x\"")]), Some(100)).unwrap();
        let goes_on = |at: &str, range: &str, tag: &str| {
            let mut fields = vec![("etag", tag)];
            fields.extend((!range.is_empty()).then_some(("content-range", range)));
            begun.goes_on(&url(at), &head(&fields), 40)
        };
        assert_eq!(goes_on("http://127.0.0.1/a?signed=2", "bytes 40-99/100", "\"x\""), Some(100));
        for range in [
            "",
            "bytes 0-99/100",
            "bytes 39-99/100",
            "bytes 41-99/100",
            "bytes 40-98/100",
            "bytes 40-100/101",
            "bytes 40-99/*",
            "bytes */100",
            "bytes 40-99/99",
            "items 40-99/100",
        ] {
            assert_eq!(goes_on("http://127.0.0.1/a", range, "\"x\""), None, "{range}");
        }
        assert_eq!(goes_on("http://127.0.0.1/a", "bytes 40-99/100", "\"y\""), None, "another content");
        assert_eq!(goes_on("http://127.0.0.1/b", "bytes 40-99/100", "\"x\""), None, "another place");
    }

    #[test]
    fn a_content_range_is_three_ordered_numbers() {
        assert_eq!(ContentRange::parse("bytes 0-0/1"), Some(ContentRange { first: 0, last: 0, complete: 1 }));
        for bad in [
            "",
            "bytes",
            "bytes ",
            "bytes 0-1",
            "bytes 1-0/2",
            "bytes 0-2/2",
            "bytes +0-1/2",
            "bytes 0-1/+2",
            "bytes -1/2",
            "bytes 0-/2",
            "bytes  0-1/2",
            "bytes 0 - 1/2",
            "bytes=0-1/2",
            "bytes 0-1/2 ",
            "bytes 0-1/2,bytes 0-1/2",
            "bytes 0-18446744073709551616/18446744073709551617",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_content_range_that_is_read_is_ordered_and_spelled_back(field in "(bytes|Bytes|b)? ?[0-9+*-]{0,4}-?[0-9]{0,21}/?[0-9*]{0,21}") {
            if let Some(ContentRange { first, last, complete }) = ContentRange::parse(&field) {
                prop_assert!(first <= last && last < complete);
            }
        }

        #[test]
        fn an_honest_content_range_is_read(first in 0..u64::MAX - 2, more in 0u64..1 << 40, rest in 1u64..1 << 40) {
            let last = first.saturating_add(more).min(u64::MAX - 1);
            let complete = last.saturating_add(rest);
            let parsed = ContentRange::parse(&format!("bytes {first}-{last}/{complete}"));
            prop_assert_eq!(parsed, Some(ContentRange { first, last, complete }));
        }

        #[test]
        fn arbitrary_text_never_panics(field in "\\PC{0,40}") {
            let _ = ContentRange::parse(&field);
        }
    }
}
