use std::fs::File;
use std::future::Future;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderValue, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE,
};
use reqwest::{Certificate, Client, Response, redirect, retry};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::Url;

use super::Progress;
use super::backoff::backoff;
use super::body::{Body, FileBody};
use super::cause::Cause;
use super::error::{AuthoritiesError, FetchError};
use super::pace::Pace;
use super::quiet::Quiet;
use super::reach::{Reach, UrlRefusal, is_loopback, shown};
use super::resume::Begun;
use super::settings::HttpSettings;
use crate::sys::read_config;
use crate::types::ByteLimit;

/// How many redirects are followed.
const REDIRECTS: u32 = 5;

/// An attempt that brought so much of a file does not count: a long download over a bad line is
/// bounded by its time.
const HEADWAY: u64 = 1 << 20;

/// The longest pause before the same server is asked again while another one is left to ask.
const BRIEF: Duration = Duration::from_secs(5);

/// More than all public authorities together.
const AUTHORITIES_LIMIT: ByteLimit = ByteLimit::mib(4);

/// GET, bounded in every direction.
///
/// Proxies come from the environment (`HTTPS_PROXY`, `NO_PROXY`, ...) as everywhere; loopback is
/// always spoken to directly. Certificates are judged by the platform's trust store, or by
/// `SSL_CERT_FILE`, and by the authorities of the settings.
#[derive(Debug)]
pub struct Http {
    settings: HttpSettings,
    quiet: Quiet,
    /// Whether proxies are left out everywhere.
    always_direct: bool,
    // Built at first use: a node that only ever reads a folder needs no trust store.
    proxied: OnceLock<Client>,
    direct: OnceLock<Client>,
}

/// What is asked for.
pub(super) struct Get<'a> {
    pub(super) url: &'a Url,
    pub(super) reach: &'a Reach,
    pub(super) cap: ByteLimit,
    pub(super) within: Duration,
    pub(super) if_none_match: Option<&'a HeaderValue>,
    /// Further header fields.
    pub(super) fields: &'a [(&'static str, &'static str)],
    /// Sent with the first request alone: never to where a redirect leads.
    pub(super) token: Option<&'a HeaderValue>,
    /// Whether no other server is left to ask: only then is waiting long worth while.
    pub(super) is_last: bool,
}

impl<'a> Get<'a> {
    pub(super) fn new(url: &'a Url, reach: &'a Reach, cap: ByteLimit, within: Duration) -> Self {
        Self { url, reach, cap, within, if_none_match: None, fields: &[], token: None, is_last: true }
    }
}

/// What came of it, besides the body.
pub(super) enum Answer {
    Whole { length: u64, head: HeaderMap },
    NotModified,
}

impl Http {
    /// A client under these settings. Opens nothing yet.
    #[must_use]
    pub fn new(settings: &HttpSettings) -> Self {
        Self {
            settings: settings.clone(),
            quiet: Quiet::default(),
            always_direct: false,
            proxied: OnceLock::new(),
            direct: OnceLock::new(),
        }
    }

    /// As [`Self::new`], for servers that no proxy leads to.
    #[must_use]
    pub(super) fn direct(settings: &HttpSettings) -> Self {
        Self { always_direct: true, ..Self::new(settings) }
    }

    pub(super) fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// Streams what is at `url` into a file, at most `cap` bytes, and returns their number. The file
    /// is overwritten; it is at its start afterwards, and empty after an error.
    pub async fn download(
        &self,
        url: &Url,
        reach: &Reach,
        into: &mut File,
        cap: ByteLimit,
        progress: &mut Progress<'_>,
    ) -> Result<u64, FetchError> {
        self.download_as(Get::new(url, reach, cap, self.settings.asset_timeout), into, progress).await
    }

    /// As [`Self::download`], asking in this way.
    pub(super) async fn download_as(
        &self,
        get: Get<'_>,
        into: &mut File,
        progress: &mut Progress<'_>,
    ) -> Result<u64, FetchError> {
        let body = FileBody::new(into).map_err(|source| FetchError::Write { url: shown(get.url), source })?;
        match self.get(&get, &mut Body::File(body), progress).await? {
            Answer::Whole { length, .. } => Ok(length),
            // Nothing was asked that this could answer.
            Answer::NotModified => Err(FetchError::Status { url: shown(get.url), status: 304, retry_after: None }),
        }
    }

