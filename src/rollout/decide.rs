use std::cmp::Ordering;

use jiff::Timestamp;

use super::decision::{Decision, Direction, Gate, Plan, Refusal};
use super::delay::delay;
use super::question::{Pause, Question, Request, Retry, Veto};
use crate::types::Version;

/// Decides. See the room's guarantees.
///
/// Unattended, the candidate is the newest acceptable release alone: a release that was superseded
/// while this node waited for it may have been superseded for a reason. Releases that follow each
/// other faster than the window do not starve a node by that, because it draws a new delay for each.
#[must_use]
pub fn decide(question: &Question<'_>) -> Decision {
    match question.request {
        Some(request) => question.requested(request),
        None => question.unattended(),
    }
}

impl Question<'_> {
    fn unattended(&self) -> Decision {
        let (version, veto) = match self.candidate() {
            Ok(Some(candidate)) => candidate,
            Ok(None) => return Decision::UpToDate,
            Err(refusal) => return Decision::Refused(refusal),
        };
        let wait = |until, because| Decision::Waiting { version: version.clone(), until, because };
        match veto {
            Some(Veto { until: Some(until), .. }) => return wait(*until, Gate::Veto),
            Some(veto) => return Decision::Refused(vetoed(veto)),
            None => {}
        }
        match self.pause() {
            Some(Pause { until: Some(until) }) => return wait(*until, Gate::Pause),
            Some(Pause { until: None }) => return Decision::Refused(Refusal::Paused { until: None }),
            None => {}
        }
        if let Some(due) = self.due(version) {
            return wait(due, Gate::Delay);
        }
        if let Some(opening) = self.maintenance.next_opening(self.now) {
            return wait(opening, Gate::Window);
        }
        match self.retry(version) {
            Some(retry) if self.now < retry.until => wait(retry.until, Gate::Archive),
            _ => self.plan(version),
        }
    }

    fn requested(&self, request: &Request) -> Decision {
        let (version, veto) = match &request.version {
            Some(version) if version == self.running => return Decision::UpToDate,
            Some(version) => match self.named(version) {
                Ok(named) => named,
                Err(refusal) => return Decision::Refused(refusal),
            },
            None => match self.candidate() {
                Ok(Some(candidate)) => candidate,
                Ok(None) => return Decision::UpToDate,
                Err(refusal) => return Decision::Refused(refusal),
            },
        };
        if let Some(veto) = veto {
            return Decision::Refused(vetoed(veto));
        }
        if let Some(pause) = self.pause() {
            return Decision::Refused(Refusal::Paused { until: pause.until });
        }
        if version < self.running && !request.allow_downgrade {
            return Decision::Refused(Refusal::Downgrade { from: self.running.clone(), to: version.clone() });
        }
        self.plan(version)
    }

    /// The version that an operator named, past the pin, with the veto that is on it.
    fn named<'a>(&'a self, version: &'a Version) -> Result<(&'a Version, Option<&'a Veto>), Refusal> {
        if !self.offers(version) {
            return Err(self.not_offered(version));
        }
        match self.pin {
            Some(pin) if pin != version => Err(Refusal::Pinned { version: version.clone(), to: pin.clone() }),
            _ => Ok((version, self.veto(version))),
        }
    }

    /// The version to go to where nobody named one, with the veto that is on it if all are vetoed.
    pub(super) fn candidate(&self) -> Result<Option<(&Version, Option<&Veto>)>, Refusal> {
        let mut newer: Vec<&Version> = self
            .available
            .iter()
            .filter(|release| self.channel.admits(release.is_prerelease()))
            .map(|release| &release.version)
            .filter(|version| *version > self.running)
            .collect();
        newer.sort_by(|a, b| b.cmp(a));
        let newest = newer.first().copied();
        match self.pin {
            // A pin names its version, so it may be a pre-release.
            Some(pin) if pin > self.running && self.offers(pin) => Ok(Some((pin, self.veto(pin)))),
            Some(pin) if pin > self.running => Err(self.not_offered(pin)),
            Some(pin) => match newest {
                Some(newest) => Err(Refusal::Pinned { version: newest.clone(), to: pin.clone() }),
                None => Ok(None),
            },
            None => {
                let free = newer.iter().copied().find(|version| self.veto(version).is_none());
                Ok(free.or(newest).map(|version| (version, self.veto(version))))
            }
        }
    }

    pub(super) fn offers(&self, version: &Version) -> bool {
        self.available.iter().any(|release| release.version == *version)
    }

    pub(super) fn not_offered(&self, version: &Version) -> Refusal {
        let text = version.to_string();
        let likeness = |other: &Version| strsim::normalized_damerau_levenshtein(&text, &other.to_string());
        let nearest = self
            .available
            .iter()
            .map(|release| &release.version)
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)).then_with(|| a.cmp(b)));
        Refusal::NotOffered { version: version.clone(), nearest: nearest.cloned() }
    }

    /// The veto on `version` that ends last, of those that have not ended.
    pub(super) fn veto(&self, version: &Version) -> Option<&Veto> {
        let active = |veto: &&Veto| veto.version == *version && veto.until.is_none_or(|until| self.now < until);
        self.vetoes.iter().filter(active).max_by_key(|veto| veto.until.unwrap_or(Timestamp::MAX))
    }

    pub(super) fn retry(&self, version: &Version) -> Option<&Retry> {
        self.retries.iter().find(|retry| retry.version == *version)
    }

    pub(super) fn pause(&self) -> Option<&Pause> {
        self.pause.filter(|pause| pause.until.is_none_or(|until| self.now < until))
    }

    /// When this install's moment for `version` comes; `None`: it has come.
    pub(super) fn due(&self, version: &Version) -> Option<Timestamp> {
        let first_seen = self.first_seen.get(version).copied().unwrap_or(self.now);
        // First seen in the future: the clock was ahead then. Nothing tells how long ago that was, and
        // a delay is a courtesy to others, not a protection: it counts as over.
        if first_seen > self.now {
            return None;
        }
        let due = first_seen.saturating_add(delay(self.position, version, self.window)).unwrap_or(Timestamp::MAX);
        (self.now < due).then_some(due)
    }

    fn plan(&self, version: &Version) -> Decision {
        let direction = match version.cmp(self.running) {
            Ordering::Less => Direction::Down,
            _ => Direction::Up,
        };
        Decision::Plan(Plan { version: version.clone(), direction })
    }
}

