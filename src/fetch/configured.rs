//! From settings to the source of releases.

use std::path::PathBuf;

use url::Url;

use super::github::{GitHubReleases, Repository, RepositoryError};
use super::location::{Location, LocationError};
use super::mirror::{Mirror, MirrorError};
use super::reach::{HostName, HostNameError};
use super::settings::HttpSettings;
use super::source::ReleaseSource;
use super::static_listing::StaticListing;
use super::token::Token;
use super::tuf::{TargetsPlace, TargetsPlaceError, TufClient, TufSource};
use crate::config::{Settings, Source};
use crate::sys::{Loose, PrivateDir};
use crate::tuf::Standing;
use crate::types::{Product, Target};

/// Why the settings name no source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The listing's address.
    #[error("the setting source.listing cannot be used: it {0}")]
    Listing(#[from] LocationError),
    /// The repository.
    #[error("the setting source.github cannot be used: it {0}")]
    Repository(#[from] RepositoryError),
    /// The API's address.
    #[error("the setting source.github_api cannot be used: {0}")]
    Api(#[from] url::ParseError),
    /// A mirror.
    #[error("the setting source.mirrors cannot be used: an entry {0}")]
    Mirror(#[from] MirrorError),
    /// No root of trust.
    #[error(
        "the setting source.tuf cannot be used: this build holds no root of trust (root.json beside its release keys); build with one, or follow source.listing or source.github"
    )]
    NoRoot,
    /// The metadata's address.
    #[error("the setting source.tuf cannot be used: it {0}")]
    Metadata(MirrorError),
    /// A place of files.
    #[error("the setting source.targets cannot be used: an entry {0}")]
    Targets(#[from] TargetsPlaceError),
    /// A host.
    #[error("a host in the settings cannot be used: it {0}")]
    Host(#[from] HostNameError),
}

/// What a source needs to know of the program that asks.
#[derive(Clone, Debug)]
pub struct Local<'a> {
    /// The product whose releases are followed.
    pub product: &'a Product,
    /// The exact target triple.
    pub target: &'a Target,
    /// The root of trust that came with the program, if one did.
    pub root: Option<&'static [u8]>,
    /// The folder in which the nodes of a host share listings and metadata.
    pub shared: Option<PrivateDir>,
}

/// The folder in a node's data that holds what it trusts.
const TRUST: &str = "trust";

impl ReleaseSource {
    /// The source that the settings name, if they name one. Opens nothing yet.
    pub fn configured(settings: &Settings, local: &Local<'_>) -> Result<Option<Self>, SourceError> {
        let (http, shared) = (http(settings)?, local.shared.clone());
        if let Some(tuf) = &settings.source.tuf {
            return Self::tuf(settings, tuf, local, &http).map(Some);
        }
        let Source { listing, github, github_api, mirrors, .. } = &settings.source;
        if let Some(listing) = listing {
            let mirrors = mirrors.iter().map(|mirror| mirror.parse()).collect::<Result<Vec<Mirror>, _>>()?;
            let listing = StaticListing::new(listing.parse::<Location>()?, &http, shared).with_mirrors(mirrors);
            return Ok(Some(Self::Listing(listing)));
        }
        let Some(repository) = github else { return Ok(None) };
        let (api, repository): (Url, Repository) = (github_api.parse()?, repository.parse()?);
        Ok(Some(Self::GitHub(GitHubReleases::new(api, repository, token(), &http, shared))))
    }
}

impl ReleaseSource {
    fn tuf(settings: &Settings, tuf: &str, local: &Local<'_>, http: &HttpSettings) -> Result<Self, SourceError> {
        let client = Self::client(settings, local).ok_or(SourceError::NoRoot)?;
        let own: Mirror = tuf.parse().map_err(SourceError::Metadata)?;
        let mut targets = settings.source.targets.iter().map(|place| place.parse()).collect::<Result<Vec<_>, _>>()?;
        if targets.is_empty() {
            targets.push(TargetsPlace::beside(&own)?);
        }
        let mut metadata = vec![own];
        for mirror in &settings.source.mirrors {
            metadata.push(mirror.parse()?);
        }
        Ok(Self::Tuf(TufSource::new(metadata, targets, client, http, local.shared.clone())))
    }

    /// How release metadata is verified here, wherever it comes from. `None`: the program holds no root of trust.
    #[must_use]
    pub fn client(settings: &Settings, local: &Local<'_>) -> Option<TufClient> {
        Some(TufClient {
            product: local.product.clone(),
            target: local.target.clone(),
            root: local.root?,
            trust: Self::trust(settings),
        })
    }

    /// The folder of what a node with these settings trusts of release metadata.
    #[must_use]
    pub fn trust(settings: &Settings) -> PathBuf {
        settings.data_dir.join(TRUST)
    }

    /// How long the metadata is valid that a node with these settings trusts, for those who ask while it does
    /// not run. `None`: it follows no metadata, or trusts none yet.
    #[must_use]
    pub fn standing_on_disk(settings: &Settings) -> Option<Standing> {
        settings.source.tuf.as_ref()?;
        let trust = PrivateDir::open_existing(Self::trust(settings), Loose::RefuseWritable).ok()?;
        Standing::read(&trust)
    }
}

fn http(settings: &Settings) -> Result<HttpSettings, HostNameError> {
    let hosts = |names: &[String]| names.iter().map(|host| host.parse()).collect::<Result<Vec<HostName>, _>>();
    Ok(HttpSettings {
        asset_hosts: hosts(&settings.source.asset_hosts)?,
        plain_http_hosts: hosts(&settings.source.allow_plain_http)?,
        listing_lifetime: settings.poll.listing_ttl,
        minimum_rate: settings.source.minimum_rate.get(),
        ca_file: settings.source.ca_file.clone(),
        ..HttpSettings::default()
    })
}

/// From the environment alone: what is in a file is in its backups too.
fn token() -> Option<Token> {
    match Token::from_variables(|name| std::env::var_os(name)) {
        Ok(token) => token,
        Err((name, error)) => {
            // No reason to stop: a public repository needs none.
            tracing::warn!(event = "token_unusable", "the token in {name} {error}; going on without it");
            None
        }
    }
}
