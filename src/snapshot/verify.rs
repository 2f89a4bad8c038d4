use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::block::{self, END};
use super::error::{FormatError, SnapshotError};
use super::id::SnapshotId;
use super::manifest::{Claim, Manifest};
use super::tally::Tally;
use super::{MANIFEST, SIGNATURE, Step, payload_name};
use crate::crypto::{Context, Keyring, NodeSnapshot, PublicKey, Signature};
use crate::sys::OperatorFile;
use crate::types::{ByteLimit, KeyId, NodeId, Product, Sha256Digest};

/// A file that may be a snapshot. Nothing in it is believed.
#[derive(Debug)]
pub struct UntrustedSnapshot {
    file: File,
    length: u64,
    path: PathBuf,
}

/// What a snapshot must be to be believed.
#[derive(Clone, Debug)]
pub struct Expectations<'a> {
    /// Any one of these keys must have signed it. What a snapshot says of its own key counts for nothing.
    pub keys: &'a Keyring<NodeSnapshot>,
    /// Whose it must be.
    pub whose: Whose<'a>,
    /// The name that it must have, where one was asked for.
    pub id: Option<&'a SnapshotId>,
    /// The SHA-256 of the whole file, where a record names it.
    pub digest: Option<Sha256Digest>,
}

/// Whose state a snapshot must hold.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// Of this product and node: the signature's context names both.
    Node(&'a Product, &'a NodeId),
    /// Of any node that a trusted key signs for.
    AnyNode,
}

/// A snapshot that a trusted key signed, whole: manifest, lengths and digests hold.
#[derive(Debug)]
pub struct VerifiedSnapshot {
    pub(super) file: File,
    pub(super) payload_at: u64,
    pub(super) path: PathBuf,
    manifest: Manifest,
    key: KeyId,
    digest: Sha256Digest,
}

impl UntrustedSnapshot {
    pub(super) fn of(file: File, length: u64, path: PathBuf) -> Self {
        Self { file, length, path }
    }

    /// Opens a file that an operator named.
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let file = OperatorFile::open(path, ByteLimit::bytes(Manifest::LONGEST_FILE + (1 << 20)))?;
        Ok(Self { file: file.file, length: file.length, path: path.to_owned() })
    }

    /// What it says of itself. Nothing of that is verified.
    pub fn claims(&mut self) -> Result<Manifest, SnapshotError> {
        let claims = self.file.seek(SeekFrom::Start(0)).map_err(FormatError::Read).and_then(|_| {
            let (manifest, _) = read_front(&mut BufReader::new(&self.file))?;
            Manifest::read(&manifest)
        });
        claims.map_err(|reason| self.malformed(reason))
    }

    fn malformed(&self, reason: FormatError) -> SnapshotError {
        SnapshotError::Malformed { path: self.path.clone(), reason }
    }

    /// How many bytes there are to check: for a progress bar.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Checks everything: signature first, then the manifest, then each byte of the payload.
    pub fn verify(
        mut self,
        expected: &Expectations<'_>,
        progress: &mut dyn FnMut(Step, u64),
    ) -> Result<VerifiedSnapshot, SnapshotError> {
        let unreadable = |this: &Self, error| this.malformed(FormatError::Read(error));
        self.file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(&self, error))?;
        let mut whole = Tally::new(BufReader::with_capacity(1 << 17, &self.file));
        let (text, signature) = read_front(&mut whole).map_err(|reason| self.malformed(reason))?;
        let key = self.signer(&text, &signature, expected)?;
        let manifest = Manifest::read(&text).map_err(|reason| self.malformed(reason))?;
        if expected.id.is_some_and(|id| *id != manifest.id) {
            return Err(SnapshotError::OtherSnapshot { path: self.path, found: manifest.id });
        }
        read_payload(&mut whole, &manifest, progress).map_err(|reason| self.malformed(reason))?;
        let (_, length, digest) = whole.finish();
        if expected.digest.is_some_and(|expected| expected != digest) {
            return Err(SnapshotError::OtherContent(self.path));
        }
        let payload_at = length - END - manifest.payload.length - block::padding(manifest.payload.length);
        Ok(VerifiedSnapshot { file: self.file, payload_at, path: self.path, manifest, key, digest })
    }

    fn signer(&self, text: &[u8], signature: &Signature, expected: &Expectations<'_>) -> Result<KeyId, SnapshotError> {
        let signed_for = |product: &Product, node: &NodeId| {
            let mut message = std::io::Cursor::new(text);
            expected.keys.verify(&Context::snapshot(product, node), &mut message, signature).ok().map(PublicKey::id)
        };
        if let Whose::Node(product, node) = expected.whose
            && let Some(key) = signed_for(product, node)
        {
            return Ok(key);
        }
        // Only to find the context to try, and to say whose it is: the signature decides.
        let claim: Option<Claim> = serde_json::from_slice(text).ok();
        let signed = claim.as_ref().and_then(|claim| signed_for(&claim.product, &claim.node_id));
        match (signed, expected.whose, claim) {
            (Some(key), Whose::AnyNode, _) => Ok(key),
            (Some(_), Whose::Node(_, wanted), Some(claim)) if claim.node_id != *wanted => {
                Err(SnapshotError::OtherNode { found: claim.node_id, wanted: wanted.clone() })
            }
            (_, _, claim) => {
                let claim = claim.map(|claim| claim.node_id);
                Err(SnapshotError::NotSigned { path: self.path.clone(), claim })
            }
        }
    }
}

pub(super) fn read_front(from: &mut impl Read) -> Result<(Vec<u8>, Signature), FormatError> {
    let manifest = read_small(from, MANIFEST, Manifest::LIMIT.get())?;
    let signature = read_small(from, SIGNATURE, Signature::LEN as u64)?;
    let signature = Signature::from_bytes(&signature).map_err(|_| FormatError::Entry(SIGNATURE))?;
    Ok((manifest, signature))
}

fn read_small(from: &mut impl Read, name: &'static str, limit: u64) -> Result<Vec<u8>, FormatError> {
    let length = block::read_header(from, name, limit)?;
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| FormatError::TooLong(length))?];
    block::read_exact(from, &mut bytes)?;
    block::expect_zeros(from, block::padding(length))?;
    Ok(bytes)
}

/// The payload must be the signed one, and nothing may follow.
pub(super) fn read_payload(
    from: &mut impl Read,
    manifest: &Manifest,
    progress: &mut dyn FnMut(Step, u64),
) -> Result<(), FormatError> {
    let name = payload_name(manifest.payload.sealed);
    let length = block::read_header(from, name, Manifest::LONGEST_FILE)?;
    if length != manifest.payload.length {
        return Err(FormatError::OtherPayload);
    }
    let mut hashed = Tally::new(std::io::sink());
    block::pass(from, length, |piece| {
        progress(Step::Check, piece.len() as u64);
        std::io::Write::write_all(&mut hashed, piece).map_err(FormatError::Read)
    })?;
    if hashed.finish().2 != manifest.payload.sha256 {
        return Err(FormatError::OtherPayload);
    }
    block::expect_zeros(from, block::padding(length))?;
    block::expect_zeros(from, END)?;
    block::expect_end(from)
}

impl VerifiedSnapshot {
    /// What it says of itself, signed.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The key that signed it.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// SHA-256 of the whole file.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Where it was when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
