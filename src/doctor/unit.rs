//! The systemd unit that starts the node, held against what a launcher needs of its service manager.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::examine::{Finding, Severity};
use crate::config::Trial;
use crate::install::{Install, START_LIMIT_BURST, START_TRIES};

/// A unit with its drop-ins, as systemd would read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Where it was found: for messages.
    pub name: String,
    /// Values by `Section.Key`, in order. An empty assignment has removed those before it.
    values: BTreeMap<String, Vec<String>>,
}

impl Unit {
    /// A unit without anything in it.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), values: BTreeMap::new() }
    }

    /// Reads a unit file, or a drop-in on top of what was read before. Lines that mean nothing are passed over, as
    /// systemd does.
    pub fn read(&mut self, text: &str) {
        let mut section = String::new();
        let mut whole = String::new();
        for line in text.lines() {
            let line = line.trim();
            if whole.is_empty() && (line.is_empty() || line.starts_with(['#', ';'])) {
                continue;
            }
            // A comment within a continued line is left out of it.
            if !whole.is_empty() && line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(begun) = line.strip_suffix('\\') {
                whole.push_str(begun);
                whole.push(' ');
                continue;
            }
            let line = std::mem::take(&mut whole) + line;
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((key, value)) = line.split_once('=') {
                let values = self.values.entry(format!("{section}.{}", key.trim())).or_default();
                match value.trim() {
                    "" => values.clear(),
                    value => values.push(value.to_owned()),
                }
            }
        }
    }

    /// Every value of a key, such as `Service.ExecStartPre`.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.values.get(key).into_iter().flatten().map(String::as_str)
    }

    /// The value of a key that has one: the last.
    #[must_use]
    pub fn last(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.last().map(String::as_str)
    }

    /// Whether this unit starts that binary.
    #[must_use]
    pub fn starts(&self, binary: &Path) -> bool {
        self.all("Service.ExecStart").any(|line| program(line) == binary)
    }

    fn is(&self, key: &str, wanted: &[&str]) -> bool {
        self.last(key).is_some_and(|value| wanted.contains(&value))
    }
}

/// The program of a command line, without systemd's marks before it.
fn program(line: &str) -> &Path {
    let word = line.split_whitespace().next().unwrap_or_default();
    Path::new(word.trim_start_matches(['-', '@', ':', '+', '!']))
}

/// A time span as systemd writes it, where it is one that a unit like ours has.
fn span(text: &str) -> Option<Duration> {
    if text == "infinity" {
        return Some(Duration::MAX);
    }
    let mut sum = Duration::ZERO;
    for word in text.split_whitespace() {
        let end = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        let number: u64 = word[..end].parse().ok()?;
        sum += match &word[end..] {
            "" | "s" | "sec" => Duration::from_secs(number),
            "ms" | "msec" => Duration::from_millis(number),
            "m" | "min" => Duration::from_mins(number),
            "h" | "hr" => Duration::from_hours(number),
            _ => return None,
        };
    }
    Some(sum)
}