fn vetoed(veto: &Veto) -> Refusal {
    Refusal::Vetoed { version: veto.version.clone(), until: veto.until, reason: veto.reason.clone() }
}

#[cfg(test)]
mod tests {
    use super::super::gates::Why;
    use super::super::question::Available;
    use super::super::windows::Maintenance;
    use super::*;
    use crate::types::{Channel, WeeklyWindow};
    use std::collections::BTreeMap;
    use std::time::Duration;

    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// Owns what a question borrows. Without further ado: 1.3.0 runs, nothing is in the way.
    struct Node {
        now: i64,
        running: &'static str,
        available: Vec<Available>,
        vetoes: Vec<Veto>,
        retries: Vec<Retry>,
        pin: Option<Version>,
        pause: Option<Pause>,
        first_seen: BTreeMap<Version, Timestamp>,
        window: Duration,
        channel: Channel,
        windows: Vec<WeeklyWindow>,
    }

    impl Node {
        fn offered(versions: &[&str]) -> Self {
            Self {
                now: 1_000_000,
                running: "1.3.0",
                available: versions.iter().map(|text| Available { version: v(text), prerelease: false }).collect(),
                vetoes: Vec::new(),
                retries: Vec::new(),
                pin: None,
                pause: None,
                first_seen: BTreeMap::new(),
                window: Duration::ZERO,
                channel: Channel::Stable,
                windows: Vec::new(),
            }
        }

        fn veto(mut self, version: &str, until: Option<i64>) -> Self {
            self.vetoes.push(Veto { version: v(version), until: until.map(at), reason: "it died".to_owned() });
            self
        }

        fn pin(mut self, version: &str) -> Self {
            self.pin = Some(v(version));
            self
        }

        fn pause(mut self, until: Option<i64>) -> Self {
            self.pause = Some(Pause { until: until.map(at) });
            self
        }

        fn ask(&self, request: Option<&Request>) -> Decision {
            decide(&Question {
                now: at(self.now),
                running: &v(self.running),
                available: &self.available,
                vetoes: &self.vetoes,
                pin: self.pin.as_ref(),
                pause: self.pause.as_ref(),
                retries: &self.retries,
                first_seen: &self.first_seen,
                window: self.window,
                position: b"install",
                channel: self.channel,
                maintenance: Maintenance { windows: &self.windows, zone: &TimeZone::UTC },
                request,
            })
        }