    /// Tries until it succeeds, fails for good, or runs out of attempts or time.
    pub(super) async fn get(
        &self,
        get: &Get<'_>,
        body: &mut Body,
        progress: &mut Progress<'_>,
    ) -> Result<Answer, FetchError> {
        let write = |source| FetchError::Write { url: shown(get.url), source };
        body.clear().await.map_err(write)?;
        get.reach.admit(get.url, None).map_err(|refusal| FetchError::Address { url: shown(get.url), refusal })?;
        let deadline = Instant::now() + get.within;
        let HttpSettings { attempts, longest_pause, .. } = self.settings;
        let (attempts, longest_pause) =
            if get.is_last { (attempts, longest_pause) } else { (attempts.min(2), longest_pause.min(BRIEF)) };
        let mut attempt = 1;
        let mut begun = None;
        loop {
            let had = body.length();
            let error = match timeout_at(deadline, self.attempt(get, &mut begun, body, progress)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => FetchError::OutOfTime { url: shown(get.url), within: get.within },
            };
            if begun.is_some() && body.length() >= had.saturating_add(HEADWAY) {
                attempt = 1;
            }
            let pause = error.retry_after().unwrap_or_else(|| backoff(attempt, random()));
            let hopeless = attempt >= attempts
                || pause > longest_pause
                || pause >= deadline.saturating_duration_since(Instant::now());
            if hopeless || !error.is_transient() {
                body.clear().await.map_err(write)?;
                return Err(error);
            }
            match begun {
                Some(_) => body.keep().await,
                None => body.clear().await,
            }
            .map_err(write)?;
            tracing::info!(
                event = "fetch_retry",
                kind = error.kind(),
                attempt,
                kept = body.length(),
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                "{error}; trying again"
            );
            sleep(pause).await;
            attempt += 1;
        }
    }

    /// One request and its redirects. What is in `body` beforehand stays only where the server goes
    /// on exactly behind it; `begun` says afterwards whether what is there then may be gone on from.
    async fn attempt(
        &self,
        get: &Get<'_>,
        begun: &mut Option<Begun>,
        body: &mut Body,
        progress: &mut Progress<'_>,
    ) -> Result<Answer, FetchError> {
        let mut url = get.url.clone();
        for hop in 0..=REDIRECTS {
            let had = body.length();
            let rest = begun.as_ref().filter(|_| had > 0);
            let response = self.head(&url, get, hop == 0, rest.map(|begun| (begun, had))).await?;
            let going_on = rest.is_some();
            match response.status().as_u16() {
                200 => {
                    body.clear().await.map_err(|source| FetchError::Write { url: shown(&url), source })?;
                    // A listing is short, and is had whole or not at all.
                    let file = matches!(body, Body::File(_));
                    *begun = file.then(|| Begun::of(&url, response.headers(), response.content_length())).flatten();
                    let whole = response.content_length();
                    return self.receive(&url, response, whole, get, body, progress).await;
                }
                206 if going_on => {
                    let Some(whole) = rest.and_then(|begun| begun.goes_on(&url, response.headers(), had)) else {
                        *begun = None;
                        return Err(FetchError::NotContinued { url: shown(&url) });
                    };
                    if response.content_length().is_some_and(|stated| stated != whole - had) {
                        *begun = None;
                        return Err(FetchError::NotContinued { url: shown(&url) });
                    }
                    return self.receive(&url, response, Some(whole), get, body, progress).await;
                }
                416 if going_on => {
                    *begun = None;
                    return Err(FetchError::NotContinued { url: shown(&url) });
                }
                304 if get.if_none_match.is_some() => return Ok(Answer::NotModified),
                301 | 302 | 303 | 307 | 308 => url = redirected(&url, &response, get.reach)?,
                status => return Err(self.quiet.refusal(&url, status, response.headers())),
            }
        }
        Err(FetchError::TooManyRedirects { url: shown(get.url), limit: REDIRECTS })
    }

