//! Nobody who asks a node notices that its worker, or its launcher, becomes another one.

use std::time::Duration;

use crate::support::load::{Generator, Report, through_every_change};

#[track_caller]
fn assert_nothing_lost(reports: &[Report], kinds: usize) {
    assert_eq!(reports.len(), 6 * kinds, "{reports:#?}");
    for report in reports {
        assert!(report.requests > 0, "{report:?}");
        assert_eq!((report.refused, report.failed), (0, 0), "{reports:#?}");
    }
}

#[test]
fn no_request_is_refused_or_lost_by_an_upgrade_a_rollback_or_a_reload() {
    assert_nothing_lost(&through_every_change(Generator::Ours, Duration::from_secs(1)), 3);
}

/// By a generator that we did not write, where it is installed.
#[test]
fn wrk_sees_no_request_refused_or_lost_by_an_upgrade_a_rollback_or_a_reload() {
    if !Generator::Wrk.is_there() {
        println!("wrk is not installed (Debian: apt-get install wrk): not played");
        return;
    }
    assert_nothing_lost(&through_every_change(Generator::Wrk, Duration::from_secs(1)), 2);
}
