//! Release metadata that somebody carried here, in a bundle.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::super::bundle::Bundle;
use super::super::error::FetchError;
use super::super::folder::lost;
use super::super::listing::{Listing, Origin};
use super::remote::limit;
use super::{TufClient, explained, releases, say_set_aside};
use crate::sys::{Loose, PrivateDir, SysError};
use crate::tuf::{Answer, RemoteFile, Repository, Rules, Store, Updater};

/// How long to wait for another process that brings the same node's metadata up to date.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bundle's metadata, asked like a server's.
struct InBundle<'a>(&'a Bundle);

impl Repository for InBundle<'_> {
    type Error = FetchError;

    async fn fetch(&mut self, file: RemoteFile<'_>, into: &mut (dyn Write + Send)) -> Result<Answer, FetchError> {
        let RemoteFile::Metadata(file) = file else { return Ok(Answer::Absent) };
        let Some(bytes) = self.0.metadata_file(file, limit(file)).await? else { return Ok(Answer::Absent) };
        match into.write_all(&bytes) {
            Ok(()) => Ok(Answer::Whole),
            Err(source) => Err(FetchError::Write { url: format!("{}/{file}", self.0), source }),
        }
    }
}

/// The releases that a bundle's metadata describes, verified and held against what the node trusts, as a server's
/// is. `valid_at` is the one time at which all expiries are judged.
pub(in crate::fetch) async fn refresh(
    bundle: &Bundle,
    client: &TufClient,
    valid_at: Timestamp,
) -> Result<Listing, FetchError> {
    let store = open_store(&client.trust).await?;
    let mut updater = Updater::new(InBundle(bundle), store, client.root.to_vec(), Rules::own());
    let outcome = updater.refresh(valid_at).await;
    let outcome =
        outcome.map(|refreshed| releases::listing(refreshed.targets(), &client.product, &client.target, Origin::Whole));
    say_set_aside(updater.take_set_aside());
    outcome.map_err(|error| explained(format!("{bundle}/"), error))
}

/// What a node trusts, for one update at a time.
pub(super) async fn open_store(trust: &Path) -> Result<Store, FetchError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let folder = trust.to_owned();
        let open = move || -> Result<Option<Store>, SysError> {
            Store::open(PrivateDir::open_or_create(folder, Loose::RefuseWritable)?.as_dir())
        };
        match lost(spawn_blocking(move || Ok(open()))).await?.map_err(FetchError::Trust)? {
            Some(store) => return Ok(store),
            None if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
            None => return Err(FetchError::TrustBusy { folder: trust.to_owned() }),
        }
    }
}
