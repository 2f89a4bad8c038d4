use super::super::report::Fact;
use super::super::status::{CacheContent, LastCheck, Sibling};
use super::*;
use crate::install::{Installed, Policy, Progress, Purpose, Trial};
use crate::ledger::{AttemptKind, Outcome};
use crate::rollout::{Gate, GateReport, Inputs, Pause, Veto, Why};
use crate::tuf::{RoleStanding, Standing};
use crate::types::{Channel, Version};
use crate::upgrade::{HostGate, Step};

/// What a hostile text looks like, in each of the ways in which it may be shown.
const EVIL: &str = "<script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>&amp;";

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_795_269_600 + minutes * 60).unwrap()
}

fn installed(version: &str) -> Installed {
    Installed { version: v(version), digest: "ab".repeat(32).parse().unwrap() }
}

fn attempt(id: i64, to: &str, outcome: Option<Outcome>, reason: Option<&str>) -> Attempt {
    Attempt {
        id: serde_json::from_value(id.into()).unwrap(),
        kind: AttemptKind::Upgrade,
        from: v("1.4.0"),
        to: v(to),
        digest: None,
        trial: None,
        started: at(-300 + id),
        finished: outcome.as_ref().map(|_| at(-290 + id)),
        outcome,
        reason: reason.map(str::to_owned),
        output: reason.map(|_| "secret".to_owned()),
    }
}

fn trial(version: &str, progress: Progress) -> Trial {
    Trial {
        id: "7-00".to_owned(),
        candidate: installed(version),
        purpose: Purpose::Upgrade,
        progress,
        tries_left: 2,
        lease: None,
        since: at(-2),
        before: None,
        state: None,
    }
}

fn why(version: &str, shut: Option<Gate>) -> Explained {
    let report = |inputs, gate, changes| GateReport { gate, open: shut != Some(gate), inputs, changes };
    let prerelease = v(version).is_prerelease();
    let channel = Inputs::Channel { running: v("1.4.0"), newer: true, prerelease, channel: Channel::Stable };
    let delay = Inputs::Delay {
        first_seen: at(-60),
        window: jiff::SignedDuration::from_hours(24),
        delay: jiff::SignedDuration::from_secs(9_000),
        planned: false,
    };
    let gates = vec![
        report(channel, Gate::Channel, None),
        report(Inputs::Pin { to: None }, Gate::Pin, None),
        report(Inputs::Veto { veto: None }, Gate::Veto, None),
        report(Inputs::Pause { pause: None }, Gate::Pause, None),
        report(delay, Gate::Delay, (shut == Some(Gate::Delay)).then(|| at(90))),
        report(Inputs::Window { windows: Vec::new(), time_zone: "UTC".to_owned() }, Gate::Window, None),
        report(Inputs::Archive { retry: None }, Gate::Archive, None),
    ];
    let why = Why { running: v("1.4.0"), version: Some(v(version)), gates, vetoes: Vec::new() };
    Explained { why, host: None }
}

fn policy(pause: Option<&Pause>, pin: Option<&str>) -> Policy {
    serde_json::from_value(serde_json::json!({ "pause": pause, "pin": pin, "position": "00" })).unwrap()
}

/// A node at rest, with a sibling and a past.
fn idle() -> View {
    let status = Status {
        product: "exuvia".parse().unwrap(),
        node: "edge-1".parse().unwrap(),
        node_id: "0123456789abcdef".to_owned(),
        running: installed("1.4.0"),
        previous: Some(installed("1.3.2")),
        committed: Some(installed("1.4.0")),
        rescue: None,
        launcher: v("1.4.0"),
        target: "x86_64-unknown-linux-gnu".parse().unwrap(),
        activity: Activity::Idle,
        trial: None,
        vitals: None,
        job: vec![Fact { name: "served".to_owned(), value: "7 requests".to_owned() }],
        state_epoch: Some(1),
        policy: Some(policy(None, None)),
        vetoes: Vec::new(),
        distrusted_keys: Vec::new(),
        distrust_not_applied: false,
        source: Some("https://releases.example/releases.json".to_owned()),
        source_problem: None,
        ledger_problem: None,
        trust: "archive signature; no freshness metadata".to_owned(),
        metadata: None,
        can_upgrade: true,
        last_check: Some(LastCheck {
            at: at(-12),
            result: "waiting".to_owned(),
            detail: "1.5.0 waits for this install's moment in the rollout window".to_owned(),
        }),
        next_check: Some(at(41)),
        siblings: vec![Sibling {
            node: "edge-2".parse().unwrap(),
            running: installed("1.4.0"),
            trial: None,
            holds_lease: false,
        }],
        cache: Some(CacheContent { archives: 2, bytes: 41_943_040 }),
    };
    let attempts = vec![
        attempt(3, "1.4.0", Some(Outcome::Upgraded), None),
        attempt(2, "1.3.3", Some(Outcome::RolledBack), Some("exited: it ended with exit code 1 in /srv/secret")),
        attempt(1, "1.3.2", Some(Outcome::Upgraded), None),
    ];
    View { status, explained: Some(why("1.5.0", Some(Gate::Delay))), attempts, in_full: true, now: at(0) }
}