/// What the unit lacks of what a launcher needs, for the committed binary at `committed`.
#[must_use]
pub fn examine_unit(unit: &Unit, committed: &Path, trial: &Trial) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |check, severity, what: &str, why, mend: String| {
        findings.push(Finding { check, severity, what: format!("{}: {what}", unit.name), why, mend });
    };
    let note = Severity::Note;
    if !unit.is("Service.Type", &["notify", "notify-reload"]) {
        found(
            "unit-type",
            note,
            "Type= is not notify",
            "only then does the service manager wait for READY, and notice a start that hangs",
            "Type=notify".to_owned(),
        );
    }
    rescue(unit, committed, &mut found);
    let burst = unit.last("Unit.StartLimitBurst").and_then(|burst| burst.parse().ok()).unwrap_or(5);
    let unlimited = unit.is("Unit.StartLimitIntervalSec", &["0", "0s"]);
    if !unlimited && burst < u32::from(START_LIMIT_BURST) {
        found(
            "unit-start-limit",
            note,
            &format!("it gives up after {burst} starts"),
            "the rescue needs a few failed starts before it acts, and a node that is given up stays away",
            format!("[Unit] StartLimitBurst={START_LIMIT_BURST} ({START_TRIES} tries, and room for the old binary)"),
        );
    }
    if !unit.is("Service.Restart", &["always", "on-failure"]) {
        found(
            "unit-restart",
            note,
            "Restart= is neither always nor on-failure",
            "a launcher that ends, in a handoff that failed for instance, is to be started again",
            "Restart=always".to_owned(),
        );
    }
    if !unit.is("Service.KillMode", &["mixed"]) {
        found(
            "unit-kill-mode",
            note,
            "KillMode= is not mixed",
            "the launcher alone is asked to stop, and lets its workers finish; what is left then is killed",
            "KillMode=mixed".to_owned(),
        );
    }
    if !unit.is("Service.OOMPolicy", &["continue"]) {
        found(
            "unit-oom",
            note,
            "OOMPolicy= is not continue",
            "a worker that the kernel kills for its memory must not take its launcher along",
            "OOMPolicy=continue".to_owned(),
        );
    }
    for (key, check, least, of) in [
        ("TimeoutStartSec", "unit-start-time", trial.start, "trial.start"),
        ("TimeoutStopSec", "unit-stop-time", trial.drain, "trial.drain"),
    ] {
        // systemd's own default.
        let has = unit.last(&format!("Service.{key}")).map_or(Some(Duration::from_secs(90)), span);
        if has.is_some_and(|has| has < least) {
            found(
                check,
                note,
                &format!("{key}= is shorter than {of}"),
                "the service manager would end what the launcher still gives time",
                format!("{key}={}s or more", least.as_secs() + 30),
            );
        }
    }
    if unit.is("Service.ProcSubset", &["pid"]) {
        found(
            "unit-proc",
            note,
            "ProcSubset=pid hides the id of this boot",
            "leases and counted starts of another boot are told by it",
            "ProcSubset=all".to_owned(),
        );
    }
    writable(unit, committed, &mut found);
    findings
}

type Found<'a> = &'a mut dyn FnMut(&'static str, Severity, &str, &'static str, String);

fn rescue(unit: &Unit, committed: &Path, found: Found<'_>) {
    let rescue = committed.with_file_name(Install::FOLDER).join(Install::RESCUE);
    let line = |key, ended| {
        unit.all(key)
            .find(|line| program(line) == rescue && line.contains(" recover ") && line.contains("--ended") == ended)
    };
    let command = |ended: &str| format!("-{} recover{ended} --committed {}", rescue.display(), committed.display());
    match line("Service.ExecStartPre", false) {
        None => found(
            "unit-rescue",
            Severity::Note,
            "the rescue is not run before each start",
            "a new version that fails to start would never be replaced by the one before",
            format!("ExecStartPre={}", command("")),
        ),
        Some(line) if !line.starts_with('-') => found(
            "unit-rescue",
            Severity::Note,
            "a rescue that is missing stops the node from starting",
            "before the first start that succeeds there is none",
            format!("ExecStartPre={}", command("")),
        ),
        Some(_) => {}
    }
    if line("Service.ExecStopPost", true).is_none_or(|line| !line.starts_with('-')) {
        found(
            "unit-rescue-end",
            Severity::Note,
            "the rescue does not hear how the service ended",
            "starts that an operator stopped would be counted as failed ones",
            format!("ExecStopPost={}", command(" --ended")),
        );
    }
}

