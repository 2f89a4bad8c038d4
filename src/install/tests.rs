#![allow(clippy::disallowed_methods, reason = "tests set up files")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::sys::Refusal;
use crate::types::{NodeName, Sha256Digest, Version};

pub(super) const SPAN: Duration = Duration::from_mins(1);
/// A lease of that length ends at once.
pub(super) const NONE: Duration = Duration::ZERO;

/// An install whose binary is a few bytes: nothing here executes it.
pub(super) struct Site {
    pub(super) dir: TempDir,
    pub(super) install: Install,
}

pub(super) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub(super) fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

pub(super) fn bytes(version: &str) -> Vec<u8> {
    format!("the program, version {version}").into_bytes()
}

pub(super) fn installed(version: &str) -> Installed {
    let digest = Sha256Digest::from_bytes(Sha256::digest(bytes(version)).into());
    Installed { version: version.parse().unwrap(), digest }
}

pub(super) fn put(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("put");
    fs::write(&new, bytes).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, path).unwrap();
}

pub(super) fn open(committed: &Path) -> Result<Install, InstallError> {
    Install::open(committed, &"exuvia".parse().unwrap())
}

pub(super) fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

impl Site {
    /// Version 1.0.0 is installed, and node `a` started once.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join("exuvia"), &bytes("1.0.0"));
        let site = Self { install: open(&dir.path().join("exuvia")).unwrap(), dir };
        site.adopt("a", "1.0.0");
        site
    }

    pub(super) fn committed(&self) -> PathBuf {
        self.dir.path().join("exuvia")
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(".exuvia").join(below)
    }

    pub(super) fn json(&self, below: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(below)).unwrap()).unwrap()
    }

    pub(super) fn edit(&self, below: &str, edit: impl FnOnce(&mut Value)) {
        let mut value = self.json(below);
        edit(&mut value);
        fs::write(self.path(below), value.to_string()).unwrap();
    }

    pub(super) fn adopt(&self, name: &str, own: &str) -> (NodeRecord, Adopted) {
        self.install.adopt(&node(name), &version(own)).unwrap()
    }

    /// As a verified release lies among the versions.
    pub(super) fn stage(&self, version: &str) -> Installed {
        let installed = installed(version);
        let folder = self.install.make_version_dir(&installed).unwrap();
        put(&folder.path().join("exuvia"), &bytes(version));
        installed
    }

    pub(super) fn lease(&self, name: &str, candidate: &Installed, span: Duration) -> Option<LeaseEpoch> {
        match self.install.acquire_lease(&node(name), candidate, span, 1).unwrap() {
            LeaseOutcome::Mine { epoch, .. } => Some(epoch),
            LeaseOutcome::Held { .. } => None,
        }
    }

    #[track_caller]
    pub(super) fn assert_committed(&self, version: &str) {
        assert_eq!(fs::read(self.committed()).unwrap(), bytes(version));
        assert_eq!(self.install.committed().unwrap().unwrap(), installed(version));
        assert_eq!(names(self.dir.path()), [".exuvia", "exuvia"], "nothing is left beside it");
    }

    #[track_caller]
    pub(super) fn assert_committed_file(&self, version: &str) {
        assert_eq!(fs::read(self.committed()).unwrap(), bytes(version));
    }
}

pub(super) fn trial(candidate: &Installed, lease: Option<LeaseEpoch>) -> Trial {
    Trial {
        id: "1-ab".to_owned(),
        candidate: candidate.clone(),
        purpose: Purpose::Upgrade,
        progress: Progress::Probation,
        tries_left: 2,
        lease,
        since: Timestamp::now(),
        before: None,
        state: None,
    }
}

