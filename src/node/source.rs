//! From settings to the source of releases.

use url::Url;

use crate::config::{Settings, Source};
use crate::fetch::{
    GitHubReleases, HostName, HostNameError, HttpSettings, Location, LocationError, Mirror, MirrorError, ReleaseSource,
    Repository, RepositoryError, StaticListing, Token,
};
use crate::sys::PrivateDir;

/// Why the settings name no source.
#[derive(Clone, Copy, Debug, thiserror::Error)]
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

/// The configured source, if there is one. Opens nothing yet.
pub(super) fn source(settings: &Settings, shared: Option<PrivateDir>) -> Result<Option<ReleaseSource>, SourceError> {
    let http = http(settings)?;
    let Source { listing, github, github_api, mirrors, .. } = &settings.source;
    if let Some(listing) = listing {
        let mirrors = mirrors.iter().map(|mirror| mirror.parse()).collect::<Result<Vec<Mirror>, _>>()?;
        let listing = StaticListing::new(listing.parse::<Location>()?, &http, shared).with_mirrors(mirrors);
        return Ok(Some(ReleaseSource::Listing(listing)));
    }
    let Some(repository) = github else { return Ok(None) };
    let (api, repository): (Url, Repository) = (github_api.parse()?, repository.parse()?);
    let releases = GitHubReleases::new(api, repository, token(), &http, shared);
    Ok(Some(ReleaseSource::GitHub(releases)))
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
