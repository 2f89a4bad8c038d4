//! Many interruptions, a few at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::point::{Place, Point};
use super::power::Remains;
use super::story::{End, Story};
use super::trace::Blow;

/// One interruption.
pub enum Case {
    /// A process is killed, or a call fails.
    Blow {
        /// Of what.
        story: Story,
        /// Where.
        point: Point,
        /// How.
        blow: Blow,
    },
    /// Everything is killed, and again while it recovers.
    Twice {
        /// During what.
        story: Story,
        /// After which call, at first.
        first: Point,
        /// Where, then.
        second: Point,
        /// How, then.
        blow: Blow,
    },
    /// The power goes.
    Cut {
        /// During what.
        story: Story,
        /// What is left.
        remains: Remains,
    },
}

impl Case {
    /// How it ended; why it did not end well.
    fn play(&self) -> Result<End, String> {
        let played = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Blow { story, point, blow } => story.interrupt(point, *blow),
            Self::Twice { story, first, second, blow } => story.interrupt_twice(first, second, *blow),
            Self::Cut { story, remains } => story.cut(remains),
        }));
        let end = played.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        })?;
        let (story, blow) = match self {
            Self::Blow { story, blow, .. } | Self::Twice { story, blow, .. } => (story, Some(*blow)),
            Self::Cut { story, .. } => (story, None),
        };
        match end {
            End::NotReached => Ok(end),
            end if story.allows(blow, end) => Ok(end),
            end => Err(format!("{end:?} is no end for that")),
        }
    }

    /// The same, again when threads took other turns than those in which the point was found.
    fn play_until_reached(&self) -> Result<End, String> {
        let mut end = self.play();
        for _ in 0..2 {
            if !matches!(end, Ok(End::NotReached)) {
                break;
            }
            end = self.play();
        }
        end
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blow { story, point, blow } => write!(f, "{story}\t{blow}\t{point}"),
            Self::Twice { story, first, second, blow } => write!(f, "{story}\t{blow}-again\t{first}, then {second}"),
            Self::Cut { story, remains } => write!(f, "{story}\t{}\t{}", remains.loss, remains.after),
        }
    }
}

/// The four ways to be killed at a point.
pub const KILLS: [Blow; 4] = [
    Blow::Kill { whole: true, after: false },
    Blow::Kill { whole: true, after: true },
    Blow::Kill { whole: false, after: false },
    Blow::Kill { whole: false, after: true },
];

/// The same point again and again in one stream of data says nothing new: of each place the first
/// occurrences count, then every one whose number is a power of two, and the last.
const ALL_UP_TO: u32 = 16;

/// The points worth an interruption, each once.
pub fn thinned(calls: &[Point]) -> Vec<Point> {
    let mut last: BTreeMap<&Place, u32> = BTreeMap::new();
    for point in calls {
        last.insert(&point.place, point.nth);
    }
    let kept = |point: &&Point| {
        let last = last[&point.place];
        last <= ALL_UP_TO || point.nth <= 2 || point.nth.is_power_of_two() || point.nth == last
    };
    calls.iter().filter(kept).cloned().collect()
}

/// Every step after which other things lie on disk under their names: whoever starts then, recovers.
pub fn turns(calls: &[Point]) -> Vec<Point> {
    let turn = |point: &&Point| point.place.call.starts_with("rename") || point.place.path.ends_with("/lease.json");
    calls.iter().filter(turn).cloned().collect()
}

/// One point of each place: the first occurrence.
pub fn places(calls: &[Point]) -> Vec<Point> {
    let mut seen = BTreeSet::new();
    calls.iter().filter(|point| seen.insert(&point.place)).cloned().collect()
}

/// Plays every case, so many at a time, and tells of each as it ends.
pub fn play(
    cases: &[Case],
    jobs: usize,
    tell: impl Fn(&Case, &Result<End, String>) + Sync,
) -> Vec<Result<End, String>> {
    let next = AtomicUsize::new(0);
    let ends: Mutex<BTreeMap<usize, Result<End, String>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(at) else { return };
                    let end = case.play_until_reached();
                    tell(case, &end);
                    ends.lock().expect("nobody panics with it").insert(at, end);
                }
            });
        }
    });
    ends.into_inner().expect("nobody panics with it").into_values().collect()
}
