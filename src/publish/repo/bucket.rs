use std::fmt;
use std::future::Future;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    Attribute, BackoffConfig, ClientConfigKey, GetOptions, ObjectMeta, ObjectStore as _, ObjectStoreExt as _,
    RetryConfig, WriteMultipart,
};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use url::Url;

use super::claim::{Claims, Outcome};
use super::doctor::{Check, Scratch, conditional};
use super::place::{Hold, Place, PlaceError, Stored};
use crate::types::ByteLimit;

/// A repository in an object store that speaks S3. Nothing of it is trusted: what was written is read back, and no
/// conditional write is relied on, because some stores ignore the condition.
pub struct Bucket(Arc<Store>);

/// The store, and a runtime of its own: whoever publishes has none.
pub(super) struct Store {
    pub(super) runtime: Runtime,
    pub(super) s3: AmazonS3,
    /// Without a slash at either end; empty for the whole bucket.
    prefix: String,
    shown: String,
}

/// A part of a long upload. S3 takes at most 10,000 of them, and none below 5 MiB but the last.
const PART: usize = 16 << 20;
/// So many parts are under way at a time.
const PARTS_AT_ONCE: usize = 2;
/// No folder of a repository has as many files. A store that lists more is not believed.
const MOST_NAMES: usize = 100_000;
/// For a request, and for all attempts at one.
const REQUEST: &str = "60 seconds";
const ATTEMPTS: Duration = Duration::from_mins(2);

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.0.shown).finish()
    }
}

impl Bucket {
    /// `s3://BUCKET/PREFIX`. Keys, region and endpoint are taken from the environment, by the names that other tools
    /// of S3 know: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`,
    /// `AWS_ENDPOINT_URL`. An endpoint without TLS must be on this host, or allowed by `AWS_ALLOW_HTTP=true`.
    pub fn open(name: &str) -> Result<Self, PlaceError> {
        let unknown = || PlaceError::Unknown(name.to_owned());
        let url = Url::parse(name).map_err(|_| unknown())?;
        let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let bucket = url.host_str().filter(|_| url.scheme() == "s3" && bare && url.port().is_none());
        let bucket = bucket.ok_or_else(unknown)?;
        // As it is spelled: a URL's path has no `..` left.
        let spelled = name.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
        let prefix = spelled.map_or("", |(_, path)| path).trim_matches('/').to_owned();
        if !prefix.is_empty() && prefix.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(unknown());
        }
        // Already installed, by us or by the program around us, is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|source| PlaceError::Content { path: name.to_owned(), source })?;
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            // Not every store knows the other way.
            .with_disable_bulk_delete(true)
            .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST)
            .with_retry(RetryConfig {
                backoff: BackoffConfig { init_backoff: Duration::from_millis(200), ..BackoffConfig::default() },
                max_retries: 4,
                retry_timeout: ATTEMPTS,
            });
        if builder.get_config_value(&AmazonS3ConfigKey::Endpoint).is_some_and(|endpoint| is_of_this_host(&endpoint)) {
            builder = builder.with_allow_http(true);
        }
        let failed = |error: object_store::Error| PlaceError::store(name, "", &error);
        let s3 = {
            // It looks for a runtime while it is made.
            let _inside = runtime.enter();
            builder.build().map_err(failed)?
        };
        Ok(Self(Arc::new(Store { runtime, s3, prefix, shown: name.trim_end_matches('/').to_owned() })))
    }
}

/// For who reads a bucket that others filled.
impl Bucket {
    /// The names of files and of folders in a folder; an empty name is the folder that the address names.
    pub(in crate::publish) fn contents(&self, folder: &str) -> Result<(Vec<String>, Vec<String>), PlaceError> {
        let (files, folders) = self.0.wait(self.0.list(folder))?;
        Ok((files.into_iter().map(|(name, _)| name).collect(), folders))
    }

    /// What people noted about an object (`x-amz-meta-…`); `None` where there is no such object.
    pub(in crate::publish) fn metadata(&self, path: &str) -> Result<Option<Vec<(String, String)>>, PlaceError> {
        self.0.wait(self.0.user_metadata(path))
    }
}

fn is_of_this_host(endpoint: &str) -> bool {
    let host = Url::parse(endpoint).ok().and_then(|url| match url.host()? {
        url::Host::Domain(name) => Some(name == "localhost"),
        url::Host::Ipv4(address) => Some(address.is_loopback()),
        url::Host::Ipv6(address) => Some(address.is_loopback()),
    });
    host == Some(true)
}

