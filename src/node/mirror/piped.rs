//! A file on its way to another host: read by a thread of its own, no faster than it may go.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use crate::cache::Held;
use crate::types::ByteLimit;

/// How many bytes may go out in a second, to all together.
pub(super) struct Rate {
    bytes_per_second: u64,
    /// When the next piece may go.
    next: Mutex<Instant>,
}

/// The body of an answer, as the thread reads it.
pub(super) struct Piped {
    pieces: mpsc::Receiver<Bytes>,
    left: u64,
}

const PIECE: usize = 64 * 1024;
/// Who takes nothing for so long is not sent any more.
const STALLED: Duration = Duration::from_secs(20);

impl Rate {
    pub(super) fn new(limit: ByteLimit) -> Self {
        Self { bytes_per_second: limit.get(), next: Mutex::new(Instant::now()) }
    }

    /// How long to wait before so many bytes go out. They are counted as gone.
    fn pause(&self, bytes: usize, now: Instant) -> Duration {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // What was not used before is not made up for.
        let at = (*next).max(now);
        *next = at + takes;
        at.duration_since(now)
    }
}

/// Sends all of a file. `permit` is given back when it is sent or nobody takes it; `sent` hears the bytes that went.
pub(super) fn send(
    held: Arc<Held>,
    rate: Arc<Rate>,
    permit: OwnedSemaphorePermit,
    sent: impl Fn(u64) + Send + 'static,
) -> Piped {
    let (to, pieces) = mpsc::channel(2);
    let (left, runtime) = (held.length(), Handle::current());
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let mut from = held.reader();
        let mut piece = vec![0; PIECE];
        loop {
            let read = match from.read(&mut piece) {
                // Its receiver sees the early end.
                Ok(0) | Err(_) => return,
                Ok(read) => read,
            };
            std::thread::sleep(rate.pause(read, Instant::now()));
            let bytes = Bytes::copy_from_slice(&piece[..read]);
            if !matches!(runtime.block_on(timeout(STALLED, to.send(bytes))), Ok(Ok(()))) {
                return;
            }
            sent(read as u64);
        }
    });
    Piped { pieces, left }
}

impl Body for Piped {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.pieces.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(piece)) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Poll::Ready(None) if self.left > 0 => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_go_no_faster_than_the_rate_and_what_was_not_used_is_lost() {
        let rate = Rate::new(ByteLimit::mib(1));
        let now = Instant::now() + Duration::from_secs(1);
        assert_eq!(rate.pause(1 << 20, now), Duration::ZERO);
        assert_eq!(rate.pause(1 << 20, now), Duration::from_secs(1));
        assert_eq!(rate.pause(1 << 19, now), Duration::from_secs(2));
        let later = now + Duration::from_secs(10);
        assert_eq!(rate.pause(1 << 20, later), Duration::ZERO);
        assert_eq!(rate.pause(1 << 20, later), Duration::from_secs(1), "no burst of nine seconds");
    }
}
