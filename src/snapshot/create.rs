use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use age::stream::StreamWriter;
use jiff::Timestamp;

use super::block::{self, END};
use super::database::{self, Meanwhile};
use super::error::{FormatError, SnapshotError};
use super::folder::Snapshots;
use super::id::SnapshotId;
use super::keys::{NodeKeys, Recipient};
use super::manifest::{Binary, Manifest, Payload, Reason, StoredFile};
use super::state::{Kind, StateFiles};
use super::tally::Tally;
use super::{MANIFEST, SIGNATURE, Step, payload_name};
use crate::crypto::{Context, SignError};
use crate::sys::{PrivateDir, SysError};
use crate::types::{ByteLimit, NodeId, Product, Sha256Digest};

/// What a snapshot is taken of, and what it says of itself.
#[derive(Debug)]
pub struct Creation<'a> {
    /// Whose state it is.
    pub product: &'a Product,
    /// Which node's.
    pub node: &'a NodeId,
    /// The node's data folder.
    pub data: &'a PrivateDir,
    /// The files in it that make up the state.
    pub state: &'a StateFiles,
    /// The program that takes it.
    pub binary: Binary,
    /// Why.
    pub reason: Reason,
    /// Who may open it; nobody: it is not sealed. The node itself always may.
    pub recipients: &'a [Recipient],
    /// When.
    pub now: Timestamp,
}

/// A snapshot that was just taken, durable under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub id: SnapshotId,
    /// Where it is.
    pub path: std::path::PathBuf,
    /// SHA-256 of the whole file.
    pub digest: Sha256Digest,
    /// Length of the whole file in bytes.
    pub length: u64,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// Level 3 packs a database about as fast as one core hashes it; a window of 2 MiB keeps readers small.
const LEVEL: i32 = 3;
const WINDOW_LOG: u32 = 21;
/// What a snapshot may need beside the copies: headers, and what does not compress.
const MARGIN: u64 = 1 << 20;

impl Snapshots {
    /// Takes a snapshot while the job may go on writing. `progress` is told of bytes.
    ///
    /// # Errors
    /// Nothing stays behind: the snapshot appears under its name when it is whole and durable.
    pub fn create(
        &self,
        what: &Creation<'_>,
        keys: &NodeKeys,
        progress: &mut dyn FnMut(Step, u64),
    ) -> Result<Snapshot, SnapshotError> {
        let _turn = self.turn()?;
        let making = self.making()?;
        let before = self.newest()?;
        self.expect_room_for(what)?;

        // Before a migration nobody has the state open.
        let meanwhile = if what.reason == Reason::Upgrade { Meanwhile::AtRest } else { Meanwhile::Written };
        let (mut head, mut files_held) = (None, Vec::new());
        for (role, kind) in what.state.iter() {
            // A further file in which nothing was ever kept belongs to the state as missing.
            let is_further = !files_held.is_empty();
            if is_further && !what.data.exists(role.as_str())? {
                continue;
            }
            if *kind == Kind::Database {
                let copied = &mut |bytes| progress(Step::Copy, bytes);
                match database::copy(what.data, role, &making.dir, meanwhile, copied) {
                    Err(SnapshotError::EmptyDatabase(_)) if is_further => continue,
                    found => head.get_or_insert(found?),
                };
            }
            files_held.push((role, *kind));
        }
        let here = self.path().to_owned();
        let failed = |error: io::Error| SnapshotError::of_write(here.clone(), error);

        let sink = Sink::new(self.dir.unnamed_file()?, what.recipients, keys).map_err(|error| match error {
            SealError::Seal(error) => SnapshotError::Seal(error),
            SealError::Io(error) => failed(error),
        })?;
        let mut packed = zstd::Encoder::new(sink, LEVEL).map_err(failed)?;
        packed.window_log(WINDOW_LOG).map_err(failed)?;
        let mut files = Vec::new();
        for (role, kind) in files_held {
            let dir = if kind == Kind::Database { making.dir.as_dir() } else { what.data.as_dir() };
            let shown = what.data.path().join(role.as_str());
            let limit = ByteLimit::bytes(Manifest::LONGEST_FILE);
            let source = match dir.open_file(role.as_str(), limit) {
                Err(error) if error.is_not_found() => return Err(SnapshotError::NoState(shown)),
                outcome => outcome?,
            };
            packed.write_all(&block::header(role.as_str(), source.length)).map_err(failed)?;
            let mut read = Tally::new(source.file);
            block::pass(&mut read, source.length, |piece| {
                progress(Step::Pack, piece.len() as u64);
                packed.write_all(piece).map_err(|error| Passed::Write(failed(error)))
            })
            .map_err(|error| match error {
                Passed::Write(error) => error,
                Passed::Read(reason) => SnapshotError::Sys(SysError::read_of(&shown, into_io(reason))),
            })?;
            block::write_zeros(&mut packed, block::padding(source.length)).map_err(failed)?;
            let (_, length, sha256) = read.finish();
            files.push(StoredFile { length, role: role.clone(), sha256 });
            if kind == Kind::Database {
                // Its room is needed for the rest.
                making.dir.remove(role.as_str())?;
            }
        }
        block::write_zeros(&mut packed, END).map_err(failed)?;
        let sealed = !what.recipients.is_empty();
        let (payload, length, sha256) = packed.finish().and_then(Sink::finish).map_err(failed)?;

        let manifest = Manifest {
            application_id: head.map_or(0, |head| head.application_id),
            binary: what.binary.clone(),
            created_at: what.now,
            files,
            format: Manifest::FORMAT.to_owned(),
            id: SnapshotId::new(what.now).ok_or(SignError::Randomness)?,
            node_id: what.node.clone(),
            payload: Payload { length, sealed, sha256 },
            previous: before.as_ref().map(|before| before.id.clone()),
            product: what.product.clone(),
            reason: what.reason,
            sequence: before.map_or(0, |before| before.sequence).saturating_add(1),
            user_version: head.map_or(0, |head| head.user_version),
        };
        self.write(manifest, payload, keys, progress)
    }

