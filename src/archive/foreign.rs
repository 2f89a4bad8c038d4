//! Takes the program out of an archive that another system kept, and that nobody signed: for whoever is about
//! to sign that program as a release, and for nobody else.
//!
//! Its digest is all that its maker vouches for, so it is read as if its maker were hostile. Beside the program it may
//! hold other files, which are named and not written. Each refused with a [`ForeignError`]:
//!
//! - **kinds** other than regular files and folders, under any name, and extensions that override the next header;
//! - **the program twice**, or not there, or with a link target, or with mode bits beyond those of permission;
//! - **bombs**: what is decompressed is bounded by [`tar_limit`] and by 200 times the archive's length, entries
//!   by a number, and the zeros at the end, too;
//! - **hidden data** behind the tar's end or behind the compressed stream, and **truncation** anywhere.

use std::fs::File;
use std::io::{self, Read, Write};

use super::decode::{Decoder, reason};
use super::error::{ContentError, EntryKind};
use super::header::{BLOCK, Entry};
use super::limits::{plausible, tar_limit};
use crate::config::Limits;
use crate::sys::{Dir, FromStart, SysError};
use crate::types::Packing;

/// Entries of a tar that is imported. A release has a handful.
const ENTRIES: usize = 10_000;
/// Zeros at the tar's end.
const TAIL: u64 = 64 << 10;

