use jiff::SignedDuration;
use serde::Serialize;

use super::facts::{Facts, Seen};

/// What follows from a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// The node runs, and cannot upgrade itself.
    NoUpgrades,
    /// The node cannot run.
    CannotRun,
}

/// Something about this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable word.
    pub check: &'static str,
    /// What follows.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// The command or the act that mends it.
    pub mend: String,
}

/// Room for an archive and a version, as a multiple of the running one.
const ROOM: u64 = 2;
/// Longer than any build is in use.
const FAR: SignedDuration = SignedDuration::from_hours(24 * 365 * 20);

/// Judges what was seen, the worst first. Nothing is found on a host where all is well.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    install(facts, &mut findings);
    capabilities(facts, &mut findings);
    folder(facts, &facts.data, "data", Severity::CannotRun, &mut findings);
    folder(facts, &facts.cache, "cache", Severity::Note, &mut findings);
    surroundings(facts, &mut findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// The binary, and the folder in which its successor will lie.
fn install(facts: &Facts, findings: &mut Vec<Finding>) {
    let Facts { binary, home, process, .. } = facts;
    let (path, folder) = (binary.display(), home.at.display());
    let mut no_upgrades = |check, what: String, why, mend: String| {
        findings.push(Finding { check, severity: Severity::NoUpgrades, what, why, mend });
    };
    let own_place = || format!("install -D {path} /opt/exuvia/bin/{}", name(facts));
    if let Some(manager) = facts.package {
        no_upgrades(
            "package-managed",
            format!("{path} lies where {manager} installs (decided by its path)"),
            "what changes there by itself is undone by the next package upgrade, or breaks it",
            format!("upgrade it with {manager}, or give the node a place of its own: {}", own_place()),
        );
    } else if home.place.read_only {
        no_upgrades(
            "read-only",
            format!("{folder} is on a file system that is mounted read-only"),
            "a new version has to be written beside the old one",
            format!("mount -o remount,rw the file system, or: {}", own_place()),
        );
    } else if facts.binary_owner != process.user {
        let owner = facts.binary_owner;
        no_upgrades(
            "wrong-user",
            format!("{path} belongs to user id {owner}, and this is user id {}", process.user),
            "only the owner of the install may replace it",
            format!("run the node as its owner (systemd: User={owner}), or: chown {} {path} {folder}", process.user),
        );
    } else if !home.place.writable {
        no_upgrades(
            "not-writable",
            format!("user id {} may not write to {folder}", process.user),
            "a new version has to be written beside the old one",
            format!("chown {} {folder}, or: {}", process.user, own_place()),
        );
    }
    if home.place.no_exec {
        no_upgrades(
            "noexec",
            format!("{folder} is on a file system that is mounted noexec"),
            "a new version is started from there",
            format!("mount -o remount,exec the file system, or: {}", own_place()),
        );
    }
    if facts.binary_mode & 0o022 != 0 {
        no_upgrades(
            "writable-by-others",
            format!("group or others may write to {path} (mode {:o})", facts.binary_mode),
            "what others may change cannot be trusted to upgrade itself",
            format!("chmod go-w {path}, after a look at what is in it (`verify`)"),
        );
    }
    let needed = facts.binary_length.saturating_mul(ROOM);
    if home.place.free < needed {
        no_upgrades(
            "space",
            format!("{folder} has {} bytes free, and an upgrade needs about {needed}", home.place.free),
            "an upgrade that finds too little room is not begun",
            format!(
                "make room: df -h {folder}; `cache prune --max-size 100MiB` helps where the cache is on the same file system"
            ),
        );
    }
}

/// Rights that belong to the file itself.
fn capabilities(facts: &Facts, findings: &mut Vec<Finding>) {
    if facts.capabilities {
        let (path, able) = (facts.binary.display(), facts.process.sets_capabilities);
        findings.push(Finding {
            check: "capabilities",
            severity: if able { Severity::Note } else { Severity::NoUpgrades },
            what: format!(
                "{path} has file capabilities{}",
                if able {
                    "; each new version gets them, too"
                } else {
                    ", which this user may not give to a new version"
                }
            ),
            why: "they belong to the file: a version without them could not do the node's work",
            mend: format!("set AmbientCapabilities= in the service's unit, then: setcap -r {path}"),
        });
    }
}

/// A folder that must be this user's alone.
fn folder(facts: &Facts, seen: &Seen, check: &'static str, severity: Severity, findings: &mut Vec<Finding>) {
    let (wanted, at, user) = (seen.wanted.display(), seen.at.display(), facts.process.user);
    let why = match severity {
        Severity::Note => "without the cache each node of this host downloads for itself",
        _ => "the node keeps its memory and its control socket there, and must be alone in it",
    };
    let mut found = |severity, what, mend| findings.push(Finding { check, severity, what, why, mend });
    let make = format!("install -d -m 700 -o {user} {wanted}");
    if seen.exists() && seen.place.owner != user {
        let owner = seen.place.owner;
        let mend = format!("run the node as user id {owner}, or: chown -R {user} {wanted}");
        found(severity, format!("{wanted} belongs to user id {owner}, and this is user id {user}"), mend);
    } else if seen.place.read_only {
        let mend = format!("mount -o remount,rw the file system, or set {check}_dir to another folder");
        found(severity, format!("{at} is on a file system that is mounted read-only"), mend);
    } else if !seen.place.writable {
        let what = if seen.exists() {
            format!("user id {user} may not write to {wanted}")
        } else {
            format!("{wanted} is missing, and user id {user} may not make it in {at}")
        };
        found(severity, what, make);
    } else if seen.exists() && check == "data" && seen.place.mode & 0o022 != 0 {
        let what = format!("group or others may write to {wanted} (mode {:o})", seen.place.mode);
        found(severity, what, format!("chmod 700 {wanted}, after a look at what is in it"));
    } else if seen.place.device != facts.home.place.device {
        let what = format!("{wanted} is on another file system than {}", facts.home.at.display());
        let fine = "nothing: versions are staged beside the binary, and files are copied from here".to_owned();
        found(Severity::Note, what, fine);
    }
}

fn surroundings(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut note = |check, what: String, why, mend: String| {
        findings.push(Finding { check, severity: Severity::Note, what, why, mend });
    };
    if let Some(hint) = &facts.container {
        note(
            "container",
            format!("this looks like a container ({hint})"),
            "what is written into a container's own layer is gone with the container: it would start the image's version again",
            format!(
                "put {} on a volume, or upgrade by a new image and set source.listing to nothing",
                facts.home.at.display()
            ),
        );
    }
    if facts.replaced {
        note(
            "replaced",
            format!("{} is not the binary that the nodes here started from", facts.binary.display()),
            "they run what they ran before, and upgrade to nothing, until they are started again",
            "restart the nodes: they run what is installed, and upgrade from there".to_owned(),
        );
    }
    if let Some(umask) = facts.process.umask.filter(|umask| umask & 0o700 != 0) {
        note(
            "umask",
            format!("the umask {umask:03o} takes rights from this user itself"),
            "files that are made without an explicit mode, by the node's job, cannot be used by it",
            "umask 022 (systemd: UMask=0022)".to_owned(),
        );
    }
    let ahead = facts.now.duration_since(facts.built);
    if ahead.is_negative() || ahead > FAR {
        let (now, built) = (facts.now, facts.built);
        let side = if ahead.is_negative() { "before" } else { "more than 20 years after" };
        note(
            "clock",
            format!("the clock says {now:.0}, {side} {built:.0}, the earliest that this build can be from"),
            "pauses, vetoes, maintenance windows and certificates are judged by the clock",
            "timedatectl set-ntp true, or: date -u -s \"...\"".to_owned(),
        );
    }
}

fn name(facts: &Facts) -> String {
    facts.binary.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Place, Process};
    use jiff::Timestamp;

    fn seen(path: &str) -> Seen {
        let place = Place {
            owner: 1000,
            mode: 0o700,
            device: 1,
            writable: true,
            read_only: false,
            no_exec: false,
            free: 1 << 30,
        };
        Seen { wanted: path.into(), at: path.into(), place }
    }

    fn healthy() -> Facts {
        Facts {
            binary: "/opt/exuvia/bin/exuvia".into(),
            binary_owner: 1000,
            binary_mode: 0o755,
            binary_length: 20 << 20,
            replaced: false,
            capabilities: false,
            home: seen("/opt/exuvia/bin"),
            data: seen("/var/lib/exuvia/default"),
            cache: seen("/var/cache/exuvia"),
            process: Process { user: 1000, umask: Some(0o022), sets_capabilities: false },
            package: None,
            container: None,
            now: "2026-12-01T00:00:00Z".parse().unwrap(),
            built: "2026-11-01T00:00:00Z".parse().unwrap(),
        }
    }

    /// Exactly one thing is wrong, and this is what is found.
    fn found(change: impl FnOnce(&mut Facts)) -> (&'static str, Severity) {
        let mut facts = healthy();
        change(&mut facts);
        let findings = examine(&facts);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert!(!findings[0].what.is_empty() && !findings[0].mend.is_empty());
        (findings[0].check, findings[0].severity)
    }

    #[test]
    fn nothing_is_found_where_all_is_well() {
        assert_eq!(examine(&healthy()), []);
    }

    #[test]
    fn what_prevents_upgrades_and_not_running_is_said_as_such() {
        let no = Severity::NoUpgrades;
        assert_eq!(found(|facts| facts.package = Some("Nix")), ("package-managed", no));
        assert_eq!(found(|facts| facts.home.place.read_only = true), ("read-only", no));
        assert_eq!(found(|facts| facts.binary_owner = 0), ("wrong-user", no));
        assert_eq!(found(|facts| facts.home.place.writable = false), ("not-writable", no));
        assert_eq!(found(|facts| facts.home.place.no_exec = true), ("noexec", no));
        assert_eq!(found(|facts| facts.binary_mode = 0o775), ("writable-by-others", no));
        assert_eq!(found(|facts| facts.capabilities = true), ("capabilities", no));
        assert_eq!(found(|facts| facts.home.place.free = 1 << 20), ("space", no));
    }

    #[test]
    fn capabilities_that_this_user_may_set_prevent_nothing() {
        let able = |facts: &mut Facts| {
            facts.capabilities = true;
            facts.process.sets_capabilities = true;
        };
        assert_eq!(found(able), ("capabilities", Severity::Note));
    }

    #[test]
    fn a_data_folder_that_is_not_ours_alone_prevents_running() {
        let worst = ("data", Severity::CannotRun);
        assert_eq!(found(|facts| facts.data.place.owner = 0), worst);
        assert_eq!(found(|facts| facts.data.place.mode = 0o770), worst);
        assert_eq!(found(|facts| facts.data.place.read_only = true), worst);
        assert_eq!(found(|facts| facts.data.place.writable = false), worst);
        let missing = |facts: &mut Facts| {
            facts.data.at = "/var/lib".into();
            facts.data.place.owner = 0;
            facts.data.place.writable = false;
        };
        assert_eq!(found(missing), worst);
    }

    #[test]
    fn the_rest_is_worth_a_note() {
        let note = Severity::Note;
        assert_eq!(found(|facts| facts.cache.place.owner = 0), ("cache", note));
        assert_eq!(found(|facts| facts.cache.place.device = 2), ("cache", note));
        assert_eq!(found(|facts| facts.data.place.device = 2), ("data", note));
        assert_eq!(found(|facts| facts.container = Some("/.dockerenv is there".into())), ("container", note));
        assert_eq!(found(|facts| facts.process.umask = Some(0o277)), ("umask", note));
        assert_eq!(found(|facts| facts.replaced = true), ("replaced", note));
        assert_eq!(found(|facts| facts.now = Timestamp::UNIX_EPOCH), ("clock", note));
        assert_eq!(found(|facts| facts.now = "2060-01-01T00:00:00Z".parse().unwrap()), ("clock", note));
    }

    #[test]
    fn the_worst_comes_first() {
        let mut facts = healthy();
        facts.container = Some("a hint".into());
        facts.home.place.no_exec = true;
        facts.data.place.owner = 0;
        let severities: Vec<_> = examine(&facts).into_iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, [Severity::CannotRun, Severity::NoUpgrades, Severity::Note]);
    }
}