#[test]
fn a_first_start_adopts_the_committed_binary_and_gives_it_a_name_among_the_versions() {
    let site = Site::new();
    let (record, adopted) = site.adopt("b", "1.0.0");
    assert_eq!(adopted, Adopted::Committed);
    assert_eq!((record.running, record.previous, record.trial), (installed("1.0.0"), None, None));
    let name = installed("1.0.0").folder_name();
    let kept = fs::metadata(site.path("versions").join(name).join("exuvia")).unwrap();
    assert_eq!(kept.ino(), fs::metadata(site.committed()).unwrap().ino(), "a link, and not a copy");
    assert_eq!(site.adopt("b", "1.0.0").1, Adopted::AsRecorded);
}

#[test]
fn an_operators_replacement_is_adopted_by_each_node_once_and_keeps_its_past() {
    let site = Site::new();
    let mut record = site.adopt("b", "1.0.0").0;
    record.verdicts.push(verdict("0.9.0", VerdictKind::Bad));
    site.install.write_node(&node("b"), &record).unwrap();
    put(&site.committed(), &bytes("2.0.0"));
    for name in ["a", "b"] {
        let (record, adopted) = site.adopt(name, "2.0.0");
        assert_eq!(adopted, Adopted::Committed);
        assert_eq!((record.running, record.previous), (installed("2.0.0"), Some(installed("1.0.0"))));
        assert_eq!(record.verdicts.len(), usize::from(name == "b"));
        assert_eq!(site.adopt(name, "2.0.0").1, Adopted::AsRecorded);
    }
    site.assert_committed("2.0.0");
}

pub(super) fn verdict(version: &str, kind: VerdictKind) -> Verdict {
    Verdict {
        trial: "1-ab".to_owned(),
        candidate: installed(version),
        from: installed("1.0.0"),
        purpose: Purpose::Upgrade,
        kind,
        reason: "exited".to_owned(),
        detail: String::new(),
        since: Timestamp::now(),
        at: Timestamp::now(),
        output: String::new(),
        before: None,
        after: None,
    }
}

#[test]
fn leases_and_commits_do_not_look_like_an_operators_doing() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    let epoch = site.lease("a", &candidate, SPAN);
    let mut record = site.adopt("a", "1.0.0").0;
    record.trial = Some(trial(&candidate, epoch));
    site.install.write_node(&node("a"), &record).unwrap();
    site.lease("a", &candidate, SPAN);
    let (found, adopted) = site.adopt("a", "1.0.0");
    assert_eq!(adopted, Adopted::AsRecorded);
    assert_eq!(found.trial, record.trial);
}

#[test]
fn a_damaged_record_is_set_aside_and_the_committed_binary_runs() {
    let site = Site::new();
    fs::write(site.path("nodes/a.json"), b"{ \"running\": 1").unwrap();
    assert!(matches!(site.install.node(&node("a")), Err(InstallError::Record { .. })));
    let (record, adopted) = site.adopt("a", "1.0.0");
    let aside = site.path("nodes/a.json.damaged");
    assert_eq!(adopted, Adopted::AfterDamage(aside.clone()));
    assert_eq!(record.running, installed("1.0.0"));
    assert_eq!(fs::read(aside).unwrap(), b"{ \"running\": 1");
    assert_eq!(site.adopt("a", "1.0.0").1, Adopted::AsRecorded);
}

#[test]
fn l6_a_record_full_of_what_candidates_wrote_can_still_be_read() {
    let site = Site::new();
    let mut record = site.adopt("a", "1.0.0").0;
    for n in 0..NodeRecord::VERDICTS {
        // In JSON, six bytes for each of these.
        record.conclude(Verdict { output: "\u{1}".repeat(8192), ..verdict(&format!("1.1.{n}"), VerdictKind::Bad) });
    }
    site.install.write_node(&node("a"), &record).unwrap();
    let read = site.install.node(&node("a")).unwrap().unwrap();
    assert_eq!(read.verdicts.len(), NodeRecord::VERDICTS, "an output goes before its verdict");
    assert_eq!(read.verdicts.last(), record.verdicts.last(), "the latest stays whole");
    assert_eq!(site.adopt("a", "1.0.0").1, Adopted::AsRecorded);
}