        fn alone(&self) -> Decision {
            self.ask(None)
        }

        fn forced(&self, version: Option<&str>) -> Decision {
            self.ask(Some(&Request { version: version.map(v), allow_downgrade: false }))
        }
    }

    fn up(version: &str) -> Decision {
        Decision::Plan(Plan { version: v(version), direction: Direction::Up })
    }

    #[test]
    fn the_newest_stable_release_is_chosen() {
        let mut node = Node::offered(&["1.2.0", "1.10.0", "1.9.0", "2.0.0-rc.1", "1.3.0"]);
        assert_eq!(node.alone(), up("1.10.0"));
        node.available[1].prerelease = true;
        assert_eq!(node.alone(), up("1.9.0"));
    }

    #[test]
    fn nothing_newer_is_up_to_date_whatever_else_holds() {
        for node in [Node::offered(&[]), Node::offered(&["1.3.0", "1.2.0", "2.0.0-rc.1"]).pause(None).pin("1.3.0")] {
            assert_eq!(node.alone(), Decision::UpToDate);
            assert_eq!(node.forced(None), Decision::UpToDate);
        }
    }

    #[test]
    fn a_vetoed_release_gives_way_to_the_next_best_above_the_running_one() {
        let node = Node::offered(&["1.4.0", "1.5.0", "1.2.0"]).veto("1.5.0", None);
        assert_eq!(node.alone(), up("1.4.0"));
        assert_eq!(node.forced(None), up("1.4.0"));
    }

    #[test]
    fn a_node_with_nothing_but_vetoed_releases_waits_for_the_end_of_the_newest_veto() {
        let node = Node::offered(&["1.4.0", "1.2.0"]).veto("1.4.0", Some(1_000_001));
        let waiting = Decision::Waiting { version: v("1.4.0"), until: at(1_000_001), because: Gate::Veto };
        assert_eq!(node.alone(), waiting);
        let node = node.veto("1.4.0", None);
        assert!(matches!(node.alone(), Decision::Refused(Refusal::Vetoed { until: None, .. })));
    }

    #[test]
    fn a_veto_that_has_ended_is_none() {
        let node = Node::offered(&["1.4.0"]).veto("1.4.0", Some(1_000_000));
        assert_eq!(node.alone(), up("1.4.0"));
    }

    #[test]
    fn a_pin_admits_its_version_alone() {
        let versions = ["1.2.0", "1.4.0", "1.5.0-rc.1", "1.6.0"];
        assert_eq!(Node::offered(&versions).pin("1.4.0").alone(), up("1.4.0"));
        assert_eq!(Node::offered(&versions).pin("1.5.0-rc.1").alone(), up("1.5.0-rc.1"));
        for pin in ["1.3.0", "1.2.0"] {
            let refusal = Refusal::Pinned { version: v("1.6.0"), to: v(pin) };
            assert_eq!(Node::offered(&versions).pin(pin).alone(), Decision::Refused(refusal));
        }
        let missing = Refusal::NotOffered { version: v("1.4.1"), nearest: Some(v("1.4.0")) };
        assert_eq!(Node::offered(&versions).pin("1.4.1").alone(), Decision::Refused(missing));
    }

    #[test]
    fn a_pause_holds_until_it_ends() {
        let node = Node::offered(&["1.4.0"]);
        assert_eq!(
            node.pause(Some(1_000_060)).alone(),
            Decision::Waiting { version: v("1.4.0"), until: at(1_000_060), because: Gate::Pause }
        );
        assert_eq!(Node::offered(&["1.4.0"]).pause(Some(1_000_000)).alone(), up("1.4.0"));
        let refusal = Decision::Refused(Refusal::Paused { until: None });
        assert_eq!(Node::offered(&["1.4.0"]).pause(None).alone(), refusal);
    }

    #[test]
    fn the_delay_counts_from_the_first_sight_and_survives_restarts() {
        let mut node = Node::offered(&["1.4.0"]);
        node.window = Duration::from_hours(24);
        node.first_seen.insert(v("1.4.0"), at(999_000));
        let Decision::Waiting { until, because: Gate::Delay, .. } = node.alone() else { panic!() };
        let wait = delay(b"install", &v("1.4.0"), node.window);
        assert_eq!(until, at(999_000) + wait);
        node.now += 60;
        assert!(matches!(node.alone(), Decision::Waiting { until: again, .. } if again == until));
        node.now = until.as_second() + 1;
        assert_eq!(node.alone(), up("1.4.0"));
    }

