//! A file from another host, or the right to have it from the origin.
//!
//! Hosts that need the same file at the same time agree without a master: each tells, through its mirror, that it
//! wants to begin, looks again a moment later who else does, and gives way to the lowest number and to whoever has
//! begun. Where they do not see each other, each asks the origin, as without neighbours; a host that wins and then
//! fails lets go, and the others go on. Nobody is waited for who makes no progress, nor longer than a while in all.

use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::engine::{Engine, NeighbourAnswer, Observer, Step};
use super::stage::{DownloadTurnSlot, tell_siblings};
use crate::cache::Fetching;
use crate::crypto::Signature;
use crate::fetch::{Asset, FetchError, NeighbourError, Neighbours, Reply};
use crate::types::{ByteLimit, Sha256Digest, Version};

/// What came of asking.
pub(super) enum Asked<T> {
    /// A neighbour had it, and it was accepted.
    Had(T, SocketAddr),
    /// The origin is to be asked; while the value lives, others wait for this host.
    Origin(Option<Fetching>),
}

/// Holds what came against its signature, or says why not. It blocks.
pub(super) type Accept<T> = Arc<dyn Fn(File, &Signature) -> Result<T, String> + Send + Sync>;

/// What is wanted of neighbours.
pub(super) struct Wanted<'a> {
    pub(super) version: &'a Version,
    pub(super) digest: Sha256Digest,
    pub(super) cap: ByteLimit,
}

impl<'a> Wanted<'a> {
    /// `None` where the listing does not say a digest: then nobody can be asked.
    pub(super) fn of(version: &'a Version, asset: &Asset, cap: ByteLimit) -> Option<Self> {
        let cap = asset.size().map_or(cap, |size| cap.min(ByteLimit::bytes(size.max(1))));
        Some(Self { version, digest: asset.digest()?, cap })
    }
}

/// Why a neighbour that says it has a file did not send it.
enum Unhad {
    /// It sends as much as it may: it is worth coming back.
    Busy,
    /// It does not send it after all.
    Away,
    /// What it sent was not what it should have been.
    Lied,
}

/// Until others can have seen that this host wants to begin.
const SETTLING: Duration = Duration::from_secs(1);
/// Between two looks at those who are waited for.
const PAUSE: Duration = Duration::from_millis(500);
/// Who brings nothing new for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long others are waited for in all.
const LONGEST: Duration = Duration::from_mins(10);
/// Neighbours that send something else than was asked for, before the origin is asked.
const REFUSALS: u32 = 8;

/// Has a file from a neighbour, if one has it or gets it soon. `accept` holds what came against its signature.
pub(super) async fn ask<T: Send + 'static>(
    engine: &Arc<Engine>,
    wanted: &Wanted<'_>,
    observer: &Observer,
    turn: Option<&DownloadTurnSlot>,
    accept: &Accept<T>,
) -> Asked<T> {
    let Some(neighbours) = &engine.neighbours else { return Asked::Origin(None) };
    let begun = Instant::now();
    let (mut ours, mut waits, mut refusals) = (None::<Fetching>, Waits::default(), 0);
    'asking: while begun.elapsed() < LONGEST {
        let replies = match neighbours.ask(wanted.digest).await {
            Ok(replies) => replies,
            Err(error) => {
                tracing::warn!(event = "neighbours_not_asked", %error);
                break;
            }
        };
        let mut busy = false;
        for (address, _) in replies.iter().filter(|(_, reply)| *reply == Reply::Has) {
            match have(engine, neighbours, *address, wanted, (observer, turn), accept).await {
                Ok(had) => {
                    let (version, answer) = (wanted.version.clone(), NeighbourAnswer::Had);
                    observer(Step::Neighbour { version, answer });
                    return Asked::Had(had, *address);
                }
                Err(Unhad::Busy) => busy = true,
                Err(Unhad::Away) => {}
                Err(Unhad::Lied) => {
                    let (version, answer) = (wanted.version.clone(), NeighbourAnswer::Refused);
                    observer(Step::Neighbour { version, answer });
                    refusals += 1;
                    if refusals == REFUSALS {
                        break 'asking;
                    }
                }
            }
        }
        busy |= replies.iter().any(|(_, reply)| *reply == Reply::Busy);
        let ahead = waits.ahead(&replies, ours.as_ref().map(Fetching::rank), Instant::now());
        match ahead {
            Some(bytes) => {
                // Whoever waits does not stand in the way of those who wait for it.
                ours = None;
                observer(Step::WaitingForNeighbour { version: wanted.version.clone(), done: bytes });
                tell_siblings(turn, bytes);
                sleep(PAUSE).await;
            }
            None if busy && waits.is_worth_it(Instant::now()) => sleep(PAUSE).await,
            None if ours.is_some() => break,
            None => {
                ours = begin(engine, wanted.digest).await;
                if ours.is_none() {
                    break;
                }
                sleep(SETTLING).await;
            }
        }
    }
    if let Some(ours) = &mut ours {
        ours.begins();
    }
    Asked::Origin(ours)
}