    /// Two times what the state takes: the copy and, at worst, a payload of the same length, twice.
    fn expect_room_for(&self, what: &Creation<'_>) -> Result<(), SnapshotError> {
        let mut bytes = 0_u64;
        for (role, _) in what.state.iter() {
            for end in ["", "-wal"] {
                match what.data.modified(&format!("{role}{end}")) {
                    Ok((_, length)) => bytes = bytes.saturating_add(length),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Self::expect_room(&self.dir, bytes.saturating_mul(2).saturating_add(MARGIN))
    }

    fn write(
        &self,
        manifest: Manifest,
        mut payload: File,
        keys: &NodeKeys,
        progress: &mut dyn FnMut(Step, u64),
    ) -> Result<Snapshot, SnapshotError> {
        let text = manifest.canonical();
        // Nothing is written that no reader would take.
        Manifest::read(&text).map_err(|reason| SnapshotError::Malformed { path: self.path().to_owned(), reason })?;
        let context = Context::snapshot(&manifest.product, &manifest.node_id);
        let signature = keys.secret.sign(&context, &mut text.as_slice())?;
        let name = manifest.id.file_name();
        let path = self.path().join(&name);
        let failed = |error: io::Error| SnapshotError::of_write(path.clone(), error);
        let mut out = Tally::new(self.dir.new_file(0o600)?);
        for (name, bytes) in [(MANIFEST, text.as_slice()), (SIGNATURE, signature.as_bytes().as_slice())] {
            out.write_all(&block::header(name, bytes.len() as u64)).map_err(failed)?;
            out.write_all(bytes).map_err(failed)?;
            block::write_zeros(&mut out, block::padding(bytes.len() as u64)).map_err(failed)?;
        }
        let length = manifest.payload.length;
        out.write_all(&block::header(payload_name(manifest.payload.sealed), length)).map_err(failed)?;
        payload.seek(SeekFrom::Start(0)).map_err(failed)?;
        block::pass(&mut payload, length, |piece| {
            progress(Step::Write, piece.len() as u64);
            out.write_all(piece).map_err(|error| Passed::Write(failed(error)))
        })
        .map_err(|error| match error {
            Passed::Write(error) => error,
            Passed::Read(reason) => failed(into_io(reason)),
        })?;
        block::write_zeros(&mut out, block::padding(length)).map_err(failed)?;
        block::write_zeros(&mut out, END).map_err(failed)?;
        let (file, length, digest) = out.finish();
        file.publish_as_new(&name).map_err(|error| match error {
            SysError::Io { source, path, .. } if source.kind() == io::ErrorKind::StorageFull => {
                SnapshotError::Full(path)
            }
            error => error.into(),
        })?;
        Ok(Snapshot { id: manifest.id.clone(), path, digest, length, manifest })
    }
}

enum Passed {
    Read(FormatError),
    Write(SnapshotError),
}

impl From<FormatError> for Passed {
    fn from(error: FormatError) -> Self {
        Self::Read(error)
    }
}

fn into_io(reason: FormatError) -> io::Error {
    match reason {
        FormatError::Read(error) => error,
        other => io::Error::new(io::ErrorKind::UnexpectedEof, other),
    }
}

/// Where the packed tar goes: to the file, or through the seal.
enum Sink {
    Open(Tally<BufWriter<File>>),
    Sealed(Box<StreamWriter<Tally<BufWriter<File>>>>),
}

enum SealError {
    Seal(age::EncryptError),
    Io(io::Error),
}

impl Sink {
    fn new(file: File, recipients: &[Recipient], keys: &NodeKeys) -> Result<Self, SealError> {
        let out = Tally::new(BufWriter::with_capacity(1 << 17, file));
        if recipients.is_empty() {
            return Ok(Self::Open(out));
        }
        let own = keys.recipient();
        let others = recipients.iter().filter(|other| **other != own);
        let all = std::iter::once(&own).chain(others).map(|recipient| recipient as &dyn age::Recipient);
        let seal = age::Encryptor::with_recipients(all).map_err(SealError::Seal)?;
        seal.wrap_output(out).map(|out| Self::Sealed(Box::new(out))).map_err(SealError::Io)
    }

    fn finish(self) -> io::Result<(File, u64, Sha256Digest)> {
        let out = match self {
            Self::Open(out) => out,
            Self::Sealed(out) => out.finish()?,
        };
        let (out, length, digest) = out.finish();
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((file, length, digest))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(out) => out.write(bytes),
            Self::Sealed(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Open(out) => out.flush(),
            Self::Sealed(out) => out.flush(),
        }
    }
}