impl Store {
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    fn key(&self, path: &str) -> String {
        if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) }
    }

    pub(super) fn location(&self, path: &str) -> Result<Path, PlaceError> {
        Path::parse(self.key(path)).map_err(|error| PlaceError::store(&self.shown, path, &error.into()))
    }

    fn failed(&self, path: &str) -> impl Fn(object_store::Error) -> PlaceError {
        let (shown, path) = (self.shown.clone(), path.to_owned());
        move |error| PlaceError::store(&shown, &path, &error)
    }

    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Hands the content on, piece by piece; `false` where there is none.
    async fn pass(
        &self,
        path: &str,
        limit: ByteLimit,
        into: &mut dyn FnMut(&[u8]) -> Result<(), PlaceError>,
    ) -> Result<bool, PlaceError> {
        let failed = self.failed(path);
        let found = match self.s3.get(&self.location(path)?).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            outcome => outcome.map_err(&failed)?,
        };
        let mut left = limit.get();
        let mut pieces = found.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(&failed)?;
            // Whatever length the store says.
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| PlaceError::TooLong { path: path.to_owned(), limit })?;
            into(&piece)?;
        }
        Ok(true)
    }

    pub(super) async fn put(&self, path: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        self.s3.put(&self.location(path)?, bytes.to_vec().into()).await.map_err(self.failed(path))?;
        Ok(())
    }

    pub(super) async fn holds(&self, path: &str) -> Result<bool, PlaceError> {
        match self.s3.head(&self.location(path)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(path)(error)),
        }
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), PlaceError> {
        match self.s3.delete(&self.location(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(path)(error)),
        }
    }

    /// What people noted about an object, without the prefix of its headers; `None` where there is no such object.
    async fn user_metadata(&self, path: &str) -> Result<Option<Vec<(String, String)>>, PlaceError> {
        let head = GetOptions { head: true, ..GetOptions::default() };
        let found = match self.s3.get_opts(&self.location(path)?, head).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            outcome => outcome.map_err(self.failed(path))?,
        };
        let noted = found.attributes.iter().filter_map(|(name, text)| match name {
            Attribute::Metadata(name) => Some((name.to_string(), text.to_string())),
            _ => None,
        });
        Ok(Some(noted.collect()))
    }

    /// What lies in a folder: names of files, with what the store says of them, and names of folders. An empty name
    /// is the folder that the address itself names.
    pub(super) async fn list(&self, folder: &str) -> Result<(Vec<(String, ObjectMeta)>, Vec<String>), PlaceError> {
        let folder_key = self.key(folder);
        let folder_key = folder_key.trim_end_matches('/');
        let prefix = if folder_key.is_empty() { String::new() } else { format!("{folder_key}/") };
        let (mut files, mut folders, mut page_token) = (Vec::new(), Vec::new(), None);
        loop {
            let delimiter = Some("/".into());
            let options = PaginatedListOptions { delimiter, page_token, ..PaginatedListOptions::default() };
            let page = self.s3.list_paginated(Some(&prefix), options).await.map_err(self.failed(folder))?;
            let name =
                |path: &Path| path.as_ref().strip_prefix(&prefix).filter(|name| !name.contains('/')).map(str::to_owned);
            files.extend(page.result.objects.into_iter().filter_map(|meta| Some((name(&meta.location)?, meta))));
            folders.extend(page.result.common_prefixes.iter().filter_map(name));
            if files.len() + folders.len() > MOST_NAMES {
                return Err(self.too_many(folder));
            }
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok((files, folders));
            }
        }
    }

    /// Every object below a folder, a thousand to a request.
    pub(super) async fn list_below(&self, folder: &str) -> Result<Vec<Stored>, PlaceError> {
        let prefix = format!("{}/", self.key(folder));
        let (mut files, mut page_token) = (Vec::new(), None);
        loop {
            let options = PaginatedListOptions { page_token, ..PaginatedListOptions::default() };
            let page = self.s3.list_paginated(Some(&prefix), options).await.map_err(self.failed(folder))?;
            files.extend(page.result.objects.into_iter().filter_map(|meta| {
                let path = meta.location.as_ref().strip_prefix(&prefix)?;
                let modified = Timestamp::from_second(meta.last_modified.timestamp()).unwrap_or_default();
                Some(Stored { path: format!("{folder}/{path}"), length: meta.size, modified })
            }));
            if files.len() > MOST_NAMES {
                return Err(self.too_many(folder));
            }
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(files);
            }
        }
    }

    fn too_many(&self, folder: &str) -> PlaceError {
        PlaceError::Unlike {
            place: self.shown.clone(),
            path: folder.to_owned(),
            how: "lists more files than any repository has",
        }
    }

    /// What was written is what is read: a store that says yes and does otherwise is found out here.
    async fn expect(&self, path: &str, length: u64, digest: &[u8]) -> Result<(), PlaceError> {
        let mut hash = Sha256::new();
        let limit = ByteLimit::bytes(length.max(1));
        let mut count = |piece: &[u8]| {
            hash.update(piece);
            Ok(())
        };
        match self.pass(path, limit, &mut count).await {
            Ok(true) if hash.finalize().as_slice() == digest => Ok(()),
            Ok(_) | Err(PlaceError::TooLong { .. }) => Err(PlaceError::Unlike {
                place: self.shown.clone(),
                path: path.to_owned(),
                how: "does not return what was written",
            }),
            Err(error) => Err(error),
        }
    }

    /// In parts, because nobody holds a whole archive in memory. Returns the digest of what was sent.
    async fn upload(&self, path: &str, content: &mut dyn Read, length: u64) -> Result<Vec<u8>, PlaceError> {
        let failed = self.failed(path);
        let upload = self.s3.put_multipart(&self.location(path)?).await.map_err(&failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let (mut hash, mut left) = (Sha256::new(), length);
        let mut piece = vec![0; 1 << 20];
        let outcome = loop {
            if left == 0 {
                break Ok(());
            }
            let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = match content.read(&mut piece[..wanted]) {
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break Err(error),
            };
            left -= read as u64;
            hash.update(&piece[..read]);
            if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
                return Err(failed(error));
            }
            upload.write(&piece[..read]);
        };
        match outcome {
            Ok(()) => {
                upload.finish().await.map_err(&failed)?;
                Ok(hash.finalize().to_vec())
            }
            Err(source) => {
                // Nothing of it can be seen; the store keeps the parts until they are given up.
                upload.abort().await.map_err(&failed)?;
                Err(PlaceError::Content { path: path.to_owned(), source })
            }
        }
    }
}