async fn have<T: Send + 'static>(
    engine: &Arc<Engine>,
    neighbours: &Neighbours,
    address: SocketAddr,
    wanted: &Wanted<'_>,
    (observer, turn): (&Observer, Option<&DownloadTurnSlot>),
    accept: &Accept<T>,
) -> Result<T, Unhad> {
    let mut progress = |done: u64, total: Option<u64>| {
        tell_siblings(turn, done);
        observer(Step::Downloading { version: wanted.version.clone(), done, total });
    };
    let mut file = engine.install.staging().unnamed_file().map_err(|error| {
        tracing::warn!(event = "neighbour_failed", neighbour = %address, %error);
        Unhad::Away
    })?;
    match neighbours.fetch(address, wanted.digest, &mut file, wanted.cap, &mut progress).await {
        Ok(signature) => {
            let accept = accept.clone();
            // Cut short, it is nobody's fault.
            let accepted =
                tokio::task::spawn_blocking(move || accept(file, &signature)).await.map_err(|_| Unhad::Away)?;
            accepted.map_err(|reason| {
                neighbours.distrust(address, &reason);
                Unhad::Lied
            })
        }
        Err(error) => {
            neighbours.note(address, &error);
            Err(match error {
                NeighbourError::OtherFile { .. } | NeighbourError::SignatureFile { .. } => Unhad::Lied,
                NeighbourError::Fetch(FetchError::Status { status: 503, .. } | FetchError::LeftAlone { .. }) => {
                    Unhad::Busy
                }
                NeighbourError::Fetch(_) => Unhad::Away,
            })
        }
    }
}

async fn begin(engine: &Arc<Engine>, digest: Sha256Digest) -> Option<Fetching> {
    let (engine, rank) = (engine.clone(), getrandom::u64().ok()?);
    let begun = tokio::task::spawn_blocking(move || engine.cache.as_ref()?.begin_fetching(digest, rank).ok()?);
    begun.await.ok()?
}

/// What is waited for, and since when it brings nothing new.
#[derive(Default)]
struct Waits {
    /// For each neighbour: its number, its bytes, and since when.
    seen: HashMap<SocketAddr, (u64, u64, Instant)>,
    /// Since when somebody is busy.
    busy: Option<Instant>,
}

impl Waits {
    /// The most bytes that somebody has who goes before this host and makes progress; `None`: nobody does.
    fn ahead(&mut self, replies: &[(SocketAddr, Reply)], ours: Option<u64>, now: Instant) -> Option<u64> {
        let mut most = None;
        for (address, reply) in replies {
            let Reply::Underway(underway) = reply else { continue };
            // Its own mirror tells it of itself.
            if Some(underway.rank) == ours || !ours.is_none_or(|ours| underway.goes_before(ours)) {
                continue;
            }
            let seen = self.seen.entry(*address).or_insert((underway.rank, underway.bytes, now));
            // Less than before is no progress: it could be said for ever.
            if seen.0 != underway.rank || underway.bytes > seen.1 {
                let since = if seen.0 == underway.rank { now } else { seen.2 };
                *seen = (underway.rank, underway.bytes, since);
            }
            if now.duration_since(seen.2) < PATIENCE {
                most = most.max(Some(underway.bytes));
            }
        }
        most
    }

    /// Somebody has it, and sends it to others.
    fn is_worth_it(&mut self, now: Instant) -> bool {
        now.duration_since(*self.busy.get_or_insert(now)) < PATIENCE * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Underway;

    fn underway(rank: u64, begun: bool, bytes: u64) -> Reply {
        Reply::Underway(Underway { rank, begun, bytes })
    }

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 7651))
    }

    #[test]
    fn the_lowest_number_and_whoever_has_begun_go_before() {
        let now = Instant::now();
        let ahead = |replies: &[Reply], ours| {
            let replies: Vec<_> = replies.iter().zip(1..).map(|(reply, last)| (at(last), *reply)).collect();
            Waits::default().ahead(&replies, ours, now).is_some()
        };
        assert!(ahead(&[underway(9, false, 0)], None), "who wants to begin later waits");
        assert!(ahead(&[underway(4, false, 0)], Some(5)));
        assert!(!ahead(&[underway(5, true, 0)], Some(5)), "its own mirror");
        assert!(!ahead(&[underway(6, false, 0), Reply::Lacks, Reply::Has, Reply::Busy], Some(5)));
        assert!(ahead(&[underway(6, true, 0)], Some(5)), "who has begun goes on");
    }

    #[test]
    fn nobody_is_waited_for_who_makes_no_progress_or_takes_ever_new_numbers() {
        let start = Instant::now();
        let (mut stuck, mut moving, mut liar) = (Waits::default(), Waits::default(), Waits::default());
        for second in 0..60u32 {
            let (now, past) = (start + Duration::from_secs(second.into()), second >= 30);
            let stands = stuck.ahead(&[(at(1), underway(1, true, 5))], None, now).is_some();
            assert_eq!(stands, !past, "{second}");
            assert!(moving.ahead(&[(at(1), underway(1, true, second.into()))], None, now).is_some());
            let new = liar.ahead(&[(at(1), underway(second.into(), true, 5))], None, now).is_some();
            assert_eq!(new, !past, "{second}");
        }
        assert!(moving.ahead(&[(at(1), underway(1, true, 3))], None, start + Duration::from_mins(2)).is_none());
    }

    #[test]
    fn the_busy_are_waited_for_a_minute() {
        let (start, mut waits) = (Instant::now(), Waits::default());
        assert!(waits.is_worth_it(start) && waits.is_worth_it(start + Duration::from_secs(59)));
        assert!(!waits.is_worth_it(start + Duration::from_mins(1)));
    }
}
