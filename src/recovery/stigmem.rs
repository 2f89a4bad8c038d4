//! The stigmem snapshot, version 1: a gzip'd tar of a manifest, a cursor and a database.
//!
//! Withstands: manifests that vouch for their own key; files that are undeclared, missing, twice, exchanged,
//! links or outside; other versions; archives that decompress without end; data behind the end.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::bufread::GzDecoder;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType, PaxExtensions};

use super::error::RecoveryError;
use crate::sys::{Dir, NewFile, OperatorFile};
use crate::types::{ByteLimit, Sha256Digest};

const MANIFEST: &str = "manifest.json";
const CURSOR: &str = "artifacts/schema_migration_cursor.json";
const DATABASE: &str = "artifacts/stigmem.db";
const SMALL: u64 = 1 << 20;

/// The Ed25519 keys that may sign: a JSON array of base64url texts.
#[derive(Clone, Debug)]
pub struct TrustList(Vec<[u8; 32]>);

impl TrustList {
    /// Reads the list.
    pub fn read(path: &Path) -> Result<Self, RecoveryError> {
        let refused = || RecoveryError::TrustList(path.to_owned());
        let bytes = OperatorFile::read(path, ByteLimit::bytes(SMALL))?;
        let texts: Vec<String> = serde_json::from_slice(&bytes).map_err(|_| refused())?;
        let keys: Option<Vec<_>> = texts.iter().map(|text| fixed(text)).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self).ok_or_else(refused)
    }
}

fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// A snapshot whose signature and digests hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The node that it says it is of, signed.
    pub node_id: String,
    /// When it was taken, as its node wrote it.
    pub created_at: String,
    /// SHA-256 of its database.
    pub database: Sha256Digest,
    /// Length of its database in bytes.
    pub length: u64,
    /// The migrations that were applied to it.
    pub migrations: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u64,
    created_at: String,
    node_id: String,
    signer_pubkey: String,
    artifacts: Artifacts,
    signature: String,
}

/// Exactly these: the format lets a manifest leave them out, and a reader must not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Artifacts {
    #[serde(rename = "artifacts/schema_migration_cursor.json")]
    cursor: String,
    #[serde(rename = "artifacts/stigmem.db")]
    database: String,
}

#[derive(Deserialize)]
struct Cursor {
    applied_migrations: Vec<serde_json::Value>,
}

impl Manifest {
    /// The signed bytes: keys sorted, no spaces, ASCII alone.
    fn canonical(&self) -> String {
        format!(
            "{{\"artifacts\":{{{}:{},{}:{}}},\"created_at\":{},\"node_id\":{},\"signer_pubkey\":{},\"version\":{}}}",
            ascii(CURSOR),
            ascii(&self.artifacts.cursor),
            ascii(DATABASE),
            ascii(&self.artifacts.database),
            ascii(&self.created_at),
            ascii(&self.node_id),
            ascii(&self.signer_pubkey),
            self.version
        )
    }

    fn verify(&self, trusted: &TrustList) -> Result<(), RecoveryError> {
        let key = fixed(&self.signer_pubkey).filter(|key| trusted.0.contains(key)).ok_or(RecoveryError::NotTrusted)?;
        let signature: [u8; 64] = fixed(&self.signature).ok_or(RecoveryError::Signature)?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(self.canonical().as_bytes(), &signature)
            .map_err(|_| RecoveryError::Signature)
    }
}

