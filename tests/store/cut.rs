//! Runs that are killed at each of their requests to the store.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::server::{Between, Moto, Sees, Verdict};
use crate::{Desk, copy_of};

/// The command line of a run on that place.
pub(crate) type Verb = for<'a> fn(&'a str) -> Vec<&'a str>;

/// Runs it once to its end, as often as a request counts, on a copy of `base/`; returns how many those were, and what
/// it said. What it leaves lies below `count/`.
pub(crate) fn count(moto: &Moto, base: &Desk, counts: fn(&Sees) -> bool, verb: Verb) -> (usize, String) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counting = seen.clone();
    let between = Between::start(moto, move |request| {
        counting.fetch_add(usize::from(counts(request)), Ordering::SeqCst);
        Verdict::Pass
    });
    moto.copy("base/", "count/");
    let desk = Desk { endpoint: between.endpoint(), dir: copy_of(base) };
    let said = desk.ok(&verb("s3://releases/count"));
    (seen.load(Ordering::SeqCst), said)
}

/// Where a run was killed.
pub(crate) struct Cut {
    /// At which of the requests that count, from 1 on.
    pub(crate) at: usize,
    /// Whether that one arrived.
    pub(crate) arrived: bool,
    /// Below which its copy of `base/` lies.
    pub(crate) prefix: String,
}

impl Cut {
    /// The place that it worked on.
    pub(crate) fn place(&self) -> String {
        format!("s3://releases/{}", self.prefix)
    }
}

/// Kills it at each of its requests that count, before and after that one arrives, each time on a copy of `base/`, and
/// lets `judge` look at what is left.
pub(crate) fn at_each(
    moto: &Moto,
    base: &Desk,
    counts: fn(&Sees) -> bool,
    requests: usize,
    verb: Verb,
    judge: &mut dyn FnMut(&Cut),
) {
    for (at, arrived) in (1..=requests).flat_map(|at| [(at, false), (at, true)]) {
        let cut = Cut { at, arrived, prefix: format!("kill-{at}-{arrived}") };
        moto.copy("base/", &format!("{}/", cut.prefix));
        let seen = AtomicUsize::new(0);
        let between = Between::start(moto, move |request| {
            if !counts(request) || seen.fetch_add(1, Ordering::SeqCst) + 1 != at {
                Verdict::Pass
            } else if arrived {
                Verdict::PassThenHang
            } else {
                Verdict::Hang
            }
        });
        let desk = Desk { endpoint: between.endpoint(), dir: copy_of(base) };
        let mut killed = desk.command(&verb(&cut.place())).stdout(Stdio::null()).spawn().unwrap();
        between.wait_until_it_hangs();
        killed.kill().unwrap();
        killed.wait().unwrap();
        judge(&cut);
    }
}
