//! From settings to the source of releases.

use url::Url;

use super::github::{GitHubReleases, Repository, RepositoryError};
use super::location::{Location, LocationError};
use super::mirror::{Mirror, MirrorError};
use super::reach::{HostName, HostNameError};
use super::settings::HttpSettings;
use super::source::ReleaseSource;
use super::static_listing::StaticListing;
use super::token::Token;
use crate::config::{Settings, Source};
use crate::sys::PrivateDir;

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
    /// A host.
    #[error("a host in the settings cannot be used: it {0}")]
    Host(#[from] HostNameError),
}

impl ReleaseSource {
    /// The source that the settings name, if they name one. `shared` is the folder in which the nodes of
    /// a host share listings. Opens nothing yet.
    pub fn configured(settings: &Settings, shared: Option<PrivateDir>) -> Result<Option<Self>, SourceError> {
        let http = http(settings)?;
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