#[test]
fn l6_a_record_longer_than_any_is_set_aside_and_the_committed_binary_runs() {
    let site = Site::new();
    fs::write(site.path("nodes/a.json"), " ".repeat(300 * 1024)).unwrap();
    let aside = site.path("nodes/a.json.damaged");
    assert_eq!(site.adopt("a", "1.0.0").1, Adopted::AfterDamage(aside));
    fs::write(site.path("install.json"), " ".repeat(300 * 1024)).unwrap();
    assert_eq!(site.adopt("a", "1.0.0").0.running, installed("1.0.0"));
    site.assert_committed("1.0.0");
}

#[test]
fn l6_an_epoch_at_the_end_of_its_range_stops_nobody() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    site.edit("install.json", |state| state["epoch"] = json!(u64::MAX));
    let epoch = site.lease("a", &candidate, SPAN).unwrap();
    site.install.commit(&candidate, epoch).unwrap();
    site.edit("install.json", |state| state["epoch"] = json!(u64::MAX));
    put(&site.committed(), &bytes("2.0.0"));
    assert_eq!(site.adopt("b", "2.0.0").0.running, installed("2.0.0"));
}

#[test]
fn l5_what_an_operator_installed_meanwhile_is_not_replaced_by_a_commit() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    let epoch = site.lease("a", &candidate, SPAN).unwrap();
    site.install.refuse_if_replaced().unwrap();
    put(&site.committed(), &bytes("2.0.0"));
    for refused in
        [site.install.refuse_if_replaced(), site.install.commit(&candidate, epoch).map(drop).map_err(of_commit)]
    {
        assert!(matches!(refused, Err(InstallError::Replaced(path)) if path == site.committed()));
    }
    assert_eq!(fs::read(site.committed()).unwrap(), bytes("2.0.0"));
    assert!(site.json("install.json")["next"].is_null(), "nothing is announced");
    assert_eq!(site.adopt("a", "2.0.0").0.running, installed("2.0.0"));
    site.install.refuse_if_replaced().unwrap();
}

#[test]
fn a_commit_whose_last_note_could_not_be_written_can_be_made_again() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    let epoch = site.lease("a", &candidate, SPAN).unwrap();
    site.edit("install.json", |state| state["next"] = json!(candidate));
    put(&site.committed(), &bytes("1.1.0"));
    site.install.refuse_if_replaced().unwrap();
    site.install.commit(&candidate, epoch).unwrap();
    site.assert_committed("1.1.0");
}

fn of_commit(error: CommitError) -> InstallError {
    match error {
        CommitError::Install(error) => error,
        CommitError::LeaseLost => panic!("{error}"),
    }
}

#[test]
fn l5_a_path_that_is_not_utf8_is_refused_before_anything_is_made() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join(std::ffi::OsStr::from_bytes(b"bin\xff"));
    fs::create_dir(&home).unwrap();
    put(&home.join("exuvia"), &bytes("1.0.0"));
    assert!(matches!(open(&home.join("exuvia")), Err(InstallError::NotUtf8(_))));
    assert_eq!(fs::read_dir(home).unwrap().count(), 1);
}

#[test]
fn a_damaged_or_lost_state_is_made_anew_from_the_binary() {
    let site = Site::new();
    for damage in [Some("[]"), Some("\u{0}\u{0}\u{0}"), Some(""), None] {
        match damage {
            Some(bytes) => fs::write(site.path("install.json"), bytes).unwrap(),
            None => fs::remove_file(site.path("install.json")).unwrap(),
        }
        assert_eq!(site.adopt("a", "1.0.0").0.running, installed("1.0.0"));
        site.assert_committed("1.0.0");
    }
}

