use std::{fmt, io};

use crate::sys::SysError;
use crate::types::ReleaseId;

/// Why an archive did not become a staged binary. Nothing is left behind in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// No pinned key signed these bytes for this release.
    #[error(
        "the signature was not made by a trusted release key for {id}. Either the archive was tampered with or belongs to another release, or this build predates a key rotation: see keys/README.md"
    )]
    NotSigned {
        /// The release that the signature had to name.
        id: Box<ReleaseId>,
    },
    /// The file to copy ended before the length that it had when it was opened.
    #[error("the archive shrank from {expected} to {found} bytes while it was copied; somebody is writing to it")]
    Shrank {
        /// Length when it was opened.
        expected: u64,
        /// Bytes that could be read.
        found: u64,
    },
    /// The file to copy cannot be read.
    #[error("the archive cannot be read: {0}")]
    Source(#[source] io::Error),
    /// The private copy cannot be written or read.
    #[error(
        "the private copy of the archive fails: {0}. Look at the space and the health of the staging folder's disk"
    )]
    Copy(#[source] io::Error),
    /// The staging folder refuses.
    #[error(transparent)]
    Staging(#[from] SysError),
    /// Signed, but not what a release archive must be.
    #[error(
        "{id} is signed, but its archive is malformed: {reason}. Nothing was staged; its publisher must pack and sign it again"
    )]
    Content {
        /// The release that was to be extracted.
        id: Box<ReleaseId>,
        /// What is wrong with it.
        #[source]
        reason: ContentError,
    },
}

/// The rule that the content of a signed archive breaks.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Not gzip or Zstandard, or damaged.
    #[error("it cannot be decompressed: {0}")]
    Compression(#[source] io::Error),
    /// Needs a window larger than 8 MiB.
    #[error("it was compressed with a Zstandard window of more than 8 MiB")]
    Window,
    /// Ends in the middle.
    #[error("it is truncated")]
    Truncated,
    /// A block that should be a tar header is none.
    #[error("it is not a tar archive (bad header or checksum)")]
    NotTar,
    /// The tar holds no entry.
    #[error("it is empty")]
    Empty,
    /// An entry that is not a regular file.
    #[error("its entry \"{name}\" is {kind}, not a regular file")]
    NotAFile {
        /// The entry's name, escaped.
        name: String,
        /// What it is instead.
        kind: EntryKind,
    },
    /// The regular file is not at the one expected path.
    #[error("its entry \"{name}\" is not the product's binary at the archive's root")]
    WrongPath {
        /// The entry's name, escaped.
        name: String,
    },
    /// A regular file that names a link target.
    #[error("its entry names a link target")]
    LinkTarget,
    /// Setuid, setgid, sticky or unknown mode bits.
    #[error("its entry has the mode {mode:o}; only plain permission bits are accepted")]
    Mode {
        /// The mode in the header.
        mode: u32,
    },
    /// A binary of no bytes.
    #[error("its binary has no bytes")]
    EmptyBinary,
    /// More than the limit on binaries.
    #[error("its binary is {length} bytes long, and at most {limit} are accepted")]
    TooLong {
        /// Length that the header states.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// Decompresses to implausibly much.
    #[error(
        "its binary of {length} bytes is implausibly long for an archive of {archive} bytes; it looks like a decompression bomb"
    )]
    Ratio {
        /// Length that the header states.
        length: u64,
        /// Length of the archive.
        archive: u64,
    },
    /// The binary is there twice.
    #[error("it holds the binary twice")]
    Duplicate,
    /// A second entry of another name or kind.
    #[error("beside the binary it holds \"{name}\" ({kind})")]
    ExtraEntry {
        /// The entry's name, escaped.
        name: String,
        /// What it is.
        kind: EntryKind,
    },
    /// Something other than a short run of zeros after the binary.
    #[error("data follows the end of the tar archive")]
    DataAfterTar,
    /// A second gzip member, a second or skippable frame, or junk.
    #[error("data follows the end of the compressed stream")]
    DataAfterStream,
}

/// What a tar header says that its entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A hard link.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character or block device.
    Device,
    /// A folder.
    Directory,
    /// A FIFO.
    Fifo,
    /// GNU: the next entry's long name or long link target.
    LongName,
    /// GNU: a file with holes.
    Sparse,
    /// PAX: attributes that override those of the next entry, or of all.
    Pax,
    /// Anything else.
    Unknown(u8),
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a regular file",
            Self::HardLink => "a hard link",
            Self::Symlink => "a symbolic link",
            Self::Device => "a device",
            Self::Directory => "a folder",
            Self::Fifo => "a FIFO",
            Self::LongName => "a GNU long name",
            Self::Sparse => "a sparse file",
            Self::Pax => "a PAX header",
            Self::Unknown(flag) => return write!(f, "an entry of unknown type {flag:#04x}"),
        })
    }
}
