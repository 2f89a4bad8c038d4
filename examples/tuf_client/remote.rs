//! A repository over HTTP: one request for a file, without retries, redirects or anything speculative.

use std::io::Write;
use std::time::{Duration, Instant};

use exuvia::tuf::{Answer, RemoteFile, Repository};
use reqwest::{StatusCode, redirect, retry};

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a connection, and between two pieces of an answer.
    pub(crate) silence: Duration,
    /// From when on an answer must have come at the rate.
    pub(crate) grace: Duration,
    /// Bytes in a second, from the request on.
    pub(crate) rate: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { silence: Duration::from_secs(30), grace: Duration::from_secs(30), rate: 1024 }
    }
}

/// The repository.
#[derive(Debug)]
pub(crate) struct Remote {
    client: reqwest::Client,
    metadata: String,
    targets: String,
    patience: Patience,
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// No connection, no answer in time, or one that broke off.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// Neither the file nor its absence.
    #[error("the server answered with status {0}")]
    Status(StatusCode),
    /// It would have taken for ever.
    #[error("the server sent fewer than {rate} bytes a second, and was given up")]
    TooSlow {
        /// What it must send.
        rate: u32,
    },
    /// Whoever takes the bytes wants no more.
    #[error("cut off: {0}")]
    Cut(#[from] std::io::Error),
}

impl Remote {
    /// Below these addresses, to which nothing but names is added.
    pub(crate) fn new(metadata: &str, targets: Option<&str>, patience: Patience) -> Result<Self, RemoteError> {
        // Nobody else has chosen one in this process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .pool_max_idle_per_host(0)
            .no_proxy()
            .connect_timeout(patience.silence)
            .read_timeout(patience.silence)
            .build()?;
        let base = |url: &str| format!("{}/", url.strip_suffix('/').unwrap_or(url));
        Ok(Self { client, metadata: base(metadata), targets: targets.map(base).unwrap_or_default(), patience })
    }
}

impl Repository for Remote {
    type Error = RemoteError;

    async fn fetch(&mut self, file: RemoteFile<'_>, into: &mut (dyn Write + Send)) -> Result<Answer, RemoteError> {
        let url = match file {
            RemoteFile::Metadata(name) => format!("{}{name}", self.metadata),
            RemoteFile::Target(path) => format!("{}{path}", self.targets),
        };
        let (began, mut received) = (Instant::now(), 0_u64);
        let mut response = self.client.get(url).send().await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => return Ok(Answer::Absent),
            status => return Err(RemoteError::Status(status)),
        }
        let Patience { grace, rate, .. } = self.patience;
        while let Some(piece) = response.chunk().await? {
            into.write_all(&piece)?;
            received += piece.len() as u64;
            let taken = began.elapsed();
            if taken > grace && (received as f64) < taken.as_secs_f64() * f64::from(rate) {
                return Err(RemoteError::TooSlow { rate });
            }
        }
        Ok(Answer::Whole)
    }
}
