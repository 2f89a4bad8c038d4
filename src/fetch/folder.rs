use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use super::Progress;
use super::error::FetchError;
use super::listing::printable;
use super::reach::UrlRefusal;
use crate::sys::{CheckedFile, Dir};
use crate::types::ByteLimit;

const PIECE: u64 = 1 << 20;

/// A folder of releases. Its files may belong to anybody: what is in them is verified, not believed.
///
/// Files are reached from the folder's handle, one plain name after the other, and no link is
/// followed on the way: nothing outside the folder is ever read.
pub(super) struct ReleaseFolder {
    path: PathBuf,
}

impl ReleaseFolder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    pub(super) async fn listing(&self, limit: ByteLimit) -> Result<Vec<u8>, FetchError> {
        self.read("releases.json", limit).await
    }

    /// A whole file of the folder, at most `limit` bytes.
    pub(super) async fn read(&self, address: &str, limit: ByteLimit) -> Result<Vec<u8>, FetchError> {
        let names = names_of(address)?;
        let path = self.path.clone();
        lost(spawn_blocking(move || {
            let shown = names.iter().fold(path.clone(), |path, name| path.join(name));
            Ok(open(&path, &names, limit)?.read(&shown)?)
        }))
        .await
    }

    /// Copies one file of the folder into an empty file; the copy is at its start afterwards, and empty after an error.
    pub(super) async fn copy(
        &self,
        address: &str,
        into: &mut File,
        cap: ByteLimit,
        progress: &mut Progress<'_>,
    ) -> Result<u64, FetchError> {
        let names = names_of(address)?;
        let shown = names.iter().fold(self.path.clone(), |path, name| path.join(name));
        let path = self.path.clone();
        let file = lost(spawn_blocking(move || open(&path, &names, cap))).await?;
        copy_on(file, &shown, into, progress).await
    }
}

/// Copies an open file, from where it stands and as long as it was judged to be, into an empty file;
/// the copy is at its start afterwards, and empty after an error.
pub(super) async fn copy_on(
    file: CheckedFile,
    shown: &Path,
    into: &mut File,
    progress: &mut Progress<'_>,
) -> Result<u64, FetchError> {
    let outcome = copy_pieces(file, shown, into, progress).await;
    let rewound = if outcome.is_ok() { into.rewind() } else { into.set_len(0).and_then(|()| into.rewind()) };
    rewound.map_err(|source| FetchError::Write { url: shown.display().to_string(), source })?;
    outcome
}

async fn copy_pieces(
    CheckedFile { mut file, length }: CheckedFile,
    shown: &Path,
    into: &mut File,
    progress: &mut Progress<'_>,
) -> Result<u64, FetchError> {
    let write = |source| FetchError::Write { url: shown.display().to_string(), source };
    let read = |source| FetchError::Read { path: shown.to_owned(), source };
    let mut sink = into.try_clone().map_err(write)?;
    let mut copied = 0;
    progress(0, Some(length));
    while copied < length {
        // One piece per turn on the blocking pool, so that progress is seen and a dropped future stops.
        let piece = PIECE.min(length - copied);
        let (outcome, back) = lost(spawn_blocking(move || {
            let mut bytes = Vec::new();
            let outcome = Read::by_ref(&mut file)
                .take(piece)
                .read_to_end(&mut bytes)
                .map(|_| sink.write_all(&bytes).map(|()| bytes.len() as u64));
            Ok((outcome, (file, sink)))
        }))
        .await?;
        (file, sink) = back;
        let count = outcome.map_err(read)?.map_err(write)?;
        if count == 0 {
            let url = shown.display().to_string();
            return Err(FetchError::Length { url, stated: length, received: copied });
        }
        copied += count;
        progress(copied, Some(length));
    }
    Ok(copied)
}

fn names_of(address: &str) -> Result<Vec<String>, FetchError> {
    plain_names(address)
        .ok_or_else(|| FetchError::Address { url: printable(address), refusal: UrlRefusal::OutsideFolder })
}

fn open(path: &Path, names: &[String], cap: ByteLimit) -> Result<CheckedFile, FetchError> {
    let mut dir = Dir::open(path)?;
    let (file, folders) = names
        .split_last()
        .ok_or_else(|| FetchError::Address { url: path.display().to_string(), refusal: UrlRefusal::OutsideFolder })?;
    for folder in folders {
        dir = dir.foreign_subdir(folder)?;
    }
    Ok(dir.open_foreign_file(file, cap)?)
}

pub(super) async fn lost<T>(task: tokio::task::JoinHandle<Result<T, FetchError>>) -> Result<T, FetchError> {
    match task.await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(FetchError::Stopped),
        },
    }
}

/// The names of a relative path below the folder; `None` for anything that could lead elsewhere or
/// be read in two ways (percent signs, backslashes, `.` and `..`).
pub(super) fn plain_names(address: &str) -> Option<Vec<String>> {
    let plain = |name: &str| {
        !name.is_empty()
            && name != "."
            && name != ".."
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+' | b'~'))
    };
    let names: Vec<&str> = address.split('/').collect();
    let good = names.len() <= 16 && names.iter().all(|name| plain(name));
    good.then(|| names.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_names_below_the_folder_are_read() {
        assert_eq!(
            plain_names("v1.0.0/a-x86_64.tar.zst"),
            Some(vec!["v1.0.0".to_owned(), "a-x86_64.tar.zst".to_owned()])
        );
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a//b",
            "./a",
            "a/.",
            "a\\b",
            "%2e%2e/a",
            "a\0b",
            "a b",
            "file:a",
            "https://example.org/a",
            "//example.org/a",
        ] {
            assert_eq!(plain_names(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_address_leaves_the_folder(address in "[a./\\\\%~:]{0,12}") {
            if let Some(names) = plain_names(&address) {
                let path: PathBuf = names.iter().collect();
                prop_assert!(path.is_relative());
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
