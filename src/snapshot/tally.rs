use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use crate::types::Sha256Digest;

/// Counts and hashes what passes through.
pub(super) struct Tally<T> {
    inner: T,
    hash: Sha256,
    length: u64,
}

impl<T> Tally<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), length: 0 }
    }

    pub(super) fn finish(self) -> (T, u64, Sha256Digest) {
        (self.inner, self.length, Sha256Digest::from_bytes(self.hash.finalize().into()))
    }
}

impl<T: Write> Write for Tally<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.length += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Tally<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        self.length += n as u64;
        Ok(n)
    }
}