#[test]
fn a_commit_cut_after_its_rename_is_finished_and_one_cut_before_is_dropped() {
    for renamed in [true, false] {
        let site = Site::new();
        let candidate = site.stage("1.1.0");
        site.edit("install.json", |state| state["next"] = json!(candidate));
        let temporary = site.dir.path().join(".exuvia.exuvia-new");
        fs::hard_link(site.path("versions").join(candidate.folder_name()).join("exuvia"), &temporary).unwrap();
        if renamed {
            fs::rename(&temporary, site.committed()).unwrap();
        }
        let expected = if renamed { "1.1.0" } else { "1.0.0" };
        assert_eq!(site.adopt("a", expected).1, Adopted::AsRecorded, "nobody's replacement");
        assert!(site.json("install.json")["next"].is_null());
        site.assert_committed(expected);
    }
}

#[test]
fn a_folder_or_a_binary_into_which_others_may_write_is_refused_and_left_as_it_is() {
    let site = Site::new();
    let refused = |wanted: &dyn Fn(&Refusal) -> bool| match open(&site.committed()) {
        Err(InstallError::Unsupported { folder, source }) => {
            assert_eq!(folder, site.dir.path());
            assert!(source.refusal().is_some_and(wanted), "{source}");
        }
        other => panic!("{other:?}"),
    };
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for loose in [0o770, 0o707, 0o777] {
        mode(&site.path(""), loose);
        refused(&|refusal| matches!(refusal, Refusal::WritableByOthers { .. }));
        assert_eq!(fs::metadata(site.path("")).unwrap().mode() & 0o777, loose);
    }
    mode(&site.path(""), 0o755);
    open(&site.committed()).unwrap();
    assert_eq!(fs::metadata(site.path("")).unwrap().mode() & 0o777, 0o700, "only readable: tightened");
    mode(&site.committed(), 0o777);
    refused(&|refusal| matches!(refusal, Refusal::WritableByOthers { .. }));
    mode(&site.committed(), 0o755);

    fs::rename(site.committed(), site.dir.path().join("elsewhere")).unwrap();
    symlink("elsewhere", site.committed()).unwrap();
    refused(&|refusal| matches!(refusal, Refusal::Symlink));
    assert_eq!(fs::read_link(site.committed()).unwrap(), Path::new("elsewhere"));
    assert_eq!(fs::read(site.dir.path().join("elsewhere")).unwrap(), bytes("1.0.0"));
}

#[test]
fn a_commit_replaces_the_binary_and_keeps_the_old_one_among_the_versions() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    let epoch = site.lease("a", &candidate, SPAN).unwrap();
    site.install.commit(&candidate, epoch).unwrap();
    site.install.commit(&candidate, epoch).unwrap();
    site.install.release_lease(epoch).unwrap();
    site.assert_committed("1.1.0");
    assert!(site.install.open_version(&installed("1.0.0")).is_ok());
    assert!(!site.path("lease.json").exists());
}

#[test]
fn a_commit_under_a_lost_lease_is_refused() {
    let site = Site::new();
    let (old, new) = (site.stage("1.1.0"), site.stage("1.2.0"));
    let slow = site.lease("a", &old, NONE).unwrap();
    let quick = site.lease("b", &new, SPAN).expect("the first one is over");
    assert!(quick > slow);
    assert!(matches!(site.install.commit(&old, slow), Err(CommitError::LeaseLost)));
    site.install.release_lease(slow).unwrap();
    site.assert_committed("1.0.0");
    site.install.commit(&new, quick).unwrap();
    site.install.release_lease(quick).unwrap();
    // Also when nobody holds one any more.
    assert!(matches!(site.install.commit(&old, slow), Err(CommitError::LeaseLost)));
    site.assert_committed("1.2.0");
}

#[test]
fn a_lease_is_anothers_after_its_deadline_and_not_before() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    let in_the_way = |name: &str| site.install.lease_in_the_way(&node(name), &version("1.1.0"), 1);
    let first = site.lease("a", &candidate, SPAN).unwrap();
    let held = site.install.acquire_lease(&node("b"), &candidate, SPAN, 1).unwrap();
    assert!(
        matches!(&held, LeaseOutcome::Held { by, remaining, .. } if *by == node("a") && *remaining <= SPAN + SPAN),
        "{held:?}"
    );
    assert!(in_the_way("b").is_some());
    assert!(in_the_way("a").is_none(), "one's own is no sibling's");
    let second = site.lease("a", &candidate, NONE).expect("one's own is renewed");
    assert!(second > first);
    assert!(in_the_way("b").is_none());
    assert!(site.lease("b", &candidate, SPAN).unwrap() > second);
}

