use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::cause::Cause;
use super::reach::UrlRefusal;
use super::tar_bundle::BundleError;
use crate::sys::SysError;
use crate::tuf::{MetadataError, Mismatch};
use crate::types::ByteLimit;

/// Why a listing or an asset could not be had. Nothing was kept of it, and the node runs on as it is.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The HTTP client cannot be set up.
    #[error(
        "cannot set up the HTTP client: {0}. Check source.ca_file, SSL_CERT_FILE, SSL_CERT_DIR and the proxy variables"
    )]
    Client(Cause),
    /// An address that is not requested.
    #[error("not requesting {url}: {refusal}")]
    Address {
        /// The address.
        url: String,
        /// The rule that it breaks.
        refusal: UrlRefusal,
    },
    /// A redirect that is not followed.
    #[error("not following the redirect from {from} to {to}: {refusal}")]
    Redirect {
        /// Who redirects.
        from: String,
        /// Where to.
        to: String,
        /// The rule that it breaks.
        refusal: UrlRefusal,
    },
    /// Redirected again and again.
    #[error("{url} was redirected more than {limit} times; the server sends its clients in circles")]
    TooManyRedirects {
        /// The address that was asked for.
        url: String,
        /// How many are followed.
        limit: u32,
    },
    /// No connection.
    #[error("cannot connect to {url}: {cause}")]
    Connect {
        /// The address.
        url: String,
        /// The system's reason.
        cause: Cause,
    },
    /// The server did not prove who it is.
    #[error(
        "no trusted TLS connection to {url}: {cause}. Check the clock and the trust store (SSL_CERT_FILE); an authority of your own, or of a proxy that opens TLS, goes into source.ca_file"
    )]
    Tls {
        /// The address.
        url: String,
        /// What is wrong.
        cause: Cause,
    },
    /// The server fell silent.
    #[error("{url} sent nothing for {} s", after.as_secs_f32())]
    Stalled {
        /// The address.
        url: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// It dripped.
    #[error(
        "{url} sent fewer than {rate} bytes per second over {} s. If the line is that slow, lower source.minimum_rate",
        over.as_secs_f32()
    )]
    TooSlow {
        /// The address.
        url: String,
        /// The least that is accepted, in bytes per second.
        rate: u64,
        /// The time over which it is measured.
        over: Duration,
    },
    /// The whole took too long.
    #[error("{url} did not finish within {} s", within.as_secs_f32())]
    OutOfTime {
        /// The address.
        url: String,
        /// The time it had.
        within: Duration,
    },
    /// The connection broke off, or the body ended before its announced length.
    #[error("{url} broke off: {cause}")]
    BrokenOff {
        /// The address.
        url: String,
        /// The system's reason.
        cause: Cause,
    },
    /// An answer that is not HTTP, or whose head is longer than any honest one.
    #[error("{url} does not answer in HTTP that can be accepted: {cause}")]
    BadAnswer {
        /// The address.
        url: String,
        /// What is wrong.
        cause: Cause,
    },
    /// Asked for the rest of a broken download, and answered with something else.
    #[error("{url} did not go on where its download broke off; nothing of the first part is kept")]
    NotContinued {
        /// The address.
        url: String,
    },
    /// The budget of requests is spent.
    #[error(
        "{url} answers no more requests from here until {until:.0}: the rate limit is reached. Nothing is asked before; \
         a token in GH_TOKEN raises GitHub's limit"
    )]
    RateLimited {
        /// The address.
        url: String,
        /// When it answers again.
        until: Timestamp,
        /// The same, from now.
        pause: Duration,
    },
    /// Not asked at all, because the server asked for that.
    #[error("not asking {url} before {until:.0}: the server has asked to be left alone until then")]
    LeftAlone {
        /// The address.
        url: String,
        /// When it may be asked again.
        until: Timestamp,
        /// The same, from now.
        pause: Duration,
    },
    /// A status other than the one that was asked for.
    #[error("{url} answered with status {status}{}{}", wish(*.retry_after), hint(*.status))]
    Status {
        /// The address.
        url: String,
        /// The status code.
        status: u16,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// A body in a content coding, which was not asked for.
    #[error("{url} sends its body in a content coding, although none was asked for")]
    Encoded {
        /// The address.
        url: String,
    },
    /// Longer than allowed, by announcement or in fact.
    #[error("{url} is longer than the {limit} that are accepted for it (archives: see limits.archive)")]
    TooLong {
        /// The address.
        url: String,
        /// The limit.
        limit: ByteLimit,
    },
    /// Ended at another length than the listing or the server stated.
    #[error("{url} ended after {received} bytes, and {stated} were announced; nothing of it was kept")]
    Length {
        /// The address.
        url: String,
        /// The stated length.
        stated: u64,
        /// The received length.
        received: u64,
    },
    /// A web page in place of the listing.
    #[error(
        "{url} is a web page, not a release listing: the address is wrong, or a login page or captive portal answers in its place"
    )]
    WebPage {
        /// The address.
        url: String,
    },
    /// Not a release listing.
    #[error("{url} is not a release listing: {source}")]
    NotAListing {
        /// The address.
        url: String,
        /// Where it departs from one.
        source: serde_json::Error,
    },
    /// Metadata that is not trusted.
    #[error(
        "the release metadata at {url} is not trusted: {source}. No release is gone to on its word; what was trusted before still is"
    )]
    Metadata {
        /// The base of the metadata.
        url: String,
        /// Why.
        source: Box<MetadataError>,
    },
    /// Nobody could be asked for newer metadata.
    #[error(
        "{source}. The release metadata that this node trusts ({role}) counts until {until:.0}; no release is gone to before newer metadata comes"
    )]
    Frozen {
        /// Why nobody could be asked.
        source: Box<FetchError>,
        /// The role whose metadata expires first.
        role: String,
        /// When, or since when.
        until: Timestamp,
    },
    /// Metadata that has to be there is not.
    #[error("{url} is not there, and it has to be: check source.tuf, or the repository is being published just now")]
    NoMetadata {
        /// The file.
        url: String,
    },
    /// A file that is not the one that the metadata describes.
    #[error("{url} is not the file that the release metadata describes: {source}. Nothing of it was kept")]
    NotDescribed {
        /// The address.
        url: String,
        /// What differs.
        source: Mismatch,
    },
    /// What the node trusts cannot be read or written.
    #[error("cannot use what this node remembers of release metadata: {0}")]
    Trust(#[source] SysError),
    /// Another process brings it up to date, and does not finish.
    #[error("another process has been using {} for too long; ask again when it is done", folder.display())]
    TrustBusy {
        /// The folder.
        folder: PathBuf,
    },
    /// The download cannot be written.
    #[error("cannot write the download of {url}: {source}; look at the space where the install folder lies")]
    Write {
        /// The address.
        url: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The API knows no such repository, or does not show it.
    #[error(
        "{url} was not found: check source.github, or {}",
        if *.with_token { "whether the token in GH_TOKEN may read that repository" }
        else { "put a token into GH_TOKEN where the repository is private" }
    )]
    NoRepository {
        /// The address.
        url: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The API does not know the token.
    #[error(
        "{url} {}",
        if *.with_token { "does not accept the token in GH_TOKEN or GITHUB_TOKEN: renew it, or unset the variable" }
        else { "wants to know who asks: put a token into GH_TOKEN" }
    )]
    TokenRefused {
        /// The address.
        url: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// A bundle is none.
    #[error("cannot use the bundle {}: {source}", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BundleError,
    },
    /// The extra authorities cannot be used.
    #[error("cannot use source.ca_file {}: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: AuthoritiesError,
    },
    /// The release folder, or the bundle, cannot be read.
    #[error("cannot read the releases: {0}")]
    Folder(#[from] SysError),
    /// A file of the release folder or bundle cannot be read to its end.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The program is ending, and its threads took no more work.
    #[error("stopped, because the program is ending")]
    Stopped,
}

