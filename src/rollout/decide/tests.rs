use super::*;
use crate::rollout::decision::Barred;
use crate::rollout::gates::Why;
use crate::rollout::question::Available;
use crate::rollout::windows::Maintenance;
use crate::types::{Channel, ReleaseTerms, RolloutPolicy, Wave, WeeklyWindow};
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

fn plain(version: Version) -> Available {
    Available { version, prerelease: false, terms: ReleaseTerms::default() }
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
            available: versions.iter().map(|text| plain(v(text))).collect(),
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
        self.ask(Some(&Request { version: version.map(v), ..Request::default() }))
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
    node.available.push(plain(v("1.6.0")));
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
                available: &[plain(newest.clone())],
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
    node.available.push(plain(v("1.6.0")));
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
    let request = Request { version: Some(v("1.2.0")), allow_downgrade: true, ..Request::default() };
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

/// A release whose publisher demands something.
fn on_terms(version: &str, minimum: Option<&str>, barriers: &[&str]) -> Available {
    let barriers = barriers.iter().map(|barrier| v(barrier)).collect();
    let terms = ReleaseTerms { minimum: minimum.map(v), barriers, rollout: None };
    Available { terms, ..plain(v(version)) }
}

fn rolled_out(version: &str, start: i64, halted: bool, waves: &[(u32, u16)]) -> Available {
    let waves = waves.iter().map(|(after, permille)| Wave { after: *after, permille: *permille }).collect();
    let rollout = Some(RolloutPolicy::new(at(start), waves).unwrap().with_halted(halted));
    Available { terms: ReleaseTerms { rollout, ..ReleaseTerms::default() }, ..plain(v(version)) }
}

#[test]
fn a_barrier_is_gone_to_first_and_nothing_above_it_before() {
    let mut node = Node::offered(&["1.4.0", "2.1.0"]);
    node.available.extend([on_terms("2.0.0", None, &[]), on_terms("3.0.0", None, &["2.0.0"])]);
    assert_eq!(node.alone(), up("2.0.0"));
    assert_eq!(node.forced(None), up("2.0.0"));
    node.running = "2.0.0";
    assert_eq!(node.alone(), up("3.0.0"));
}

#[test]
fn a_barrier_that_is_not_offered_leaves_what_lies_below_it() {
    let mut node = Node::offered(&["1.4.0", "2.1.0"]);
    node.available.push(on_terms("3.0.0", None, &["2.0.0"]));
    assert_eq!(node.alone(), up("1.4.0"));
    node.running = "1.4.0";
    let refusal =
        Refusal::Barrier(Barred { version: v("3.0.0"), running: v("1.4.0"), needs: v("2.0.0"), offered: false }.into());
    assert_eq!(node.alone(), Decision::Refused(refusal.clone()));
    assert_eq!(node.forced(None), Decision::Refused(refusal));
}

#[test]
fn nobody_overrides_a_barrier_or_a_minimum() {
    let mut node = Node::offered(&["2.0.0"]);
    node.available.extend([on_terms("3.0.0", None, &["2.0.0"]), on_terms("3.1.0", Some("2.0.0"), &[])]);
    for version in ["3.0.0", "3.1.0"] {
        let refusal = Refusal::Barrier(
            Barred { version: v(version), running: v("1.3.0"), needs: v("2.0.0"), offered: true }.into(),
        );
        assert_eq!(node.forced(Some(version)), Decision::Refused(refusal.clone()));
        let request = Request { version: Some(v(version)), allow_downgrade: true, resumes: true };
        assert_eq!(node.ask(Some(&request)), Decision::Refused(refusal.clone()));
        node.pin = Some(v(version));
        assert_eq!(node.alone(), Decision::Refused(refusal));
        node.pin = None;
    }
    assert_eq!(node.alone(), up("2.0.0"));
}

#[test]
fn the_minimum_is_met_by_way_of_a_release_in_between() {
    let mut node = Node::offered(&["1.4.0", "1.9.0"]);
    node.available.push(on_terms("2.0.0", Some("1.5.0"), &[]));
    assert_eq!(node.alone(), up("1.9.0"));
    node.running = "1.9.0";
    assert_eq!(node.alone(), up("2.0.0"));
    node.running = "2.1.0";
    let down = Request { version: Some(v("2.0.0")), allow_downgrade: true, resumes: false };
    assert!(matches!(node.ask(Some(&down)), Decision::Plan(_)), "the minimum is about the way up");
}

#[test]
fn a_halted_release_is_gone_to_by_nobody_but_those_who_name_it() {
    let mut node = Node::offered(&[]);
    node.available.push(rolled_out("1.5.0", 0, true, &[]));
    let refusal = Decision::Refused(Refusal::Halted { version: v("1.5.0"), begins: None });
    assert_eq!(node.alone(), refusal);
    assert_eq!(node.forced(None), refusal);
    assert_eq!(node.forced(Some("1.5.0")), up("1.5.0"));
    let resumed = Request { version: Some(v("1.5.0")), resumes: true, ..Request::default() };
    assert_eq!(node.ask(Some(&resumed)), refusal, "a trial that was cut short does not go on");
    node.available.push(plain(v("1.4.0")));
    assert_eq!(node.alone(), up("1.4.0"), "the release before it is the newest that is meant for anybody");
}

#[test]
fn a_rollout_that_has_not_begun_keeps_nobody_from_the_release_before_it() {
    let mut node = Node::offered(&[]);
    node.available.push(rolled_out("1.5.0", node.now + 60, false, &[]));
    assert_eq!(node.alone(), Decision::Waiting { version: v("1.5.0"), until: at(node.now + 60), because: Gate::Wave });
    let begins = Some(at(node.now + 60));
    assert_eq!(node.forced(None), Decision::Refused(Refusal::Halted { version: v("1.5.0"), begins }));
    assert_eq!(node.forced(Some("1.5.0")), up("1.5.0"));
    node.available.push(plain(v("1.4.0")));
    assert_eq!(node.alone(), up("1.4.0"));
    assert_eq!(node.forced(None), up("1.4.0"));
    node.now += 60;
    assert_eq!(node.alone(), up("1.5.0"));
}

#[test]
fn an_install_waits_for_its_turn_in_the_wave_and_then_goes() {
    let mut node = Node::offered(&[]);
    node.available.push(rolled_out("1.5.0", node.now, false, &[(100, 1), (200, 1000)]));
    let Decision::Waiting { until, because: Gate::Wave, .. } = node.alone() else { panic!("{:?}", node.alone()) };
    assert!(until >= at(node.now + 200));
    assert_eq!(node.forced(None), up("1.5.0"));
    node.now = until.as_second() + 1;
    assert_eq!(node.alone(), up("1.5.0"));
    node.available[0] = rolled_out("1.5.0", 0, false, &[(0, 1)]);
    assert_eq!(node.alone(), Decision::Refused(Refusal::NotInWave { version: v("1.5.0") }));
    assert_eq!(node.forced(None), up("1.5.0"));
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

fn terms() -> impl Strategy<Value = ReleaseTerms> {
    let waves = proptest::sample::select(vec![vec![], vec![(0, 500)], vec![(0, 10), (50_000, 500), (100_000, 1000)]]);
    let rollout = (moment(), proptest::bool::weighted(0.2), waves).prop_map(|(start, halted, waves)| {
        let waves = waves.into_iter().map(|(after, permille)| Wave { after, permille }).collect();
        RolloutPolicy::new(start, waves).unwrap().with_halted(halted)
    });
    let barriers = proptest::collection::vec(version(), 0..2);
    (proptest::option::weighted(0.2, version()), barriers, proptest::option::weighted(0.4, rollout))
        .prop_map(|(minimum, barriers, rollout)| ReleaseTerms { minimum, barriers, rollout })
}

proptest! {
    #[test]
    fn unattended_a_node_never_breaks_a_rule(
        running in version(),
        offers in proptest::collection::btree_map(version(), (any::<bool>(), terms()), 0..8),
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
            .map(|(version, (prerelease, terms))| Available { version, prerelease, terms })
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
                prop_assert_eq!(why.gates.len(), 9);
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
                let terms = question.terms(&plan.version).unwrap();
                prop_assert!(terms.minimum.as_ref().is_none_or(|minimum| *minimum <= running));
                prop_assert!(!terms.barriers.iter().any(|barrier| running < *barrier && *barrier < plan.version));
                if let Some(policy) = &terms.rollout {
                    prop_assert!(!policy.is_halted() && policy.start() <= now);
                }
                let planned = terms.rollout.is_some();
                let age = seen.get(&plan.version).map(|first| now.duration_since(*first));
                let least = delay(&position, &plan.version, question.window);
                let waited = |age: jiff::SignedDuration| age.is_negative() || age.unsigned_abs() >= least;
                prop_assert!(planned || age.map_or(least.is_zero(), waited));
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