    #[test]
    fn a_clock_that_jumped_back_makes_the_delay_count_as_over() {
        let mut node = Node::offered(&["1.4.0"]);
        node.window = Duration::from_hours(24);
        node.first_seen.insert(v("1.4.0"), at(4_000_000_000));
        assert_eq!(node.alone(), up("1.4.0"));
    }

    /// A window of this minute of the week's day that does not hold `now`, in UTC.
    fn elsewhen(now: i64) -> WeeklyWindow {
        let hour = TimeZone::UTC.to_datetime(at(now)).hour();
        let text = if hour < 12 { "daily 20:00-21:00" } else { "daily 01:00-02:00" };
        text.parse().unwrap()
    }

    #[test]
    fn beta_follows_pre_releases_by_flag_and_by_version_and_stable_ones_too() {
        let mut node = Node::offered(&["1.4.0", "1.5.0", "1.6.0-rc.1"]);
        node.available[1].prerelease = true;
        assert_eq!(node.alone(), up("1.4.0"));
        node.channel = Channel::Beta;
        assert_eq!(node.alone(), up("1.6.0-rc.1"));
        node.available.pop();
        assert_eq!(node.alone(), up("1.5.0"));
        node.available.pop();
        assert_eq!(node.alone(), up("1.4.0"));
    }

    #[test]
    fn a_pre_release_that_runs_is_left_for_a_newer_stable_one_alone() {
        let mut node = Node::offered(&["1.5.0", "1.6.0-rc.2", "1.6.0-rc.3"]);
        node.running = "1.6.0-rc.2";
        assert_eq!(node.alone(), Decision::UpToDate);
        node.available.push(Available { version: v("1.6.0"), prerelease: false });
        assert_eq!(node.alone(), up("1.6.0"));
    }

    #[test]
    fn outside_of_its_windows_a_node_waits_for_the_next_opening() {
        let mut node = Node::offered(&["1.4.0"]);
        node.windows = vec![elsewhen(node.now)];
        let Decision::Waiting { until, because: Gate::Window, .. } = node.alone() else { panic!() };
        node.now = until.as_second() - 1;
        assert!(matches!(node.alone(), Decision::Waiting { until: again, .. } if again == until));
        node.now = until.as_second();
        assert_eq!(node.alone(), up("1.4.0"));
    }

    #[test]
    fn a_superseded_release_is_not_fallen_back_on_while_the_newest_waits() {
        let mut node = Node::offered(&["1.4.0", "1.5.0"]);
        node.window = Duration::from_hours(24);
        node.first_seen.insert(v("1.4.0"), at(0));
        node.first_seen.insert(v("1.5.0"), at(node.now));
        assert!(matches!(node.alone(), Decision::Waiting { version, .. } if version == v("1.5.0")));
    }

    #[test]
    fn releases_that_follow_each_other_faster_than_the_window_starve_nobody() {
        const NODES: usize = 500;
        let mut behind: Vec<usize> = (0..NODES).collect();
        let mut after_an_hour = 0;
        for hour in 1..=72 {
            let newest = v(&format!("2.0.{hour}"));
            let first_seen = BTreeMap::from([(newest.clone(), at(3600 * (hour - 1)))]);
            behind.retain(|node| {
                let question = Question {
                    now: at(3600 * hour - 1),
                    running: &v("1.0.0"),
                    available: &[Available { version: newest.clone(), prerelease: false }],
                    vetoes: &[],
                    pin: None,
                    pause: None,
                    retries: &[],
                    first_seen: &first_seen,
                    window: Duration::from_hours(24),
                    position: &node.to_be_bytes(),
                    channel: Channel::Stable,
                    maintenance: Maintenance { windows: &[], zone: &TimeZone::UTC },
                    request: None,
                };
                !matches!(decide(&question), Decision::Plan(_))
            });
            if hour == 1 {
                after_an_hour = NODES - behind.len();
            }
        }
        assert!(after_an_hour < NODES / 10, "{after_an_hour} went at once");
        assert!(behind.len() < NODES / 10, "{} are left behind", behind.len());
    }