/// Why a foreign archive gave no program. Nothing is left behind in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// Not what an archive must be.
    #[error("its archive is malformed: {0}")]
    Content(#[source] ContentError),
    /// The program is not in it.
    #[error("its archive holds no file \"{program}\", but {held}. Name the program in it with --program")]
    NoProgram {
        /// The path that was asked for.
        program: String,
        /// What it holds instead.
        held: String,
    },
    /// More entries than any release has.
    #[error("its archive holds more than {ENTRIES} entries")]
    Entries,
    /// A private copy cannot be written or read.
    #[error("a private copy fails: {0}. Look at the space in the folder for temporary files (TMPDIR)")]
    Copy(#[source] io::Error),
    /// The folder for private copies refuses.
    #[error(transparent)]
    Scratch(#[from] SysError),
}

impl From<io::Error> for ForeignError {
    fn from(error: io::Error) -> Self {
        reason(error).map_or_else(Self::Copy, Self::Content)
    }
}

impl From<ContentError> for ForeignError {
    fn from(error: ContentError) -> Self {
        Self::Content(error)
    }
}

/// A program that nobody has signed yet, in a private file without a name.
#[derive(Debug)]
pub struct ForeignProgram {
    /// The file, to be read from its start.
    pub file: File,
    /// Its length in bytes.
    pub length: u64,
    /// What lay beside it, escaped, folders left out.
    pub beside: Vec<String>,
}

/// The file `program` of the archive in the private file `archive`. A path of the tar is compared, never followed.
pub fn foreign_program(
    archive: &File,
    packing: Packing,
    program: &str,
    limits: &Limits,
    scratch: &Dir,
) -> Result<ForeignProgram, ForeignError> {
    let length = archive.metadata().map_err(ForeignError::Copy)?.len();
    let mut tar = Foreign {
        decoder: Decoder::new(FromStart::new(archive, length), packing)?,
        left: tar_limit(limits).get().min(plausible(length).saturating_add(1 << 20)),
    };
    let (mut found, mut beside) = (None, Vec::new());
    for _ in 0..ENTRIES {
        let block = tar.block()?;
        if block == [0; BLOCK] {
            tar.close()?;
            let (file, length) = found.ok_or_else(|| ForeignError::NoProgram {
                program: program.escape_default().to_string(),
                held: held(&beside),
            })?;
            return Ok(ForeignProgram { file, length, beside });
        }
        let entry = Entry::read(&block)?;
        match entry.kind() {
            EntryKind::File if entry.is_named(program) => {
                let length = entry.program()?;
                if found.is_some() {
                    return Err(ContentError::Duplicate.into());
                }
                if !limits.binary.admits(length) {
                    return Err(ContentError::TooLong { length, limit: limits.binary.get() }.into());
                }
                let mut file = scratch.unnamed_file()?;
                tar.content(length, &mut file)?;
                found = Some((file, length));
            }
            EntryKind::File => {
                beside.push(entry.shown());
                tar.content(entry.length()?, &mut io::sink())?;
            }
            EntryKind::Directory if entry.length()? == 0 => {}
            kind => return Err(ContentError::NotAFile { name: entry.shown(), kind }.into()),
        }
    }
    Err(ForeignError::Entries)
}

fn held(beside: &[String]) -> String {
    match beside {
        [] => "nothing".to_owned(),
        [one] => format!("\"{one}\""),
        [one, rest @ ..] => format!("\"{one}\" and {} more", rest.len()),
    }
}

struct Foreign<'a> {
    decoder: Decoder<'a>,
    /// How much may still be decompressed.
    left: u64,
}

impl Foreign<'_> {
    fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), ForeignError> {
        let length = buffer.len() as u64;
        let most = self.left;
        self.left = most.checked_sub(length).ok_or(ContentError::TooLong { length, limit: most })?;
        Ok(self.decoder.read_exact(buffer)?)
    }

    fn block(&mut self) -> Result<[u8; BLOCK], ForeignError> {
        let mut block = [0; BLOCK];
        self.exactly(&mut block)?;
        Ok(block)
    }

    /// An entry's content, and what fills up its last block.
    fn content(&mut self, length: u64, to: &mut impl Write) -> Result<(), ForeignError> {
        if length > self.left {
            return Err(ContentError::TooLong { length, limit: self.left }.into());
        }
        let (mut piece, mut left) = (vec![0; 64 << 10], length);
        while left > 0 {
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            self.exactly(&mut piece[..some])?;
            to.write_all(&piece[..some]).map_err(ForeignError::Copy)?;
            left -= some as u64;
        }
        let padding = usize::try_from(length.next_multiple_of(BLOCK as u64) - length).expect("less than a block");
        self.exactly(&mut piece[..padding])?;
        if piece[..padding].iter().any(|byte| *byte != 0) {
            return Err(ContentError::DataAfterTar.into());
        }
        Ok(())
    }

    /// Behind the first empty block: another one at least, nothing but zeros, and the end of the stream.
    fn close(&mut self) -> Result<(), ForeignError> {
        let mut zeros = BLOCK as u64;
        let mut block = [0; BLOCK];
        loop {
            let mut filled = 0;
            while filled < BLOCK {
                match self.decoder.read(&mut block[filled..])? {
                    0 => break,
                    read => filled += read,
                }
            }
            match filled {
                0 if zeros >= 2 * BLOCK as u64 => break,
                BLOCK if block == [0; BLOCK] && zeros < TAIL => zeros += BLOCK as u64,
                BLOCK => return Err(ContentError::DataAfterTar.into()),
                _ => return Err(ContentError::Truncated.into()),
            }
        }
        if self.decoder.has_more()? { Err(ContentError::DataAfterStream.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Loose, PrivateDir};
    use crate::types::ArchiveFormat;
    use tar::{EntryType, Header};

    struct Site {
        _root: tempfile::TempDir,
        scratch: PrivateDir,
    }

    impl Site {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let scratch = PrivateDir::open_or_create(root.path().join("scratch"), Loose::RefuseWritable).unwrap();
            Self { _root: root, scratch }
        }

        fn read(&self, bytes: &[u8], packing: Packing) -> Result<(Vec<u8>, Vec<String>), ForeignError> {
            let mut file = self.scratch.unnamed_file().unwrap();
            file.write_all(bytes).unwrap();
            let outcome = foreign_program(&file, packing, "node/bin/node", &Limits::default(), &self.scratch);
            assert_eq!(self.scratch.names().unwrap(), [""; 0]);
            let program = outcome?;
            let mut bytes = Vec::new();
            FromStart::new(&program.file, program.length).read_to_end(&mut bytes).unwrap();
            Ok((bytes, program.beside))
        }

        fn refused(&self, bytes: &[u8]) -> ContentError {
            match self.read(bytes, Packing::Tar) {
                Err(ForeignError::Content(reason)) => reason,
                other => panic!("{other:?}"),
            }
        }
    }

    fn entry(name: &str, kind: EntryType, body: &[u8], change: impl Fn(&mut Header)) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_size(body.len() as u64);
        header.set_mode(0o755);
        change(&mut header);
        header.set_cksum();
        let padding = body.len().next_multiple_of(512) - body.len();
        [header.as_bytes().as_slice(), body, &vec![0; padding]].concat()
    }

    fn plain(name: &str, body: &[u8]) -> Vec<u8> {
        entry(name, EntryType::Regular, body, |_| ())
    }

    fn program() -> Vec<u8> {
        plain("node/bin/node", b"program")
    }

    fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
        [&entries.concat()[..], &[0; 10 * 512]].concat()
    }

    #[test]
    fn the_program_is_found_among_others_in_every_packing() {
        let site = Site::new();
        let folder = entry("node/bin/", EntryType::Directory, b"", |_| ());
        let bytes = tar(&[folder, plain("node/VERSION", b"1.0.0\n"), program(), plain("a\nb", b"")]);
        let expected = (b"program".to_vec(), vec!["node/VERSION".to_owned(), "a\\nb".to_owned()]);
        assert_eq!(site.read(&bytes, Packing::Tar).unwrap(), expected);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&bytes).unwrap();
        assert_eq!(site.read(&gz.finish().unwrap(), ArchiveFormat::TarGz.into()).unwrap(), expected);
        let zst = zstd::encode_all(&bytes[..], 1).unwrap();
        assert_eq!(site.read(&zst, ArchiveFormat::TarZst.into()).unwrap(), expected);
        let more = [&zst[..], b"x"].concat();
        let refused = site.read(&more, ArchiveFormat::TarZst.into());
        assert!(matches!(refused, Err(ForeignError::Content(ContentError::DataAfterStream))), "{refused:?}");
    }

    #[test]
    fn i1_a_foreign_archive_that_could_be_read_in_two_ways_is_refused() {
        let site = Site::new();
        for kind in [
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Fifo,
            EntryType::Char,
            EntryType::Block,
            EntryType::XHeader,
            EntryType::XGlobalHeader,
            EntryType::GNULongName,
            EntryType::GNULongLink,
            EntryType::GNUSparse,
            EntryType::new(b'7'),
        ] {
            for name in ["node/bin/node", "beside"] {
                let refused = site.refused(&tar(&[entry(name, kind, b"", |_| ()), program()]));
                assert!(matches!(refused, ContentError::NotAFile { .. }), "{kind:?}: {refused}");
            }
        }
        assert!(matches!(site.refused(&tar(&[program(), program()])), ContentError::Duplicate));
        let setuid = entry("node/bin/node", EntryType::Regular, b"x", |header| header.set_mode(0o4755));
        assert!(matches!(site.refused(&tar(&[setuid])), ContentError::Mode { mode: 0o4755 }));
        assert!(matches!(site.refused(&tar(&[plain("node/bin/node", b"")])), ContentError::EmptyBinary));
        let linked = entry("node/bin/node", EntryType::Regular, b"x", |header| header.set_link_name("y").unwrap());
        assert!(matches!(site.refused(&tar(&[linked])), ContentError::LinkTarget));

        let good = tar(&[program()]);
        let mut hidden = good.clone();
        hidden[512 + 100] = 1;
        assert!(matches!(site.refused(&hidden), ContentError::DataAfterTar));
        assert!(matches!(site.refused(&[&good[..], &program()].concat()), ContentError::DataAfterTar));
        for end in (0..good.len() - 9 * 512).step_by(100) {
            assert!(matches!(site.refused(&good[..end]), ContentError::Truncated), "{end}");
        }
        assert!(matches!(site.refused(&[1; 2048]), ContentError::NotTar));
        // A name that goes on behind its end is no program.
        let other = entry("node/bin/node", EntryType::Regular, b"x", |header| header.as_old_mut().name[20] = b'x');
        assert!(matches!(site.read(&tar(&[other]), Packing::Tar), Err(ForeignError::NoProgram { .. })));
        assert!(matches!(site.read(&[0; 1024], Packing::Tar), Err(ForeignError::NoProgram { .. })));
    }

    #[test]
    fn i1_a_foreign_archive_that_swells_is_refused() {
        let site = Site::new();
        let lying = |length: u64| entry("beside", EntryType::Regular, b"", |header| header.set_size(length));
        for length in [1 << 32, 1 << 62, u64::MAX] {
            assert!(matches!(site.refused(&tar(&[lying(length)])), ContentError::TooLong { .. }), "{length}");
        }
        let zeros = zstd::encode_all(&tar(&[plain("beside", &vec![0; 32 << 20])])[..], 1).unwrap();
        assert!(zeros.len() < 20_000);
        let refused = site.read(&zeros, ArchiveFormat::TarZst.into());
        assert!(matches!(refused, Err(ForeignError::Content(ContentError::TooLong { .. }))), "{refused:?}");
        let many = vec![plain("beside", b""); ENTRIES + 1];
        assert!(matches!(site.read(&tar(&many), Packing::Tar), Err(ForeignError::Entries)));
        let endless = [&program()[..], &vec![0; 200 << 10]].concat();
        assert!(matches!(site.refused(&endless), ContentError::DataAfterTar));
    }
}