#[test]
fn a_lease_of_another_boot_or_a_damaged_one_holds_nobody_up() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    let mut last = site.lease("a", &candidate, SPAN).unwrap();
    for (name, damage) in [("b", None), ("c", Some("{")), ("d", Some("\u{0}\u{0}"))] {
        match damage {
            None => site.edit("lease.json", |lease| lease["boot"] = json!("another")),
            Some(bytes) => fs::write(site.path("lease.json"), bytes).unwrap(),
        }
        let epoch = site.lease(name, &candidate, SPAN).expect("nobody holds it");
        assert!(epoch > last, "epochs only grow");
        last = epoch;
    }
}

#[test]
fn a11_a_forged_lease_delays_for_a_day_at_most_and_authorises_nothing() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    let in_the_way = |name: &str| site.install.lease_in_the_way(&node(name), &version("1.1.0"), 1);
    site.lease("forger", &candidate, SPAN).unwrap();
    let now = site.json("lease.json")["deadline"].as_u64().unwrap();
    for deadline in [now + 25 * 3600, u64::MAX] {
        site.edit("lease.json", |lease| {
            lease["deadline"] = json!(deadline);
            lease["owner"] = json!("forger");
        });
        assert!(in_the_way("a").is_none());
        assert!(site.lease("a", &candidate, SPAN).is_some());
    }
    site.lease("a", &candidate, SPAN).unwrap();
    site.edit("lease.json", |lease| lease["epoch"] = json!(u64::MAX));
    let epoch = site.lease("a", &candidate, SPAN).expect("the end of the numbers is no end of upgrades");
    site.install.commit(&candidate, epoch).unwrap();
    site.install.release_lease(epoch).unwrap();
    site.assert_committed("1.1.0");
}

#[test]
fn a11_a_forged_verdict_delays_for_as_long_as_verdicts_are_believed_and_one_of_the_future_not_at_all() {
    let site = Site::new();
    let believed = Duration::from_hours(24);
    let failed = |now: Timestamp| {
        site.install.failed_at_sibling(&node("b"), &version("1.1.0"), now, believed).unwrap().map(|(node, _)| node)
    };
    let now = Timestamp::now();
    for (at, kind, delays) in [
        (now, VerdictKind::Bad, true),
        (now, VerdictKind::Good, false),
        (now, VerdictKind::Inconclusive, false),
        (now - Duration::from_hours(25), VerdictKind::Bad, false),
        (now + Duration::from_hours(1), VerdictKind::Bad, false),
    ] {
        let mut record = site.adopt("a", "1.0.0").0;
        record.verdicts = vec![Verdict { at, ..verdict("1.1.0", kind) }];
        site.install.write_node(&node("a"), &record).unwrap();
        assert_eq!(failed(now), delays.then(|| node("a")), "{kind:?} {at}");
    }
    assert_eq!(site.install.failed_at_sibling(&node("a"), &version("1.1.0"), now, believed).unwrap(), None);
}

