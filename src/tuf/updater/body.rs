use std::io::{self, Write};

/// What is being received: passes on at most so many bytes, and fails at the first one beyond.
pub(super) struct Body<W> {
    inner: W,
    left: u64,
    overflowed: bool,
}

impl<W> Body<W> {
    pub(super) fn new(inner: W, limit: u64) -> Self {
        Self { inner, left: limit, overflowed: false }
    }

    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(super) fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Body<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            self.overflowed = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.inner.write_all(bytes)?;
        self.left -= bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
