//! The right to change a repository in an object store, without a conditional write: each run writes a claim of its
//! own, and then looks who else has one. Whoever finds another one gives way; of two that look at once both do, and
//! try again at another moment. So nobody else has the right while a claim lies there that was renewed in time. It
//! holds where a list shows every object that was written before it was asked for, which each run looks at.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::bucket::Store;
use super::place::{Hold, PlaceError};

/// Claims, as they lie in the store.
pub(super) struct Claims(Arc<Store>);

/// What came of an attempt.
pub(super) enum Outcome {
    /// Nobody else has one.
    Ours(Claim),
    /// Somebody has one, since that time by the store's clock.
    Others {
        /// Since when, or since when it was last renewed.
        since: Timestamp,
    },
}

/// A claim of this run. It is renewed for as long as it is held, and removed with this value.
pub(super) struct Claim {
    store: Arc<Store>,
    path: String,
    /// When it was taken, by the store's clock.
    taken: Timestamp,
    renewed: Arc<Mutex<Renewed>>,
    renewal: JoinHandle<()>,
}

/// When a claim was last written, by both clocks of this host: one stops while the host sleeps, the other can be set.
#[derive(Clone, Copy)]
struct Renewed {
    at: Instant,
    time: SystemTime,
}

const FOLDER: &str = "claims";
/// A claim that was not renewed for as long, by the store's clock, is of a run that has ended.
const LEASE: Duration = Duration::from_mins(10);
/// Its own run gives it up that early: what it is just writing then takes less than the rest.
const SURE: Duration = Duration::from_mins(5);
/// Between two renewals.
const EVERY: Duration = Duration::from_mins(1);
/// How long others are waited for, who may be as new here as this run.
const PATIENCE: Duration = Duration::from_secs(12);

impl Renewed {
    fn now() -> Self {
        Self { at: Instant::now(), time: SystemTime::now() }
    }

    fn is_fresh(self) -> bool {
        let by_time = self.time.elapsed().unwrap_or(Duration::MAX);
        self.at.elapsed().max(by_time) < SURE
    }
}

impl Claims {
    pub(super) fn of(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// Takes the right, or says who has it.
    pub(super) fn take(&self) -> Result<Outcome, PlaceError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let store = &self.0;
            let path = format!("{FOLDER}/{}-{:016x}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), random());
            let renewed = Renewed::now();
            let others = store.wait(async {
                store.put(&path, &about()).await?;
                others(store, &path).await
            });
            let since = match others {
                Ok((taken, None)) => return Ok(Outcome::Ours(self.hold(path, taken, renewed))),
                Ok((_, Some(since))) => since,
                Err(error) => {
                    // What could not be judged is not left to hold others up.
                    store.wait(store.delete(&path)).ok();
                    return Err(error);
                }
            };
            store.wait(store.delete(&path))?;
            if Instant::now() >= deadline {
                return Ok(Outcome::Others { since });
            }
            std::thread::sleep(Duration::from_millis(300 + random() % 2000));
        }
    }

    fn hold(&self, path: String, taken: Timestamp, renewed: Renewed) -> Claim {
        let renewed = Arc::new(Mutex::new(renewed));
        let renewal = self.0.runtime.spawn(renew(self.0.clone(), path.clone(), renewed.clone()));
        Claim { store: self.0.clone(), path, taken, renewed, renewal }
    }
}

/// The time by the store's clock, and since when somebody else has a claim that counts. Those that do not any more are
/// removed.
async fn others(store: &Store, own: &str) -> Result<(Timestamp, Option<Timestamp>), PlaceError> {
    let (claims, _) = store.list(FOLDER).await?;
    let time = |claim: &object_store::ObjectMeta| claim.last_modified.timestamp();
    let own_name = own.rsplit('/').next().unwrap_or(own);
    let claims: Vec<_> = claims.iter().map(|(name, claim)| (name.as_str(), time(claim))).collect();
    let Some(judged) = Judged::of(&claims, own_name) else {
        return Err(PlaceError::Unlike {
            place: store.shown().to_owned(),
            path: own.to_owned(),
            how: "does not list what was just written, so that two runs could not see each other",
        });
    };
    for name in judged.over {
        store.delete(&format!("{FOLDER}/{name}")).await?;
    }
    let moment = |seconds| Timestamp::from_second(seconds).unwrap_or_default();
    Ok((moment(judged.now), judged.newest.map(moment)))
}