#[test]
fn a11_what_is_not_believed_of_a_sibling_is_named_and_holds_nobody_up() {
    let site = Site::new();
    let now = Timestamp::now();
    let doubts = || site.install.doubts(&node("a"), now).unwrap();
    let candidate = site.stage("1.1.0");
    site.adopt("b", "1.0.0");
    site.lease("b", &candidate, SPAN).unwrap();
    assert_eq!(doubts(), [], "an honest sibling");

    site.edit("lease.json", |lease| lease["owner"] = json!("ghost"));
    assert_eq!(doubts(), [Doubt::LeaseOfStranger { owner: node("ghost") }]);
    site.edit("lease.json", |lease| lease["deadline"] = json!(u64::MAX));
    assert_eq!(doubts(), [Doubt::LeaseTooLong { owner: node("ghost") }]);
    fs::write(site.path("lease.json"), "[]").unwrap();
    let mut record = site.adopt("b", "1.0.0").0;
    let at = now + Duration::from_hours(1);
    record.verdicts = vec![verdict("1.1.0", VerdictKind::Bad), Verdict { at, ..verdict("1.2.0", VerdictKind::Bad) }];
    site.install.write_node(&node("b"), &record).unwrap();
    let coming = Doubt::VerdictOfTheFuture { node: node("b"), version: version("1.2.0") };
    assert_eq!(doubts(), [Doubt::LeaseUnreadable, coming]);
    fs::write(site.path("nodes/b.json"), "{").unwrap();
    assert_eq!(doubts(), [Doubt::LeaseUnreadable, Doubt::RecordUnreadable { node: node("b") }]);
    assert!(site.lease("a", &candidate, SPAN).is_some(), "none of it is in the way");
    assert_eq!(site.install.doubts(&node("b"), now).unwrap(), [], "and what is one's own is no sibling's");
}

#[test]
fn siblings_follow_to_what_is_committed_as_many_at_once_as_are_allowed_and_try_anything_else_alone() {
    let site = Site::new();
    let (next, later) = (site.stage("1.1.0"), site.stage("1.2.0"));
    let ask = |name: &str, candidate: &Installed, at_once: u8| match site
        .install
        .acquire_lease(&node(name), candidate, SPAN, at_once)
        .unwrap()
    {
        LeaseOutcome::Mine { epoch, .. } => Some(epoch),
        LeaseOutcome::Held { .. } => None,
    };
    let first = ask("a", &next, 3).unwrap();
    assert_eq!(ask("b", &next, 3), None, "nobody has proved it yet");
    site.install.commit(&next, first).unwrap();
    let (second, third) = (ask("b", &next, 3).unwrap(), ask("c", &next, 3).unwrap());
    assert!(first < second && second < third);
    assert_eq!(ask("d", &next, 3), None, "three are enough");
    assert!(site.install.lease_in_the_way(&node("d"), &next.version, 3).is_some());
    assert!(site.install.lease_in_the_way(&node("d"), &next.version, 4).is_none());
    site.install.release_lease(first).unwrap();
    assert_eq!(ask("d", &later, 3), None, "something new is tried when nobody else is in between");
    let fourth = ask("d", &next, 3).unwrap();
    for epoch in [second, third] {
        site.install.commit(&next, epoch).unwrap();
        site.install.release_lease(epoch).unwrap();
        assert!(matches!(site.install.commit(&next, epoch), Err(CommitError::LeaseLost)));
    }
    assert_eq!(site.json("lease.json")["epoch"], json!(fourth), "where older versions look for it");
    site.install.release_lease(fourth).unwrap();
    assert!(!site.path("lease.json").exists());
    assert!(ask("a", &later, 3).unwrap() > fourth);
    site.assert_committed("1.1.0");
}

#[test]
fn a_lease_is_extended_by_its_holder_alone_and_never_once_it_is_lost() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    let slow = site.lease("a", &candidate, NONE).unwrap();
    assert!(site.install.extend_lease(slow, SPAN).unwrap(), "nobody took it over");
    assert!(site.lease("b", &candidate, SPAN).is_none());
    assert!(site.install.extend_lease(slow, NONE).unwrap());
    let taken = site.install.acquire_lease(&node("b"), &candidate, SPAN, 1).unwrap();
    let LeaseOutcome::Mine { epoch: quick, after } = taken else { panic!("{taken:?}") };
    assert_eq!(after, Some(node("a")));
    assert!(!site.install.extend_lease(slow, SPAN).unwrap());
    site.install.release_lease(quick).unwrap();
    assert!(!site.install.extend_lease(slow, SPAN).unwrap());
    assert!(!site.path("lease.json").exists());
}