/// Why a file with extra authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SysError),
    /// It is not PEM, or what is in it is no certificate.
    #[error("it is not a list of certificates in PEM form: {0}")]
    NotPem(Cause),
    /// There is none in it.
    #[error("it holds no certificate; put the authority's certificate there, in PEM form")]
    Empty,
}

fn wish(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |pause| format!(", and asks to wait {} s", pause.as_secs()))
}

/// What a person may want to look at.
fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "; a node sends no credentials, so the server must not ask for any",
        404 | 410 => "; check the address, and whether the release was published whole",
        _ => "",
    }
}

impl FetchError {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Address { .. } => "address",
            Self::Redirect { .. } | Self::TooManyRedirects { .. } => "redirect",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Stalled { .. } => "stalled",
            Self::TooSlow { .. } => "too_slow",
            Self::OutOfTime { .. } => "out_of_time",
            Self::BrokenOff { .. } => "broken_off",
            Self::BadAnswer { .. } => "bad_answer",
            Self::NotContinued { .. } => "not_continued",
            Self::RateLimited { .. } | Self::LeftAlone { .. } => "rate_limited",
            Self::Status { .. } => "status",
            Self::Encoded { .. } => "encoded",
            Self::TooLong { .. } => "too_long",
            Self::Length { .. } => "length",
            Self::WebPage { .. } => "web_page",
            Self::NotAListing { .. } => "not_a_listing",
            Self::Metadata { source, .. } => match **source {
                MetadataError::Expired { .. } => "metadata_expired",
                _ => "metadata",
            },
            Self::Frozen { source, .. } => source.kind(),
            Self::NoMetadata { .. } => "no_metadata",
            Self::NotDescribed { .. } => "not_described",
            Self::Trust(_) | Self::TrustBusy { .. } => "trust",
            Self::Write { .. } => "write",
            Self::NoRepository { .. } => "no_repository",
            Self::TokenRefused { .. } => "token_refused",
            Self::Bundle { .. } => "bundle",
            Self::Authorities { .. } => "authorities",
            Self::Folder(_) | Self::Read { .. } => "folder",
            Self::Stopped => "stopped",
        }
    }

    /// How long the server asks to be left alone, if it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::RateLimited { pause, .. } | Self::LeftAlone { pause, .. } => Some(*pause),
            Self::Frozen { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// Whether the fault lies on this side, so that no other server would do better.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Client(_)
                | Self::Authorities { .. }
                | Self::Write { .. }
                | Self::Trust(_)
                | Self::TrustBusy { .. }
                | Self::Stopped
        )
    }

    /// Whether what was received as metadata is not what it must be.
    #[must_use]
    pub fn is_metadata(&self) -> bool {
        matches!(self, Self::Metadata { .. } | Self::NoMetadata { .. } | Self::TooLong { .. })
    }

    /// Whether something that claimed to be trusted did not verify.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        matches!(self, Self::Metadata { .. } | Self::NotDescribed { .. })
    }

    /// Whether the same request may go better in a moment.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Stalled { .. } | Self::TooSlow { .. } | Self::BrokenOff { .. } => true,
            Self::NotContinued { .. } | Self::RateLimited { .. } | Self::LeftAlone { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }
}