fn upgrading() -> View {
    let mut view = idle();
    let step = Step::Downloading { version: v("1.5.0"), done: 12_400_000, total: Some(20_971_520) };
    view.status.activity = Activity::Upgrading(step);
    view.explained = Some(why("1.5.0", None));
    view.attempts.insert(0, attempt(4, "1.5.0", None, None));
    view
}

fn on_trial() -> View {
    let mut view = upgrading();
    view.status.activity = Activity::OnTrial;
    view.status.trial = Some(trial("1.5.0", Progress::Probation));
    view
}

fn rolled_back() -> View {
    let mut view = idle();
    let reason = "exited: the worker ended with exit code 101, 12 s after it was ready";
    view.attempts.insert(0, attempt(4, "1.5.0", Some(Outcome::RolledBack), Some(reason)));
    view.status.vetoes =
        vec![Veto { version: v("1.5.0"), until: Some(at(43_000)), reason: "exited: with exit code 101".to_owned() }];
    view.explained = Some(Explained {
        why: Why { running: v("1.4.0"), version: None, gates: Vec::new(), vetoes: Vec::new() },
        host: None,
    });
    view
}

fn frozen() -> View {
    let mut view = idle();
    view.status.policy = Some(policy(Some(&Pause { until: Some(at(200)) }), Some("1.4.0")));
    view.status.last_check = Some(LastCheck {
        at: at(-30),
        result: "connect".to_owned(),
        detail: "nothing new could be fetched: cannot connect to https://releases.example/releases.json: \
                 connection refused. What runs is untouched; a running node tries again at its next look"
            .to_owned(),
    });
    view.explained = Some(why("1.5.0", Some(Gate::Pause)));
    view
}

/// Hostile text in every place that takes text.
fn hostile() -> View {
    let mut view = rolled_back();
    let status = &mut view.status;
    status.source = Some(EVIL.to_owned());
    status.source_problem = Some(EVIL.to_owned());
    status.trust = EVIL.to_owned();
    let role = RoleStanding { role: EVIL.to_owned(), version: 1, expires: at(-1) };
    status.metadata = Some(Standing { roles: vec![role] });
    status.node_id = EVIL.to_owned();
    status.last_check = Some(LastCheck { at: at(-1), result: EVIL.to_owned(), detail: EVIL.to_owned() });
    status.vetoes = vec![Veto { version: v("1.5.0"), until: None, reason: EVIL.to_owned() }];
    for attempt in &mut view.attempts {
        attempt.kind = AttemptKind::Other(EVIL.to_owned());
        attempt.outcome = Some(Outcome::Other(EVIL.to_owned()));
        attempt.reason = Some(EVIL.to_owned());
        attempt.output = Some(EVIL.to_owned());
    }
    let mut explained = why("1.5.0", Some(Gate::Veto));
    let veto = Veto { version: v("1.5.0"), until: None, reason: EVIL.to_owned() };
    explained.why.gates[2].inputs = Inputs::Veto { veto: Some(veto.clone()) };
    explained.why.vetoes = vec![veto];
    explained.why.gates[5].inputs = Inputs::Window { windows: Vec::new(), time_zone: EVIL.to_owned() };
    explained.host = Some(HostGate { because: EVIL.to_owned(), changes: at(5) });
    view.explained = Some(explained);
    view
}

fn states() -> [(&'static str, View); 6] {
    [
        ("idle", idle()),
        ("upgrading", upgrading()),
        ("on-trial", on_trial()),
        ("rolled-back", rolled_back()),
        ("frozen", frozen()),
        ("hostile", hostile()),
    ]
}

/// The tags of a page, and its text, read as a browser would: no tag is inside of an attribute.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|rest| rest.split_once('>').expect("every tag ends").0).collect()
}

