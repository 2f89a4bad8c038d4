//! A tar file of a published tree, read in place.
//!
//! Whoever made it may be hostile, and two readers of one tar may see different files in it, so the
//! accepted form is small. What it withstands, each refused with its own [`BundleError`]:
//! - **names** that are absolute, climb, are not plain, go on behind a NUL, or stand there twice;
//! - **kinds** other than regular files and folders: links, devices, sparse files, and the extension
//!   headers (long names, PAX) that override what the next header says;
//! - **lengths** that lead out of the file, and a file that ends early;
//! - **a million entries**: headers are counted; content is skipped over, never read into memory.
//!
//! Nothing is unpacked: a member is read from its place when it is asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tar::Header;

use super::error::FetchError;
use super::folder::plain_names;
use super::listing::printable;
use crate::sys::{CheckedFile, OperatorFile, Refusal, SysError};
use crate::types::ByteLimit;

const BLOCK: u64 = 512;
/// More than a hundred releases for a hundred targets.
const ENTRIES: usize = 100_000;
/// Only headers are read of it.
const LONGEST: ByteLimit = ByteLimit::mib(1 << 20);

/// Why a file is not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not a tar file, or damaged.
    #[error("it is not a tar file, or is damaged at byte {at}")]
    NotTar {
        /// Where.
        at: u64,
    },
    /// A compressed tar file.
    #[error("it is compressed; unpack it once (the archives in it are compressed already)")]
    Compressed,
    /// It ends in the middle.
    #[error("it ends in the middle of an entry; copy it again, and compare the lengths")]
    Truncated,
    /// A name that is not plain.
    #[error("its entry \"{0}\" is not a relative path of plain names")]
    Name(String),
    /// The same name again.
    #[error("it has two entries named \"{0}\"")]
    Twice(String),
    /// Something else than files and folders.
    #[error(
        "its entry \"{name}\" is of type '{kind}', and only plain files and folders are read; make it with tar --format=ustar"
    )]
    Kind {
        /// The entry.
        name: String,
        /// The type flag.
        kind: char,
    },
    /// No release metadata, where its freshness matters.
    #[error(
        "it holds no release metadata, so nothing says until when it counts: `cache export` on a node that follows source.tuf puts it in; or leave --valid-at out"
    )]
    NoMetadata,
    /// No root of trust in this build.
    #[error("this build holds no root of trust for release metadata, and cannot tell until when it counts")]
    NoRoot,
    /// More entries than allowed.
    #[error("it has more than {ENTRIES} entries")]
    TooMany,
}

/// An open tar file, and where its files lie in it.
#[derive(Debug)]
pub(super) struct TarBundle {
    path: PathBuf,
    file: File,
    members: BTreeMap<String, Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) at: u64,
    pub(super) length: u64,
}

impl TarBundle {
    pub(super) fn open(path: &Path) -> Result<Self, FetchError> {
        let OperatorFile { file, length, .. } = OperatorFile::open(path, LONGEST)?;
        let read = |block: &mut [u8; 512], at| file.read_exact_at(block, at);
        let mut magic = [0; 4];
        if file.read_exact_at(&mut magic, 0).is_ok() && is_compressed(magic) {
            return Err(FetchError::Bundle { path: path.to_owned(), source: BundleError::Compressed });
        }
        match index(length, read) {
            Ok(members) => Ok(Self { path: path.to_owned(), file, members }),
            Err(Unread::Bundle(source)) => Err(FetchError::Bundle { path: path.to_owned(), source }),
            Err(Unread::Io(source)) => Err(FetchError::Read { path: path.to_owned(), source }),
        }
    }