    #[test]
    fn a_release_that_did_not_verify_is_downloaded_again_when_its_pause_is_over_and_at_once_on_request() {
        let mut node = Node::offered(&["1.4.0", "1.5.0"]);
        node.retries.push(Retry { version: v("1.5.0"), times: 3, until: at(node.now + 60) });
        let waiting = Decision::Waiting { version: v("1.5.0"), until: at(node.now + 60), because: Gate::Archive };
        assert_eq!(node.alone(), waiting);
        assert_eq!(node.forced(None), up("1.5.0"));
        node.now += 60;
        assert_eq!(node.alone(), up("1.5.0"));
        node.now -= 60;
        node.available.push(Available { version: v("1.6.0"), prerelease: false });
        assert_eq!(node.alone(), up("1.6.0"), "a newer release does not wait for that");
    }

    #[test]
    fn a_request_skips_channel_delay_and_windows() {
        let mut node = Node::offered(&["1.4.0", "2.0.0-rc.1"]);
        node.window = Duration::from_hours(24);
        node.first_seen.insert(v("1.4.0"), at(node.now));
        node.windows = vec![elsewhen(node.now)];
        assert_eq!(node.forced(None), up("1.4.0"));
        assert_eq!(node.forced(Some("2.0.0-rc.1")), up("2.0.0-rc.1"));
        assert_eq!(node.forced(Some("1.3.0")), Decision::UpToDate);
    }

    #[test]
    fn a_request_is_refused_by_pin_pause_veto_and_downgrade_each_with_its_reason() {
        let node = || Node::offered(&["1.2.0", "1.4.0", "1.5.0"]);
        assert_eq!(node().pin("1.4.0").forced(Some("1.4.0")), up("1.4.0"));
        let asked = |node: Node, version: &str| match node.forced(Some(version)) {
            Decision::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        };
        assert_eq!(asked(node().pin("1.4.0"), "1.5.0"), Refusal::Pinned { version: v("1.5.0"), to: v("1.4.0") });
        assert_eq!(asked(node().pause(Some(2_000_000)), "1.5.0"), Refusal::Paused { until: Some(at(2_000_000)) });
        assert!(matches!(asked(node().veto("1.5.0", None), "1.5.0"), Refusal::Vetoed { .. }));
        assert_eq!(asked(node(), "1.2.0"), Refusal::Downgrade { from: v("1.3.0"), to: v("1.2.0") });
        assert_eq!(asked(node(), "1.4.1"), Refusal::NotOffered { version: v("1.4.1"), nearest: Some(v("1.4.0")) });
    }

    #[test]
    fn a_downgrade_that_was_said_is_planned() {
        let request = Request { version: Some(v("1.2.0")), allow_downgrade: true };
        let plan = Plan { version: v("1.2.0"), direction: Direction::Down };
        assert_eq!(Node::offered(&["1.2.0"]).ask(Some(&request)), Decision::Plan(plan.clone()));
        let vetoed = Node::offered(&["1.2.0"]).veto("1.2.0", None);
        assert!(matches!(vetoed.ask(Some(&request)), Decision::Refused(Refusal::Vetoed { .. })));
    }

    #[test]
    fn every_refusal_names_what_lifts_it() {
        let (version, to) = (v("1.5.0"), v("1.4.0"));
        for (refusal, remedy) in [
            (Refusal::Pinned { version: version.clone(), to: to.clone() }, "unpin"),
            (Refusal::Paused { until: Some(at(0)) }, "resume"),
            (Refusal::Vetoed { version: version.clone(), until: None, reason: String::new() }, "--lift-veto"),
            (Refusal::Downgrade { from: version.clone(), to: to.clone() }, "--allow-downgrade"),
            (Refusal::NotOffered { version, nearest: Some(to) }, "1.4.0"),
        ] {
            assert!(refusal.to_string().contains(remedy), "{refusal}");
        }
    }

    fn version() -> impl Strategy<Value = Version> {
        (0..3_u8, 0..3_u8, proptest::bool::weighted(0.2)).prop_map(|(major, minor, candidate)| {
            let tail = if candidate { "-rc.1" } else { "" };
            v(&format!("{major}.{minor}.0{tail}"))
        })
    }

    fn moment() -> impl Strategy<Value = Timestamp> {
        (-500_000_i64..500_000).prop_map(at)
    }