/// A JSON string as Python's `json.dumps` writes it.
fn ascii(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some('\u{8}') => out.push_str("\\b"),
            Some('\u{c}') => out.push_str("\\f"),
            Some(c @ ' '..='~') => out.push(c),
            _ => {
                // Writing into a text cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out.push('"');
    out
}

fn stated(text: &str) -> Result<Sha256Digest, RecoveryError> {
    text.strip_prefix("sha256:").and_then(|hex| hex.parse().ok()).ok_or(RecoveryError::Artifacts)
}

/// Checks a snapshot and writes its database as the new file `name`, which appears after the last check.
pub fn import_stigmem(
    file: OperatorFile,
    trusted: &TrustList,
    limit: ByteLimit,
    (into, name): (&Dir, &str),
) -> Result<Imported, RecoveryError> {
    // A log beside it would be played into the new database.
    for end in ["", "-wal", "-shm", "-journal"] {
        if into.exists(&format!("{name}{end}"))? {
            return Err(RecoveryError::Exists(into.path().join(format!("{name}{end}"))));
        }
    }
    let mut out = into.new_file(0o600)?;
    let failed = |source| RecoveryError::Write { path: into.path().join(name), source };
    let imported = read(file, trusted, limit, &mut |piece| NewFile::write_all(&mut out, piece).map_err(failed))?;
    out.publish_as_new(name)?;
    Ok(imported)
}

/// Checks a snapshot.
pub fn verify_stigmem(file: OperatorFile, trusted: &TrustList, limit: ByteLimit) -> Result<Imported, RecoveryError> {
    read(file, trusted, limit, &mut |_| Ok(()))
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), RecoveryError>;

fn read(
    file: OperatorFile,
    trusted: &TrustList,
    limit: ByteLimit,
    database: Sink<'_>,
) -> Result<Imported, RecoveryError> {
    // Whatever else it holds, it decompresses to the database and little more.
    let room = limit.get().saturating_add(4 * SMALL);
    let gz = GzDecoder::new(io::BufReader::new(file.file)).take(room);
    let mut archive = Archive::new(gz);
    let mut manifest: Option<Manifest> = None;
    let (mut cursor, mut found) = (None, None);
    for entry in archive.entries().map_err(unpacking)?.raw(true) {
        let mut entry = entry.map_err(unpacking)?;
        let kind = entry.header().entry_type();
        let name = entry.path_bytes().into_owned();
        let length = entry.size();
        let odd = || RecoveryError::Entry(name.escape_ascii().to_string());
        let Some(manifest) = &manifest else {
            match kind {
                EntryType::XHeader => times_only(&mut entry, length)?,
                EntryType::Regular if name == MANIFEST.as_bytes() => {
                    let read: Manifest =
                        serde_json::from_slice(&small(&mut entry, length)?).map_err(RecoveryError::Manifest)?;
                    read.verify(trusted)?;
                    if read.version != 1 {
                        return Err(RecoveryError::Version(read.version));
                    }
                    manifest = Some(read);
                }
                _ => return Err(RecoveryError::NotStigmem("its manifest is not its first entry")),
            }
            continue;
        };
        match kind {
            EntryType::XHeader => times_only(&mut entry, length)?,
            EntryType::Directory if name == b"artifacts/" && length == 0 => {}
            EntryType::Regular if name == CURSOR.as_bytes() && cursor.is_none() => {
                let text = small(&mut entry, length)?;
                if Sha256Digest::from_bytes(Sha256::digest(&text).into()) != stated(&manifest.artifacts.cursor)? {
                    return Err(RecoveryError::OtherFile(CURSOR));
                }
                cursor = Some(text);
            }
            EntryType::Regular if name == DATABASE.as_bytes() && found.is_none() => {
                if !limit.admits(length) {
                    return Err(RecoveryError::TooLong(limit.get()));
                }
                let digest = pass(&mut entry, length, database)?;
                if digest != stated(&manifest.artifacts.database)? {
                    return Err(RecoveryError::OtherFile(DATABASE));
                }
                found = Some((digest, length));
            }
            _ => return Err(odd()),
        }
    }
    let manifest = manifest.ok_or(RecoveryError::NotStigmem("it has no manifest"))?;
    let cursor = cursor.ok_or(RecoveryError::Missing(CURSOR))?;
    let (digest, length) = found.ok_or(RecoveryError::Missing(DATABASE))?;
    nothing_but_zeros(archive.into_inner())?;
    let cursor: Cursor = serde_json::from_slice(&cursor).map_err(RecoveryError::Manifest)?;
    let migration = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(Imported {
        node_id: manifest.node_id,
        created_at: manifest.created_at,
        database: digest,
        length,
        migrations: cursor.applied_migrations.into_iter().map(migration).collect(),
    })
}

fn unpacking(error: io::Error) -> RecoveryError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => RecoveryError::Truncated,
        _ => RecoveryError::Compression(error),
    }
}

/// Python writes the time of a file with its fraction there. A name or length there would be another entry.
fn times_only(entry: &mut impl Read, length: u64) -> Result<(), RecoveryError> {
    let bytes = small(entry, length)?;
    for extension in PaxExtensions::new(&bytes) {
        let key = extension.ok().and_then(|extension| extension.key().ok().map(str::to_owned));
        if !key.as_deref().is_some_and(|key| ["mtime", "atime", "ctime"].contains(&key)) {
            return Err(RecoveryError::Entry(format!("PAX {}", key.unwrap_or_default())));
        }
    }
    Ok(())
}

fn small(entry: &mut impl Read, length: u64) -> Result<Vec<u8>, RecoveryError> {
    if length > SMALL {
        return Err(RecoveryError::TooLong(SMALL));
    }
    let mut bytes = Vec::new();
    entry.take(length).read_to_end(&mut bytes).map_err(unpacking)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(RecoveryError::Truncated) }
}

fn pass(entry: &mut impl Read, length: u64, to: Sink<'_>) -> Result<Sha256Digest, RecoveryError> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    let mut done = 0;
    while done < length {
        let n = entry.read(&mut piece).map_err(unpacking)?;
        if n == 0 {
            return Err(RecoveryError::Truncated);
        }
        if done == 0 && !piece[..n].starts_with(b"SQLite format 3\0") {
            return Err(RecoveryError::NotADatabase);
        }
        hash.update(&piece[..n]);
        to(&piece[..n])?;
        done += n as u64;
    }
    if length == 0 {
        return Err(RecoveryError::NotADatabase);
    }
    Ok(Sha256Digest::from_bytes(hash.finalize().into()))
}

/// A tar is filled up with zeros to its record; then the one gzip member ends, and with it the file.
fn nothing_but_zeros(mut rest: io::Take<GzDecoder<io::BufReader<std::fs::File>>>) -> Result<(), RecoveryError> {
    let mut piece = [0; 4096];
    loop {
        match rest.read(&mut piece).map_err(unpacking)? {
            0 => break,
            n if piece[..n].iter().any(|byte| *byte != 0) => return Err(RecoveryError::Trailing),
            _ => {}
        }
    }
    let mut file = rest.into_inner().into_inner();
    match file.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(RecoveryError::Trailing),
        Err(error) => Err(RecoveryError::Read(error)),
    }
}