impl Place for Bucket {
    fn shown(&self) -> String {
        self.0.shown.clone()
    }

    fn read(&self, path: &str, limit: ByteLimit) -> Result<Option<Vec<u8>>, PlaceError> {
        let mut bytes = Vec::new();
        Ok(self.copy(path, limit, &mut bytes)?.then_some(bytes))
    }

    fn copy(&self, path: &str, limit: ByteLimit, into: &mut dyn Write) -> Result<bool, PlaceError> {
        let unwritten = |source| PlaceError::Content { path: path.to_owned(), source };
        self.0.wait(self.0.pass(path, limit, &mut |piece| into.write_all(piece).map_err(unwritten)))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        self.0.wait(async {
            self.0.put(path, bytes).await?;
            self.0.expect(path, bytes.len() as u64, &Sha256::digest(bytes)).await
        })
    }

    fn write_from(&self, path: &str, content: &mut dyn Read, length: u64) -> Result<(), PlaceError> {
        if length <= PART as u64 {
            let mut bytes = Vec::new();
            let unread = |source| PlaceError::Content { path: path.to_owned(), source };
            content.take(length).read_to_end(&mut bytes).map_err(unread)?;
            if bytes.len() as u64 != length {
                return Err(unread(io::ErrorKind::UnexpectedEof.into()));
            }
            return self.write(path, &bytes);
        }
        self.0.wait(async {
            let digest = self.0.upload(path, content, length).await?;
            self.0.expect(path, length, &digest).await
        })
    }

    fn remove(&self, path: &str) -> Result<(), PlaceError> {
        self.0.wait(self.0.delete(path))
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, PlaceError> {
        let (files, folders) = self.0.wait(self.0.list(folder))?;
        Ok(files.into_iter().map(|(name, _)| name).chain(folders).collect())
    }

    fn files(&self, folder: &str) -> Result<Vec<Stored>, PlaceError> {
        let mut files = self.0.wait(self.0.list_below(folder))?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// What was half-uploaded shows in no list of objects: a rule of the bucket's own clears it away.
    fn sweep(&self, _: &str) -> Result<usize, PlaceError> {
        Ok(0)
    }

    fn remove_folder(&self, folder: &str) -> Result<(), PlaceError> {
        self.0.wait(async {
            for file in self.0.list_below(folder).await? {
                self.0.delete(&file.path).await?;
            }
            Ok(())
        })
    }

    fn examine(&self, scratch: &mut Scratch<'_>) -> Vec<Check> {
        vec![conditional(&self.0, &scratch.path("conditional"))]
    }

    fn lock(&self) -> Result<Option<Box<dyn Hold>>, PlaceError> {
        match Claims::of(self.0.clone()).take()? {
            Outcome::Ours(claim) => Ok(Some(Box::new(claim))),
            Outcome::Others { since } => Err(PlaceError::Claimed { place: self.0.shown.clone(), since }),
        }
    }
}
