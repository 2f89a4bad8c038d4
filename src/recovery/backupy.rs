//! The Backupy chunk stream, version 1: frames of AES-256-GCM and a zero.
//!
//! Withstands: lengths of 4 GiB; frames of another key; streams that end early or go on. It cannot know
//! whether frames were moved, repeated or dropped: the format does not bind them. The SHA-256 of the whole
//! stream does, for whoever has it.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::error::RecoveryError;
use crate::sys::{Dir, OperatorFile};
use crate::types::{ByteLimit, Sha256Digest};

const NONCE: usize = 12;
const TAG: usize = 16;
/// Plaintext of every frame but the last.
const CHUNK: usize = 1 << 20;
/// What the compressed content may ask a reader to remember: 128 MiB, as the `zstd` program allows.
const WINDOW_LOG_MAX: u32 = 27;

/// The key of a stream: 32 bytes. Wiped when dropped.
#[derive(Clone)]
pub struct BackupyKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for BackupyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BackupyKey(…)")
    }
}

impl BackupyKey {
    /// Takes the 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a key file: the 32 bytes, or 64 hexadecimal digits.
    pub fn read(path: &Path) -> Result<Self, RecoveryError> {
        let bytes = Zeroizing::new(OperatorFile::read(path, ByteLimit::kib(4))?);
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() == key.len() {
            key.copy_from_slice(&bytes);
        } else {
            hex::decode_to_slice(bytes.trim_ascii(), key.as_mut()).map_err(|_| RecoveryError::Key(path.to_owned()))?;
        }
        Ok(Self(key))
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, self.0.as_ref()).expect("a key of 32 bytes"))
    }
}

/// What came out of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decrypted {
    /// Bytes written.
    pub length: u64,
    /// SHA-256 of the stream, from its first frame through its end.
    pub stream: Sha256Digest,
}

/// The plaintext of a stream, frame by frame.
struct Frames<R> {
    from: R,
    hash: Sha256,
    cipher: LessSafeKey,
    frame: Vec<u8>,
    /// How much of the frame is plaintext, and how much of that was read.
    plain: usize,
    read: usize,
    count: u64,
    ended: bool,
}

impl<R: Read> Frames<R> {
    fn new(from: R, key: &BackupyKey) -> Self {
        let (hash, cipher) = (Sha256::new(), key.cipher());
        Self { from, hash, cipher, frame: Vec::new(), plain: 0, read: 0, count: 0, ended: false }
    }

    fn exactly(&mut self, length: usize) -> Result<(), RecoveryError> {
        self.frame.resize(length, 0);
        self.from.read_exact(&mut self.frame).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => RecoveryError::Truncated,
            _ => RecoveryError::Read(error),
        })?;
        self.hash.update(&self.frame);
        Ok(())
    }

    /// Opens the next frame; `false`: that was the end, and nothing follows.
    fn next(&mut self) -> Result<bool, RecoveryError> {
        self.plain = 0;
        self.read = 0;
        self.exactly(4)?;
        let stated = u32::from_be_bytes(self.frame[..].try_into().expect("four bytes"));
        if stated == 0 {
            self.ended = true;
            return match self.from.read(&mut [0]) {
                Ok(0) => Ok(false),
                Ok(_) => Err(RecoveryError::Trailing),
                Err(error) => Err(RecoveryError::Read(error)),
            };
        }
        let length = stated as usize;
        if !(NONCE + TAG..=NONCE + CHUNK + TAG).contains(&length) {
            return Err(RecoveryError::FrameLength(stated));
        }
        self.exactly(length)?;
        self.count += 1;
        let nonce = Nonce::try_assume_unique_for_key(&self.frame[..NONCE]).expect("twelve bytes");
        let opened = self.cipher.open_within(nonce, Aad::empty(), &mut self.frame, NONCE..);
        self.plain = opened.map_err(|_| RecoveryError::Frame(self.count))?.len();
        Ok(true)
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.plain {
            if self.ended || !self.next().map_err(io::Error::other)? {
                return Ok(0);
            }
        }
        let n = buffer.len().min(self.plain - self.read);
        buffer[..n].copy_from_slice(&self.frame[self.read..self.read + n]);
        self.read += n;
        Ok(n)
    }
}

