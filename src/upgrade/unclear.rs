//! A version whose trial ended without a verdict on its health is tried again, later and later.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::install::{NodeRecord, Verdict, VerdictKind};
use crate::types::{NodeName, Version};

/// The longest pause, and for how long such an end is remembered.
const LONGEST: Duration = Duration::from_hours(24);

/// Until when `version` is left alone, and on which node its last such trial was. The nodes of a host
/// share what a candidate needs: they count together, and a pause of one is a pause of all.
pub(super) fn left_alone<'a>(
    records: &'a [(NodeName, NodeRecord)],
    version: &Version,
    now: Timestamp,
    first_pause: Duration,
) -> Option<(Timestamp, &'a NodeName)> {
    let unclear = |verdict: &&Verdict| {
        verdict.kind == VerdictKind::Inconclusive
            && [Verdict::HEALTH, Verdict::STATE].contains(&verdict.reason.as_str())
            && verdict.candidate.version == *version
            && verdict.is_recent(now, LONGEST)
    };
    let ends =
        records.iter().flat_map(|(node, record)| record.verdicts.iter().filter(unclear).map(move |end| (end.at, node)));
    let (mut times, mut last) = (0_u32, None::<(Timestamp, &NodeName)>);
    for end in ends {
        times += 1;
        last = Some(last.map_or(end, |last| if last.0 < end.0 { end } else { last }));
    }
    let (at, node) = last?;
    let pause = first_pause.saturating_mul(1 << (times - 1).min(16)).min(LONGEST);
    let until = at.saturating_add(SignedDuration::try_from(pause).ok()?).ok()?;
    (now < until).then_some((until, node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::{Installed, Purpose};

    const FIRST: Duration = Duration::from_mins(30);

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn ended(ago: Duration, kind: VerdictKind, reason: &str) -> Verdict {
        let of =
            |version: &str| Installed { version: version.parse().unwrap(), digest: "ab".repeat(32).parse().unwrap() };
        let at = now() - ago;
        Verdict {
            trial: "1-ab".to_owned(),
            candidate: of("1.1.0"),
            from: of("1.0.0"),
            purpose: Purpose::Upgrade,
            kind,
            reason: reason.to_owned(),
            detail: String::new(),
            since: at,
            at,
            output: String::new(),
            before: None,
            after: None,
        }
    }

    fn records(of_nodes: &[&[Duration]]) -> Vec<(NodeName, NodeRecord)> {
        let record = |ends: &[Duration]| {
            let running = ended(Duration::ZERO, VerdictKind::Good, "").from;
            let mut record = NodeRecord::new(running, 1);
            record.verdicts = ends.iter().map(|ago| ended(*ago, VerdictKind::Inconclusive, Verdict::HEALTH)).collect();
            record
        };
        let named = of_nodes.iter().enumerate();
        named.map(|(n, ends)| (format!("n{n}").parse().unwrap(), record(ends))).collect()
    }

    fn pause(records: &[(NodeName, NodeRecord)]) -> Option<(i64, String)> {
        let (until, node) = left_alone(records, &"1.1.0".parse().unwrap(), now(), FIRST)?;
        Some((until.duration_since(now()).as_mins(), node.to_string()))
    }

    #[test]
    fn the_pause_doubles_with_each_end_on_any_node_of_the_host_and_lasts_a_day_at_most() {
        let mins = Duration::from_mins;
        assert_eq!(pause(&records(&[&[]])), None);
        assert_eq!(pause(&records(&[&[mins(10)]])), Some((20, "n0".to_owned())));
        assert_eq!(pause(&records(&[&[mins(30)]])), None);
        assert_eq!(pause(&records(&[&[mins(100)], &[mins(10)]])), Some((50, "n1".to_owned())));
        assert_eq!(pause(&records(&[&[mins(1); 40]])), Some((24 * 60 - 1, "n0".to_owned())));
        assert_eq!(pause(&records(&[&[mins(25 * 60)]])), None, "long ago");
    }

    #[test]
    fn only_an_end_for_health_of_that_version_counts_and_none_of_the_future() {
        let mut records = records(&[&[Duration::ZERO]]);
        assert_eq!(left_alone(&records, &"1.2.0".parse().unwrap(), now(), FIRST), None);
        for (kind, reason) in [
            (VerdictKind::Inconclusive, "lease-lost"),
            (VerdictKind::Bad, Verdict::HEALTH),
            (VerdictKind::Good, Verdict::HEALTH),
        ] {
            records[0].1.verdicts = vec![ended(Duration::ZERO, kind, reason)];
            assert_eq!(pause(&records), None, "{kind:?} {reason}");
        }
        let mut coming = ended(Duration::ZERO, VerdictKind::Inconclusive, Verdict::HEALTH);
        coming.at = now() + Duration::from_hours(1);
        records[0].1.verdicts = vec![coming];
        assert_eq!(pause(&records), None);
    }
}