    async fn head(
        &self,
        url: &Url,
        get: &Get<'_>,
        is_first: bool,
        rest: Option<(&Begun, u64)>,
    ) -> Result<Response, FetchError> {
        self.quiet.heed(url)?;
        let client = self.client(self.always_direct || is_loopback(url))?;
        let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(etag) = get.if_none_match {
            request = request.header(IF_NONE_MATCH, etag);
        }
        for (name, value) in get.fields {
            request = request.header(*name, *value);
        }
        if let Some(token) = get.token.filter(|_| is_first) {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some((begun, had)) = rest {
            request = request.header(RANGE, format!("bytes={had}-")).header(IF_RANGE, begun.validator());
        }
        self.unless_stalled(url, request.send()).await
    }

    /// Appends the body of an answer; `whole` is the complete length where one is announced.
    async fn receive(
        &self,
        url: &Url,
        mut response: Response,
        whole: Option<u64>,
        get: &Get<'_>,
        body: &mut Body,
        progress: &mut Progress<'_>,
    ) -> Result<Answer, FetchError> {
        let coding = response.headers().get(CONTENT_ENCODING);
        if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(FetchError::Encoded { url: shown(url) });
        }
        let too_long = || FetchError::TooLong { url: shown(url), limit: get.cap };
        if whole.is_some_and(|whole| !get.cap.admits(whole)) {
            return Err(too_long());
        }
        let HttpSettings { minimum_rate: rate, rate_window: over, .. } = self.settings;
        let mut length = body.length();
        let mut pace = Pace::new(rate, over, std::time::Instant::now(), length);
        progress(length, whole);
        while let Some(piece) = self.unless_stalled(url, response.chunk()).await? {
            length += piece.len() as u64;
            if !get.cap.admits(length) {
                return Err(too_long());
            }
            if let Some(stated) = whole.filter(|whole| length > *whole) {
                return Err(FetchError::Length { url: shown(url), stated, received: length });
            }
            body.push(&piece).await.map_err(|source| FetchError::Write { url: shown(url), source })?;
            progress(length, whole);
            if !pace.holds(std::time::Instant::now(), length) {
                return Err(FetchError::TooSlow { url: shown(url), rate, over });
            }
        }
        if let Some(stated) = whole.filter(|whole| *whole != length) {
            return Err(FetchError::Length { url: shown(url), stated, received: length });
        }
        body.finish().await.map_err(|source| FetchError::Write { url: shown(url), source })?;
        Ok(Answer::Whole { length, head: std::mem::take(response.headers_mut()) })
    }

    async fn unless_stalled<T>(
        &self,
        url: &Url,
        step: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> Result<T, FetchError> {
        let after = self.settings.stall_timeout;
        match timeout(after, step).await {
            Ok(outcome) => outcome.map_err(|error| classify(url, error)),
            Err(_) => Err(FetchError::Stalled { url: shown(url), after }),
        }
    }

    pub(super) fn client(&self, direct: bool) -> Result<&Client, FetchError> {
        let cell = if direct { &self.direct } else { &self.proxied };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        // Already installed, by us or by the program around us, is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("exuvia/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(self.settings.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(1);
        if let Some(path) = &self.settings.ca_file {
            let refused = |reason| FetchError::Authorities { path: path.clone(), reason };
            builder = builder.tls_certs_merge(authorities(path).map_err(refused)?);
        }
        if direct {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| FetchError::Client(Cause::new(error)))?;
        Ok(cell.get_or_init(|| client))
    }
}

/// The authorities in a file that nobody but its owner may change.
fn authorities(path: &Path) -> Result<Vec<Certificate>, AuthoritiesError> {
    let pem = read_config(path, AUTHORITIES_LIMIT)?;
    let all = Certificate::from_pem_bundle(&pem).map_err(|error| AuthoritiesError::NotPem(Cause::new(error)))?;
    if all.is_empty() { Err(AuthoritiesError::Empty) } else { Ok(all) }
}

fn redirected(from: &Url, response: &Response, reach: &Reach) -> Result<Url, FetchError> {
    let refuse = |to: String, refusal| FetchError::Redirect { from: shown(from), to, refusal };
    let target = response.headers().get(LOCATION).and_then(|field| field.to_str().ok());
    let to = target
        .and_then(|target| from.join(target).ok())
        .ok_or_else(|| refuse("nowhere".to_owned(), UrlRefusal::NotAnAddress))?;
    reach.admit(&to, Some(from)).map_err(|refusal| refuse(shown(&to), refusal))?;
    Ok(to)
}

fn classify(url: &Url, error: reqwest::Error) -> FetchError {
    let (connecting, cause, url) = (error.is_connect(), Cause::new(error), shown(url));
    if cause.find::<rustls::Error>().is_some() {
        return FetchError::Tls { url, cause };
    }
    if connecting {
        return FetchError::Connect { url, cause };
    }
    if cause.find::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        return FetchError::BadAnswer { url, cause };
    }
    FetchError::BrokenOff { url, cause }
}

fn random() -> u32 {
    // Without randomness the pause is the shortest of its step, which is still a pause.
    getrandom::u32().unwrap_or(0)
}
