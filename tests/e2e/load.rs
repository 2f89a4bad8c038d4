//! Nobody who asks a node notices that its worker, or its launcher, becomes another one.

use std::time::Duration;

use crate::support::load::through_every_change;

#[test]
fn no_request_is_refused_or_lost_by_an_upgrade_a_rollback_or_a_reload() {
    let reports = through_every_change(Duration::from_secs(1));
    assert_eq!(reports.len(), 5 * 3, "{reports:#?}");
    for report in &reports {
        assert!(report.requests > 0, "{report:?}");
        assert_eq!((report.refused, report.failed), (0, 0), "{reports:#?}");
    }
}