    proptest! {
        #[test]
        fn unattended_a_node_never_breaks_a_rule(
            running in version(),
            offers in proptest::collection::vec((version(), any::<bool>()), 0..8),
            vetoed in proptest::collection::vec((version(), proptest::option::of(moment())), 0..4),
            pin in proptest::option::weighted(0.2, version()),
            pause in proptest::option::weighted(0.2, proptest::option::of(moment())),
            retried in proptest::collection::vec((version(), moment()), 0..3),
            seen in proptest::collection::btree_map(version(), moment(), 0..8),
            window in 0_u64..200_000,
            now in moment(),
            position: [u8; 4],
            beta: bool,
            window_start in proptest::option::of(0_u16..1380),
        ) {
            let available: Vec<_> = offers
                .into_iter()
                .map(|(version, prerelease)| Available { version, prerelease })
                .collect();
            let vetoes: Vec<_> = vetoed
                .into_iter()
                .map(|(version, until)| Veto { version, until, reason: String::new() })
                .collect();
            let pause = pause.map(|until| Pause { until });
            let retries: Vec<_> =
                retried.into_iter().map(|(version, until)| Retry { version, times: 1, until }).collect();
            let channel = if beta { Channel::Beta } else { Channel::Stable };
            let windows: Vec<WeeklyWindow> = window_start
                .map(|start| format!("daily {:02}:{:02}-{:02}:{:02}", start / 60, start % 60, start / 60 + 1, start % 60))
                .map(|text| text.parse().unwrap())
                .into_iter()
                .collect();
            let question = Question {
                now,
                running: &running,
                available: &available,
                vetoes: &vetoes,
                pin: pin.as_ref(),
                pause: pause.as_ref(),
                retries: &retries,
                first_seen: &seen,
                window: Duration::from_secs(window),
                position: &position,
                channel,
                maintenance: Maintenance { windows: &windows, zone: &TimeZone::UTC },
                request: None,
            };
            let decision = decide(&question);
            match (&decision, Why::of(&question, None)) {
                (Decision::Plan(plan), Ok(why)) => {
                    prop_assert_eq!(why.version.as_ref(), Some(&plan.version));
                    prop_assert_eq!(why.gates.len(), 7);
                    prop_assert_eq!(why.shut(), None);
                }
                (Decision::Waiting { version, until, because }, Ok(why)) => {
                    prop_assert_eq!(why.version.as_ref(), Some(version));
                    let shut = why.shut().unwrap();
                    prop_assert_eq!((shut.gate, shut.changes), (*because, Some(*until)));
                }
                (Decision::Refused(refusal), Ok(why)) => {
                    prop_assert_eq!(why.shut().map(|shut| shut.gate), refusal.gate());
                }
                (Decision::Refused(Refusal::NotOffered { .. }), Err(Refusal::NotOffered { .. })) => {}
                (Decision::UpToDate, Ok(why)) => prop_assert_eq!(why.version, None),
                (decision, why) => prop_assert!(false, "{:?} is explained by {:?}", decision, why),
            }
            match decision {
                Decision::Plan(plan) => {
                    prop_assert_eq!(plan.direction, Direction::Up);
                    prop_assert!(plan.version > running);
                    prop_assert!(available.iter().any(|release| release.version == plan.version));
                    prop_assert!(pin.as_ref().is_none_or(|pin| *pin == plan.version));
                    prop_assert!(pin.is_some() || beta || !plan.version.is_prerelease());
                    prop_assert!(question.maintenance.is_open(now));
                    prop_assert!(pause.as_ref().is_none_or(|pause| pause.until.is_some_and(|until| until <= now)));
                    let blocks = |veto: &Veto| veto.version == plan.version && veto.until.is_none_or(|until| now < until);
                    prop_assert!(!vetoes.iter().any(blocks));
                    prop_assert!(question.retry(&plan.version).is_none_or(|retry| retry.until <= now));
                    let age = seen.get(&plan.version).map(|first| now.duration_since(*first));
                    let least = delay(&position, &plan.version, question.window);
                    let waited = |age: jiff::SignedDuration| age.is_negative() || age.unsigned_abs() >= least;
                    prop_assert!(age.map_or(least.is_zero(), waited));
                }
                Decision::Waiting { until, because, .. } => {
                    prop_assert!(until > now);
                    if because == Gate::Window {
                        prop_assert!(question.maintenance.is_open(until));
                        prop_assert!(until <= now + Duration::from_hours(24));
                    }
                    if because == Gate::Delay {
                        prop_assert!(until <= now + question.window);
                    }
                }
                Decision::UpToDate => {
                    let newer = |release: &Available|
                        channel.admits(release.is_prerelease()) && release.version > running;
                    prop_assert!(!available.iter().any(newer));
                }
                Decision::Refused(_) => {}
            }
        }
    }
}
