use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The base, read by position: in ever larger pieces while it is read onwards, in small ones after a leap.
pub(super) struct Base<'a> {
    file: &'a File,
    length: u64,
    buffer: Vec<u8>,
    /// Where the buffer begins, and how much of it holds bytes of the base.
    start: u64,
    filled: usize,
    ahead: usize,
}

const SMALLEST: usize = 4 * 1024;
const LARGEST: usize = 256 * 1024;

impl<'a> Base<'a> {
    pub(super) fn new(file: &'a File, length: u64) -> Self {
        Self { file, length, buffer: vec![0; LARGEST], start: 0, filled: 0, ahead: SMALLEST }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes from `at` on, at least one and at most `most`; the caller stays below the length.
    pub(super) fn some(&mut self, at: u64, most: usize) -> io::Result<&[u8]> {
        let end = self.start + self.filled as u64;
        if at < self.start || at >= end {
            self.ahead = if at == end { (self.ahead * 2).min(LARGEST) } else { SMALLEST };
            let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
            (self.start, self.filled) = (at, 0);
            self.filled = self.file.read_at(&mut self.buffer[..left.min(self.ahead)], at)?;
            if self.filled == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let from = usize::try_from(at - self.start).expect("below the buffer's length");
        Ok(&self.buffer[from..self.filled.min(from.saturating_add(most))])
    }
}