    /// A handle that stands at this file's beginning, with the file's length.
    pub(super) fn member(&self, name: &str, cap: ByteLimit) -> Result<CheckedFile, FetchError> {
        let shown = || self.path.join(name);
        let Some(Member { at, length }) = self.members.get(name).copied() else {
            return Err(SysError::io("find", shown(), io::ErrorKind::NotFound).into());
        };
        if !cap.admits(length) {
            return Err(SysError::refused(shown(), Refusal::TooLong { length, limit: cap.get() }).into());
        }
        let at_its_start = || {
            let mut file = self.file.try_clone()?;
            file.seek(SeekFrom::Start(at)).map(|_| file)
        };
        let file = at_its_start().map_err(|source| FetchError::Read { path: shown(), source })?;
        Ok(CheckedFile { file, length })
    }
}

#[derive(Debug)]
pub(super) enum Unread {
    Bundle(BundleError),
    Io(io::Error),
}

impl From<BundleError> for Unread {
    fn from(error: BundleError) -> Self {
        Self::Bundle(error)
    }
}

/// Reads every header of a tar of that length, up to its end.
pub(super) fn index(
    length: u64,
    mut read: impl FnMut(&mut [u8; 512], u64) -> io::Result<()>,
) -> Result<BTreeMap<String, Member>, Unread> {
    let mut members = BTreeMap::new();
    let (mut at, mut entries) = (0_u64, 0_usize);
    loop {
        if at.checked_add(BLOCK).is_none_or(|end| end > length) {
            return Err(if at == 0 { BundleError::NotTar { at } } else { BundleError::Truncated }.into());
        }
        let mut block = [0; 512];
        read(&mut block, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BundleError::Truncated.into(),
            _ => Unread::Io(error),
        })?;
        if block == [0; 512] {
            return Ok(members);
        }
        entries += 1;
        if entries > ENTRIES {
            return Err(BundleError::TooMany.into());
        }
        let size = match judge(&block, at)? {
            Entry::Folder => 0,
            Entry::File(name, size) => {
                let member = Member { at: at + BLOCK, length: size };
                if members.insert(name.clone(), member).is_some() {
                    return Err(BundleError::Twice(name).into());
                }
                size
            }
        };
        let next = size.checked_next_multiple_of(BLOCK).and_then(|padded| padded.checked_add(at + BLOCK));
        at = next.filter(|next| *next <= length).ok_or(BundleError::Truncated)?;
    }
}

enum Entry {
    Folder,
    File(String, u64),
}

fn judge(block: &[u8; 512], at: u64) -> Result<Entry, BundleError> {
    let header = Header::from_byte_slice(block);
    let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    if header.cksum().ok() != Some(sum) {
        return Err(BundleError::NotTar { at });
    }
    let bytes = header.path_bytes();
    let shown = || printable(&String::from_utf8_lossy(&bytes));
    let kind = header.as_old().linkflag[0];
    if !matches!(kind, 0 | b'0' | b'5') {
        return Err(BundleError::Kind {
            name: shown(),
            kind: if kind.is_ascii_graphic() { char::from(kind) } else { '?' },
        });
    }
    // Behind the first NUL, another reader might go on.
    if hides(&header.as_old().name) || header.as_ustar().is_some_and(|ustar| hides(&ustar.prefix)) {
        return Err(BundleError::Name(shown()));
    }
    let size = header.entry_size().map_err(|_| BundleError::NotTar { at })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| BundleError::Name(shown()))?;
    let text = text.strip_prefix("./").unwrap_or(text);
    if kind == b'5' {
        let text = text.trim_end_matches('/');
        let fine = size == 0 && (matches!(text, "" | ".") || plain_names(text).is_some());
        return if fine { Ok(Entry::Folder) } else { Err(BundleError::Name(shown())) };
    }
    let names = plain_names(text).ok_or_else(|| BundleError::Name(shown()))?;
    Ok(Entry::File(names.join("/"), size))
}