#[test]
fn a_node_takes_back_only_its_own_lease() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    site.lease("a", &candidate, SPAN).unwrap();
    site.install.drop_leases_of(&node("b")).unwrap();
    assert!(site.path("lease.json").exists());
    site.install.drop_leases_of(&node("a")).unwrap();
    site.install.drop_leases_of(&node("a")).unwrap();
    assert!(!site.path("lease.json").exists());
}

#[test]
fn pruning_keeps_every_version_that_is_named_and_removes_the_rest() {
    let site = Site::new();
    let all: Vec<_> = ["1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0"].iter().map(|version| site.stage(version)).collect();
    let mut record = site.adopt("b", "1.0.0").0;
    record.running = all[0].clone();
    record.previous = Some(all[1].clone());
    record.trial = Some(trial(&all[2], None));
    site.install.write_node(&node("b"), &record).unwrap();
    site.edit("install.json", |state| state["next"] = json!(all[3]));
    for folder in ["staging", "nodes", ""] {
        fs::write(site.path(folder).join(".new-0123456789abcdef"), b"of a dead writer").unwrap();
    }
    assert_eq!(site.install.prune().unwrap(), [all[4].folder_name()]);
    let mut kept: Vec<_> = all[..4].iter().chain([&installed("1.0.0")]).map(Installed::folder_name).collect();
    kept.sort();
    assert_eq!(names(&site.path("versions")), kept);
    for folder in ["staging", "nodes", ""] {
        assert!(!names(&site.path(folder)).iter().any(|name| name.starts_with(".new-")), "{folder}");
    }
}

#[test]
fn a_version_that_a_node_prepares_survives_a_siblings_clean_up_until_nobody_claims_it() {
    let site = Site::new();
    let staged = installed("1.1.0");
    let claims = [(); 2].map(|()| site.install.claim_version(&staged).unwrap());
    put(&claims[0].dir().path().join("exuvia"), &bytes("1.1.0"));
    // As another process opens it.
    let sibling = open(&site.committed()).unwrap();
    for claim in claims {
        assert_eq!(sibling.prune().unwrap(), Vec::<String>::new());
        assert!(site.install.open_version(&staged).is_ok());
        drop(claim);
    }
    assert_eq!(sibling.prune().unwrap(), [staged.folder_name()]);
    assert_eq!(names(&site.path("versions")), [installed("1.0.0").folder_name()]);
}

#[test]
fn pruning_removes_nothing_while_a_record_cannot_be_read() {
    let site = Site::new();
    let lost = site.stage("1.1.0");
    for damaged in ["nodes/b.json", "install.json"] {
        let before = fs::read(site.path(damaged)).ok();
        fs::write(site.path(damaged), b"{").unwrap();
        assert!(matches!(site.install.prune(), Err(InstallError::Record { .. })), "{damaged}");
        assert!(site.install.open_version(&lost).is_ok());
        match before {
            Some(bytes) => fs::write(site.path(damaged), bytes).unwrap(),
            None => fs::remove_file(site.path(damaged)).unwrap(),
        }
    }
    assert_eq!(site.install.prune().unwrap(), [lost.folder_name()]);
}

#[test]
fn a13_a_version_exchanged_after_staging_is_neither_opened_nor_committed() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    let epoch = site.lease("a", &candidate, SPAN).unwrap();
    let file = site.path("versions").join(candidate.folder_name()).join("exuvia");
    let state = fs::read(site.path("install.json")).unwrap();
    put(&file, b"#!/bin/sh\nexit 0\n");
    assert!(matches!(
        site.install.open_version(&candidate),
        Err(InstallError::Digest { path, expected, .. }) if path == file && expected == candidate.digest
    ));
    assert!(matches!(site.install.commit(&candidate, epoch), Err(CommitError::Install(InstallError::Digest { .. }))));
    fs::remove_file(&file).unwrap();
    let elsewhere = site.dir.path().join("elsewhere");
    put(&elsewhere, &bytes("1.1.0"));
    symlink(&elsewhere, &file).unwrap();
    let opened = site.install.open_version(&candidate);
    assert!(
        matches!(&opened, Err(InstallError::Sys(error)) if error.refusal() == Some(&Refusal::Symlink)),
        "{opened:?}"
    );
    assert!(site.install.commit(&candidate, epoch).is_err());
    fs::remove_file(elsewhere).unwrap();
    assert_eq!(fs::read(site.path("install.json")).unwrap(), state, "not even announced");
    site.assert_committed("1.0.0");
}

