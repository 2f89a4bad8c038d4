use std::fs::File;
use std::io::{self, Seek, Write};
use std::mem;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};

const PIECE: usize = 256 << 10;

/// Where a body goes while it streams: memory for a listing, a private file for an asset.
pub(super) enum Body {
    Memory(Vec<u8>),
    File(FileBody),
}

/// A file that is written on the blocking pool, one piece at a time, while the next one arrives.
pub(super) struct FileBody {
    file: Arc<File>,
    piece: Vec<u8>,
    length: u64,
    // Kept until it is done, also when the future that waits for it is dropped by a time-out:
    // otherwise a late write could follow the truncation.
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl FileBody {
    pub(super) fn new(file: &File) -> io::Result<Self> {
        Ok(Self { file: Arc::new(file.try_clone()?), piece: Vec::new(), length: 0, writing: None })
    }

    async fn settle(&mut self) -> io::Result<()> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let outcome = writing.await.unwrap_or_else(|_| Err(io::Error::other("the writing thread was lost")));
        self.writing = None;
        outcome
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.settle().await?;
        let (file, piece) = (Arc::clone(&self.file), mem::take(&mut self.piece));
        self.writing = Some(spawn_blocking(move || (&*file).write_all(&piece)));
        Ok(())
    }
}

impl Body {
    pub(super) async fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(all) => all.extend_from_slice(bytes),
            Self::File(body) => {
                body.piece.extend_from_slice(bytes);
                body.length += bytes.len() as u64;
                if body.piece.len() >= PIECE {
                    body.flush().await?;
                }
            }
        }
        Ok(())
    }

    /// How much has been pushed since it was empty.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Memory(all) => all.len() as u64,
            Self::File(body) => body.length,
        }
    }

    /// Everything so far is written, and more may follow.
    pub(super) async fn keep(&mut self) -> io::Result<()> {
        if let Self::File(body) = self {
            body.flush().await?;
            body.settle().await?;
        }
        Ok(())
    }

    /// Everything is written, and the file is at its start.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.keep().await?;
        if let Self::File(body) = self {
            (&*body.file).rewind()?;
        }
        Ok(())
    }

    /// Empty again, for another attempt or for good.
    pub(super) async fn clear(&mut self) -> io::Result<()> {
        match self {
            Self::Memory(all) => all.clear(),
            Self::File(body) => {
                body.piece.clear();
                body.length = 0;
                // How the last write ended does not matter any more, only that it did.
                let _ = body.settle().await;
                body.file.set_len(0)?;
                (&*body.file).rewind()?;
            }
        }
        Ok(())
    }
}
