use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Reads a file from its first byte to a fixed end, by position (pread): several readers of one
/// handle do not move each other.
#[derive(Debug)]
pub struct FromStart<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl<'a> FromStart<'a> {
    /// A reader of the first `length` bytes.
    #[must_use]
    pub fn new(file: &'a File, length: u64) -> Self {
        Self { file, at: 0, end: length }
    }

    /// A reader of the bytes from `at` to `end`.
    #[must_use]
    pub fn between(file: &'a File, at: u64, end: u64) -> Self {
        Self { file, at, end }
    }

    /// How far it has read.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Moves the end, for a file that is still growing.
    pub fn extend_to(&mut self, end: u64) {
        self.end = end;
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        match self.file.read_at(&mut buffer[..wanted], self.at)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.at += read as u64;
                Ok(read)
            }
        }
    }
}