/// By gzip or Zstandard.
fn is_compressed(magic: [u8; 4]) -> bool {
    magic.starts_with(&[0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd]
}

fn hides(field: &[u8]) -> bool {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    field[end..].iter().any(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.as_old_mut().linkflag = [kind];
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn tar(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let mut bytes: Vec<u8> = entries.iter().flat_map(|(name, kind, content)| entry(name, *kind, content)).collect();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<BTreeMap<String, Member>, BundleError> {
        let outcome = index(bytes.len() as u64, |block, at| {
            let at = usize::try_from(at).unwrap();
            block.copy_from_slice(bytes.get(at..at + 512).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        });
        outcome.map_err(|unread| match unread {
            Unread::Bundle(error) => error,
            Unread::Io(error) => panic!("{error}"),
        })
    }

    #[test]
    fn a_tree_is_found_with_and_without_a_dot_before_it() {
        for dot in ["", "./"] {
            let (folder, listing, file) =
                (format!("{dot}1.0.0/"), format!("{dot}releases.json"), format!("{dot}1.0.0/a"));
            let bytes = tar(&[("./", b'5', b""), (&folder, b'5', b""), (&listing, b'0', b"[]"), (&file, 0, &[7; 513])]);
            let members = read(&bytes).unwrap();
            assert_eq!(members.keys().collect::<Vec<_>>(), ["1.0.0/a", "releases.json"]);
            let Member { at, length } = members["1.0.0/a"];
            assert_eq!(bytes[usize::try_from(at).unwrap()..][..usize::try_from(length).unwrap()], [7; 513]);
        }
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        for name in ["/a", "../a", "a/../b", "a//b", "a\\b", "a b", "a/", "", ".", "\u{e9}", "a\x1b"] {
            assert!(matches!(read(&tar(&[(name, b'0', b"")])), Err(BundleError::Name(_))), "{name:?}");
        }
        for kind in *b"123467LKxgSXz" {
            let outcome = read(&tar(&[("a", kind, b"")]));
            assert_eq!(outcome, Err(BundleError::Kind { name: "a".to_owned(), kind: char::from(kind) }));
        }
        assert_eq!(read(&tar(&[("a", 0, b""), ("./a", 0, b"")])), Err(BundleError::Twice("a".to_owned())));
        let mut hidden = tar(&[("a", 0, b"")]);
        hidden[50] = b'b';
        let sum: u32 = hidden[..148].iter().chain(&hidden[156..512]).map(|byte| u32::from(*byte)).sum::<u32>() + 256;
        hidden[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(read(&hidden), Err(BundleError::Name("a".to_owned())));
    }

    #[test]
    fn a_file_that_ends_early_or_is_something_else_is_refused() {
        let whole = tar(&[("a", 0, &[7; 2000])]);
        for end in [0, 1, 511] {
            assert_eq!(read(&whole[..end]), Err(BundleError::NotTar { at: 0 }), "{end}");
        }
        for end in [512, 1024, 2559, 2560, 2600] {
            assert_eq!(read(&whole[..end]), Err(BundleError::Truncated), "{end}");
        }
        assert_eq!(read(&[b'x'; 1024]), Err(BundleError::NotTar { at: 0 }));
        assert!(
            is_compressed([0x1f, 0x8b, 8, 0]) && is_compressed([0x28, 0xb5, 0x2f, 0xfd]) && !is_compressed(*b"1.0.")
        );
        let mut long = tar(&[("a", 0, b"")]);
        long[124..136].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
        let sum: u32 = long[..148].iter().chain(&long[156..512]).map(|byte| u32::from(*byte)).sum::<u32>() + 256;
        long[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(read(&long), Err(BundleError::Truncated));
    }

    proptest! {
        #[test]
        fn a_mutated_tar_never_panics_and_leads_nowhere(edits in prop::collection::vec((0usize..2048, any::<u8>()), 1..20), cut in 0usize..2560) {
            let mut bytes = tar(&[("1.0.0/a", 0, &[7; 100]), ("releases.json", b'0', b"[]")]);
            for (at, byte) in edits {
                bytes[at] = byte;
            }
            bytes.truncate(cut.max(512));
            if let Ok(members) = read(&bytes) {
                for (name, Member { at, length }) in members {
                    prop_assert!(plain_names(&name).is_some());
                    prop_assert!(at + length <= bytes.len() as u64);
                }
            }
        }
    }
}