/// The reason behind an error of [`Frames`], or what the decoder itself says.
fn reason(error: io::Error, otherwise: fn(io::Error) -> RecoveryError) -> RecoveryError {
    match error.downcast::<RecoveryError>() {
        Ok(reason) => reason,
        Err(error) => otherwise(error),
    }
}

/// Decrypts a stream into the new file `name`, which appears after the last check; with `zstd`, what is
/// inside is decompressed, too. At most `limit` bytes are written. Without `expected`, nobody knows whether
/// frames were moved, repeated or dropped: say so.
pub fn decrypt_backupy(
    key: &BackupyKey,
    expected: Option<Sha256Digest>,
    from: impl Read,
    zstd: bool,
    limit: ByteLimit,
    (into, name): (&Dir, &str),
) -> Result<Decrypted, RecoveryError> {
    let shown = into.path().join(name);
    if into.exists(name)? {
        return Err(RecoveryError::Exists(shown));
    }
    let mut out = into.new_file(0o600)?;
    let mut frames = Frames::new(BufReader::with_capacity(1 << 16, from), key);
    let length = if zstd {
        let mut decoder =
            zstd::Decoder::with_buffer(BufReader::new(&mut frames)).map_err(RecoveryError::Read)?.single_frame();
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(RecoveryError::Read)?;
        let length = copy(&mut decoder, &mut out, limit, &shown, RecoveryError::Compression)?;
        let mut rest = decoder.finish();
        match rest.read(&mut [0]) {
            Ok(0) => length,
            Ok(_) => return Err(RecoveryError::Trailing),
            Err(error) => return Err(reason(error, RecoveryError::Read)),
        }
    } else {
        copy(&mut frames, &mut out, limit, &shown, RecoveryError::Read)?
    };
    if !frames.ended {
        return Err(RecoveryError::Truncated);
    }
    let stream = Sha256Digest::from_bytes(frames.hash.finalize().into());
    if expected.is_some_and(|expected| expected != stream) {
        return Err(RecoveryError::OtherStream);
    }
    out.publish_as_new(name)?;
    Ok(Decrypted { length, stream })
}

fn copy(
    from: &mut impl Read,
    to: &mut impl Write,
    limit: ByteLimit,
    shown: &Path,
    otherwise: fn(io::Error) -> RecoveryError,
) -> Result<u64, RecoveryError> {
    let mut piece = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        let n = from.read(&mut piece).map_err(|error| reason(error, otherwise))?;
        if n == 0 {
            return Ok(length);
        }
        length += n as u64;
        if !limit.admits(length) {
            return Err(RecoveryError::TooLong(limit.get()));
        }
        to.write_all(&piece[..n]).map_err(|source| RecoveryError::Write { path: shown.to_owned(), source })?;
    }
}

/// Writes a stream as Backupy does: full chunks, and an end. `nonce` draws twelve bytes for each frame, never
/// the same ones twice under one key.
pub fn encrypt_backupy(
    key: &BackupyKey,
    mut from: impl Read,
    to: &mut impl Write,
    nonce: &mut dyn FnMut() -> io::Result<[u8; NONCE]>,
) -> io::Result<()> {
    let cipher = key.cipher();
    loop {
        let mut frame = Vec::with_capacity(CHUNK + TAG);
        from.by_ref().take(CHUNK as u64).read_to_end(&mut frame)?;
        if frame.is_empty() {
            return to.write_all(&[0; 4]);
        }
        let nonce = nonce()?;
        cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut frame)
            .map_err(|_| io::Error::other("AES-256-GCM refuses the frame"))?;
        let length = u32::try_from(NONCE + frame.len()).expect("about 1 MiB");
        to.write_all(&length.to_be_bytes())?;
        to.write_all(&nonce)?;
        to.write_all(&frame)?;
    }
}
