use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Whether a body arrives fast enough, over a window that slides. Silence is not judged here: it
/// has a limit of its own.
#[derive(Debug)]
pub(super) struct Pace {
    rate: u64,
    window: Duration,
    // A mark per sixteenth of the window, oldest first: the first is at least one window old, or the start.
    marks: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// At least `rate` bytes per second in each `window`, from `start`, when `had` bytes were there
    /// already. A rate of zero is always met.
    pub(super) fn new(rate: u64, window: Duration, start: Instant, had: u64) -> Self {
        Self { rate, window, marks: VecDeque::from([(start, had)]) }
    }

    /// Notes that `total` bytes are there at `now`; `false` when they came too slowly.
    pub(super) fn holds(&mut self, now: Instant, total: u64) -> bool {
        while self.marks.get(1).is_some_and(|(then, _)| now.saturating_duration_since(*then) >= self.window) {
            self.marks.pop_front();
        }
        let &(then, had) = self.marks.front().expect("the newest mark is never taken away");
        let span = now.saturating_duration_since(then);
        let wanted = u128::from(self.rate) * span.as_millis() / 1000;
        if span >= self.window && u128::from(total.saturating_sub(had)) < wanted {
            return false;
        }
        if self.marks.back().is_none_or(|(then, _)| now.saturating_duration_since(*then) >= self.window / 16) {
            self.marks.push_back((now, total));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_mins(1);

    /// After how many pieces it is found too slow, if ever.
    fn judge(rate: u64, pieces: impl IntoIterator<Item = (u64, u64)>) -> Option<usize> {
        let start = Instant::now();
        let mut pace = Pace::new(rate, WINDOW, start, 0);
        let (mut at, mut total) = (0, 0);
        pieces.into_iter().position(|(pause_ms, bytes)| {
            at += pause_ms;
            total += bytes;
            assert!(pace.marks.len() <= 20, "memory is bounded");
            !pace.holds(start + Duration::from_millis(at), total)
        })
    }

    #[test]
    fn a_drip_is_noticed_after_one_window_and_not_before() {
        assert_eq!(judge(1024, (0..200).map(|_| (1000, 100))), Some(59));
    }

    #[test]
    fn a_fast_beginning_does_not_excuse_a_drip_for_ever() {
        let pieces = std::iter::once((10, 1 << 30)).chain((0..400).map(|_| (1000, 100)));
        let found = judge(1024, pieces).unwrap();
        assert!((60..=70).contains(&found), "{found}");
    }

    proptest! {
        #[test]
        fn whoever_keeps_the_rate_in_every_second_is_never_too_slow(pieces in prop::collection::vec((1u64..1000, 0u64..5000), 1..300)) {
            prop_assert_eq!(judge(1000, pieces.into_iter().map(|(pause, more)| (pause, pause + more))), None);
        }

        #[test]
        fn whoever_stays_below_half_the_rate_is_found(pieces in prop::collection::vec(100u64..1000, 700)) {
            prop_assert!(judge(1000, pieces.into_iter().map(|pause| (pause, pause / 2))).is_some());
        }

        #[test]
        fn no_rate_is_always_met(pieces in prop::collection::vec((0u64..100_000, 0u64..2), 1..100)) {
            prop_assert_eq!(judge(0, pieces), None);
        }
    }
}
