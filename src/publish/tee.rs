use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use crate::types::Sha256Digest;

/// Reads, and hands on every piece that was read.
pub(super) struct Tee<R, W> {
    pub(super) reader: R,
    pub(super) writer: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.writer.write_all(&buffer[..n])?;
        Ok(n)
    }
}

/// A writer that keeps nothing but a digest and a length.
#[derive(Default)]
pub(super) struct Hashing {
    hasher: Sha256,
    pub(super) length: u64,
}

impl Hashing {
    pub(super) fn digest(self) -> Sha256Digest {
        Sha256Digest::from_bytes(self.hasher.finalize().into())
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