/// What the claims that a store lists come to.
#[derive(Debug, PartialEq, Eq)]
struct Judged<'a> {
    /// When the own one was written, in seconds by the store's clock.
    now: i64,
    /// When the newest of the others was written, in seconds by the store's clock.
    newest: Option<i64>,
    /// Those that do not count any more.
    over: Vec<&'a str>,
}

impl<'a> Judged<'a> {
    /// By the store's own clock, which wrote the own claim just now. `None`: the own one is not listed.
    fn of(claims: &[(&'a str, i64)], own: &str) -> Option<Self> {
        let now = claims.iter().find(|(name, _)| *name == own)?.1;
        let others: Vec<_> = claims.iter().filter(|(name, _)| *name != own).collect();
        let is_over = |time: i64| now.saturating_sub(time) > LEASE.as_secs().cast_signed();
        let newest = others.iter().map(|(_, time)| *time).filter(|time| !is_over(*time)).max();
        let over = others.iter().filter(|(_, time)| is_over(*time)).map(|(name, _)| *name).collect();
        Some(Self { now, newest, over })
    }
}

/// Keeps a claim from growing old. One that was not renewed in time is lost for good: somebody else may have had the
/// right since.
async fn renew(store: Arc<Store>, path: String, renewed: Arc<Mutex<Renewed>>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let begun = Renewed::now();
        let is_fresh = || renewed.lock().unwrap_or_else(PoisonError::into_inner).is_fresh();
        if !is_fresh() {
            return;
        }
        match store.holds(&path).await {
            // Somebody took it away: it is not made again.
            Ok(false) => return,
            Ok(true) if store.put(&path, &about()).await.is_ok() && is_fresh() => {
                *renewed.lock().unwrap_or_else(PoisonError::into_inner) = begun;
            }
            _ => {}
        }
    }
}

/// For whoever looks at the store by hand.
fn about() -> Vec<u8> {
    format!("a run of exuvia-release, process {}, changes this repository\n", std::process::id()).into_bytes()
}

pub(super) fn random() -> u64 {
    // Without it, the time tells two runs apart as well as it can.
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    getrandom::u64().unwrap_or(u64::from(clock) << 16 | u64::from(std::process::id()))
}

impl Hold for Claim {
    fn is_still_ours(&self) -> Result<bool, PlaceError> {
        let is_fresh = || self.renewed.lock().unwrap_or_else(PoisonError::into_inner).is_fresh();
        Ok(is_fresh() && self.store.wait(self.store.holds(&self.path))? && is_fresh())
    }

    fn time(&self) -> Result<Timestamp, PlaceError> {
        Ok(self.taken)
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.path).finish()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.renewal.abort();
        // Where that fails, it ends by itself.
        self.store.wait(self.store.delete(&self.path)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_counts_for_ten_minutes_by_the_store_s_clock() {
        let claims = [("old", 1_000), ("young", 1_001), ("own", 1_601), ("ahead", 9_999)];
        assert_eq!(Judged::of(&claims, "own"), Some(Judged { now: 1_601, newest: Some(9_999), over: vec!["old"] }));
        assert_eq!(
            Judged::of(&claims[..3], "own"),
            Some(Judged { now: 1_601, newest: Some(1_001), over: vec!["old"] })
        );
        assert_eq!(Judged::of(&claims[2..3], "own"), Some(Judged { now: 1_601, newest: None, over: vec![] }));
        assert_eq!(Judged::of(&claims[..2], "own"), None);
    }

    #[test]
    fn a_claim_that_was_not_renewed_in_time_is_lost_by_either_clock() {
        let now = Renewed::now();
        assert!(now.is_fresh());
        let slept = Renewed { time: now.time - Duration::from_mins(6), ..now };
        let set_back = Renewed { time: now.time + Duration::from_mins(6), ..now };
        assert!(!slept.is_fresh() && !set_back.is_fresh());
    }
}