#[test]
fn a13_an_exchange_after_the_open_changes_nothing_for_the_handle() {
    let site = Site::new();
    let candidate = site.stage("1.1.0");
    let binary = site.install.open_version(&candidate).unwrap();
    put(binary.path(), b"#!/bin/sh\nexit 0\n");
    let mut held = Vec::new();
    std::io::Read::read_to_end(&mut binary.file(), &mut held).unwrap();
    assert_eq!(held, bytes("1.1.0"));
}

#[test]
fn a13_the_committed_versions_second_name_is_repaired_when_it_was_exchanged() {
    let site = Site::new();
    let file = site.path("versions").join(installed("1.0.0").folder_name()).join("exuvia");
    put(&file, b"#!/bin/sh\nexit 0\n");
    site.adopt("a", "1.0.0");
    assert_eq!(fs::read(file).unwrap(), bytes("1.0.0"));
    site.assert_committed("1.0.0");
}

#[test]
fn l3_policies_changed_at_once_are_all_kept() {
    let site = Site::new();
    site.install.change_policy(|policy| policy.pin = Some(version("0.0.0"))).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            // As another process has it: its own handles, and its own lock.
            let install = open(&site.committed()).unwrap();
            scope.spawn(move || {
                for _ in 0..10 {
                    install
                        .change_policy(|policy| {
                            let before = policy.pin.as_ref().unwrap().to_string();
                            let count: u32 = before.rsplit('.').next().unwrap().parse().unwrap();
                            policy.pin = Some(version(&format!("0.0.{}", count + 1)));
                        })
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(site.install.policy().unwrap().pin, Some(version("0.0.40")));
    assert!(!names(&site.path("")).iter().any(|name| name.starts_with(".new-")));
}

#[test]
fn l3_of_nodes_that_swap_at_once_only_lease_holders_commit_and_the_path_is_always_whole() {
    let site = Site::new();
    let versions = ["1.1.0", "1.2.0", "1.3.0"];
    let whole: Vec<_> = versions.iter().chain(&["1.0.0"]).map(|version| bytes(version)).collect();
    let stop = AtomicBool::new(false);
    let mut epochs: Vec<LeaseEpoch> = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !stop.load(Ordering::SeqCst) {
                assert!(whole.contains(&fs::read(site.committed()).unwrap()));
                reads += 1;
            }
            reads
        });
        let nodes: Vec<_> = versions
            .iter()
            .map(|version| {
                let (site, install) = (&site, open(&site.committed()).unwrap());
                let candidate = site.stage(version);
                scope.spawn(move || {
                    let mut committed = Vec::new();
                    for _ in 0..40 {
                        let outcome = install.acquire_lease(&node(&version.replace('.', "-")), &candidate, SPAN, 1);
                        let LeaseOutcome::Mine { epoch, .. } = outcome.unwrap() else { continue };
                        install.commit(&candidate, epoch).unwrap();
                        assert_eq!(install.committed().unwrap().unwrap(), candidate, "nobody else may meanwhile");
                        install.release_lease(epoch).unwrap();
                        committed.push(epoch);
                    }
                    committed
                })
            })
            .collect();
        let epochs = nodes.into_iter().flat_map(|node| node.join().unwrap()).collect();
        stop.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() > 0);
        epochs
    });
    let commits = epochs.len();
    epochs.sort();
    epochs.dedup();
    assert!(commits > 0 && epochs.len() == commits, "no epoch is given twice");
    assert_eq!(names(site.dir.path()), [".exuvia", "exuvia"]);
    assert!(!site.path("lease.json").exists());
}