fn writable(unit: &Unit, committed: &Path, found: Found<'_>) {
    let folder = committed.parent().unwrap_or(Path::new("/"));
    let strict = unit.is("Service.ProtectSystem", &["strict"]);
    let below = |place: &str| folder.starts_with(place.trim_start_matches(['-', '+']));
    let listed = |key: &str| unit.all(key).flat_map(str::split_whitespace).any(below);
    if (strict && !listed("Service.ReadWritePaths")) || listed("Service.ReadOnlyPaths") {
        found(
            "unit-read-only",
            Severity::NoUpgrades,
            &format!("{} is read-only for the service", folder.display()),
            "a new version has to be written beside the old one",
            format!("ReadWritePaths={}", folder.display()),
        );
    }
    if listed("Service.NoExecPaths") && !listed("Service.ExecPaths") {
        found(
            "unit-noexec",
            Severity::NoUpgrades,
            &format!("nothing in {} may be executed by the service", folder.display()),
            "a new version is started from there",
            format!("ExecPaths={}", folder.display()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Input, Strictness, load};

    const GOOD: &str = "
        # A comment
        [Unit]
        StartLimitBurst=6
        [Service]
        Type=notify
        ExecStartPre=-/opt/x/bin/.exuvia/rescue --node a \\
            recover --committed /opt/x/bin/exuvia
        ExecStart=/opt/x/bin/exuvia run
        ExecStopPost=-/opt/x/bin/.exuvia/rescue recover --ended --committed /opt/x/bin/exuvia
        Restart=always
        KillMode=mixed
        OOMPolicy=continue
        TimeoutStartSec=3min
        TimeoutStopSec=1min 30s
        ProtectSystem=strict
        ReadWritePaths=/opt/x/bin";

    fn trial() -> Trial {
        let input = Input {
            product: "exuvia".parse().unwrap(),
            root: false,
            files: Vec::new(),
            env: BTreeMap::new(),
            flags: vec![("data_dir".to_owned(), "/d".to_owned()), ("cache_dir".to_owned(), "/c".to_owned())],
        };
        load(&input, Strictness::Strict).unwrap().settings.trial
    }

    fn checks(drop_in: &str) -> Vec<&'static str> {
        let mut unit = Unit::named("exuvia.service");
        unit.read(GOOD);
        unit.read(drop_in);
        let findings = examine_unit(&unit, Path::new("/opt/x/bin/exuvia"), &trial());
        findings.into_iter().map(|finding| finding.check).collect()
    }

    #[test]
    fn a_unit_that_has_all_is_fine_and_says_what_it_starts() {
        assert_eq!(checks(""), Vec::<&str>::new());
        let mut unit = Unit::named("exuvia.service");
        unit.read(GOOD);
        assert!(unit.starts(Path::new("/opt/x/bin/exuvia")) && !unit.starts(Path::new("/opt/x/bin/other")));
    }

    #[test]
    fn what_a_unit_lacks_is_found_also_when_a_drop_in_took_it_away() {
        for (drop_in, check) in [
            ("[Service]\nType=simple", "unit-type"),
            ("[Service]\nExecStartPre=", "unit-rescue"),
            ("[Service]\nExecStartPre=\nExecStartPre=/opt/x/bin/.exuvia/rescue recover --committed x", "unit-rescue"),
            ("[Service]\nExecStopPost=", "unit-rescue-end"),
            ("[Unit]\nStartLimitBurst=3", "unit-start-limit"),
            ("[Unit]\nStartLimitBurst=", "unit-start-limit"),
            ("[Service]\nRestart=no", "unit-restart"),
            ("[Service]\nKillMode=process", "unit-kill-mode"),
            ("[Service]\nOOMPolicy=kill", "unit-oom"),
            ("[Service]\nTimeoutStartSec=10", "unit-start-time"),
            ("[Service]\nTimeoutStopSec=500ms", "unit-stop-time"),
            ("[Service]\nProcSubset=pid", "unit-proc"),
            ("[Service]\nReadWritePaths=\nReadWritePaths=/opt/y", "unit-read-only"),
            ("[Service]\nReadOnlyPaths=/opt", "unit-read-only"),
            ("[Service]\nNoExecPaths=/", "unit-noexec"),
        ] {
            assert_eq!(checks(drop_in), [check], "{drop_in}");
        }
        assert_eq!(checks("[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=0"), Vec::<&str>::new());
        assert_eq!(checks("[Service]\nNoExecPaths=/\nExecPaths=/opt/x/bin /usr"), Vec::<&str>::new());
    }

    #[test]
    fn spans_are_read_as_systemd_writes_them() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("1min 30s", 90), ("2h", 7200), ("infinity", u64::MAX)] {
            assert_eq!(span(text).unwrap().as_secs(), seconds, "{text}");
        }
        assert_eq!(span("soon"), None);
    }
}