#[test]
fn h1_no_text_becomes_markup() {
    for view in [hostile(), hostile().for_anybody()] {
        let page = view.render("00").into_string();
        let known = tags(&idle().render("00").into_string()).len();
        for tag in tags(&page) {
            assert!(!tag.starts_with("script") && !tag.starts_with("img"), "{tag}");
            assert!(!tag.contains("onerror"), "{tag}");
        }
        assert!(known > 100, "the page was not rendered: {page}");
    }
    let page = hostile().render("00").into_string();
    assert!(page.matches("&lt;script&gt;").count() >= 8, "it is shown, as text: {page}");
}

#[test]
fn h1_anybody_reads_words_and_never_sentences() {
    for (name, view) in states() {
        let page = view.for_anybody().render("00").into_string();
        for secret in ["releases.example", "/srv/secret", "edge-2", "exit code", "0123456789abcdef", "secret"] {
            assert!(!page.contains(secret), "{secret} is in the page {name}:\n{page}");
        }
        assert!(page.contains("own host only"), "{name}");
    }
    assert!(rolled_back().for_anybody().render("00").into_string().contains("<td class=\"long\">exited</td>"));
    // A candidate's last words are on no page, not even on the host.
    assert!(!rolled_back().render("00").into_string().contains(">secret"));
}

#[test]
fn h1_nothing_but_the_pages_own_style_may_be_loaded_or_run() {
    let head = head("5f");
    let field = |name: &str| head.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    assert_eq!(
        field("content-security-policy"),
        Some("default-src 'none'; style-src 'nonce-5f'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    );
    assert_eq!(field("x-content-type-options"), Some("nosniff"));
    assert_eq!(field("cache-control"), Some("no-store"));
    let page = idle().render("5f").into_string();
    assert!(page.contains("<style nonce=\"5f\">") && !page.contains(" style="), "{page}");
    for address in page.split("href=\"").skip(1).chain(page.split("src=\"").skip(1)) {
        assert!(["status\"", "metrics\""].iter().any(|own| address.starts_with(own)), "{address:.40}");
    }
}

#[test]
fn every_table_has_headings_and_every_section_its_name() {
    for (name, view) in states() {
        let page = view.render("00").into_string();
        assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{name}");
        assert_eq!(page.matches("<h1>").count(), 1, "{name}");
        for heading in page.split("<th").skip(1).filter(|rest| !rest.starts_with("ead")) {
            let tag = heading.split('>').next().unwrap();
            assert!(tag.contains("scope=\"col\"") || tag.contains("scope=\"row\""), "{name}: {tag}");
        }
        for section in page.split("<section").skip(1) {
            let id = section.split("aria-labelledby=\"").nth(1).unwrap().split('"').next().unwrap();
            assert!(section.contains(&format!("<h2 id=\"{id}\"")), "{name}: {id}");
        }
    }
}

#[test]
fn the_page_asks_again_sooner_while_something_happens() {
    let refresh = |view: View| {
        let page = view.render("00").into_string();
        let at = page.split("http-equiv=\"refresh\" content=\"").nth(1).unwrap();
        at.split('"').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!([refresh(idle()), refresh(upgrading()), refresh(on_trial())], [LATER, SOON, SOON]);
}

#[test]
fn what_matters_stands_first() {
    for (name, view, words) in [
        ("upgrading", upgrading(), "<progress aria-label=\"Download\" max=\"20971520\" value=\"12400000\">"),
        ("on trial", on_trial(), "aria-current=\"step\">on probation"),
        ("rolled back", rolled_back(), "1.5.0 did not prove itself, and was rolled back."),
        ("frozen", frozen(), "Upgrades are frozen"),
        ("idle", idle(), "the gate <strong>delay</strong> is shut"),
    ] {
        let page = view.render("00").into_string();
        assert!(page.contains(words), "{name}: {page}");
    }
}

#[test]
fn a_node_without_a_usable_source_says_so() {
    let mut view = idle();
    view.status.source = None;
    view.status.source_problem = Some("the setting source.listing cannot be used: it is empty".to_owned());
    let page = view.render("00").into_string();
    assert!(page.contains("No releases are looked for:") && page.contains("source.listing"), "{page}");
}
