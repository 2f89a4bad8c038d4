//! The units that ship: systemd understands every line, a launcher has what it needs, and each restriction
//! says why.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use exuvia::config::{Input, Strictness, Trial, load};
use exuvia::doctor::{Unit, examine_unit};
use exuvia::install::{START_LIMIT_BURST, START_TRIES};

use super::{read, root};

const UNITS: [&str; 2] = ["exuvia.service", "exuvia@.service"];
const BINARY: &str = "/opt/exuvia/bin/exuvia";

/// Keys that systemd knows, and these units use.
const KEYS: &[&str] = &[
    "Unit.Description",
    "Unit.Wants",
    "Unit.After",
    "Unit.StartLimitIntervalSec",
    "Unit.StartLimitBurst",
    "Service.Type",
    "Service.NotifyAccess",
    "Service.User",
    "Service.Group",
    "Service.ExecStartPre",
    "Service.ExecStart",
    "Service.ExecReload",
    "Service.ExecStopPost",
    "Service.Restart",
    "Service.RestartSec",
    "Service.TimeoutStartSec",
    "Service.TimeoutStopSec",
    "Service.KillMode",
    "Service.OOMPolicy",
    "Service.StateDirectory",
    "Service.StateDirectoryMode",
    "Service.CacheDirectory",
    "Service.CacheDirectoryMode",
    "Service.UMask",
    "Service.ProtectSystem",
    "Service.ReadWritePaths",
    "Service.ProtectHome",
    "Service.PrivateTmp",
    "Service.PrivateDevices",
    "Service.PrivateMounts",
    "Service.ProtectKernelTunables",
    "Service.ProtectKernelModules",
    "Service.ProtectKernelLogs",
    "Service.ProtectControlGroups",
    "Service.ProtectClock",
    "Service.ProtectHostname",
    "Service.ProtectProc",
    "Service.CapabilityBoundingSet",
    "Service.NoNewPrivileges",
    "Service.RestrictAddressFamilies",
    "Service.RestrictNamespaces",
    "Service.RestrictRealtime",
    "Service.RestrictSUIDSGID",
    "Service.LockPersonality",
    "Service.SystemCallArchitectures",
    "Service.MemoryDenyWriteExecute",
    "Service.SystemCallFilter",
    "Service.SystemCallErrorNumber",
    "Service.KeyringMode",
    "Service.RemoveIPC",
    "Install.WantedBy",
];

fn text(name: &str) -> String {
    read(&format!("release/systemd/{name}"))
}

fn unit(name: &str) -> Unit {
    let mut unit = Unit::named(name);
    unit.read(&text(name));
    unit
}

/// The settings of a node that is configured with nothing.
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

#[test]
fn each_line_is_an_assignment_that_systemd_knows_made_once_under_a_reason() {
    for name in UNITS {
        let (mut section, mut seen, mut reasoned) = (String::new(), Vec::new(), false);
        for line in text(name).lines() {
            if let Some(begun) = line.strip_prefix('[') {
                section = begun.strip_suffix(']').unwrap().to_owned();
                reasoned = section != "Service";
            } else if line.is_empty() {
                reasoned = section != "Service";
            } else if line.starts_with('#') {
                assert!(line == "#" || line.starts_with("# "), "{name}: {line}");
                reasoned = true;
            } else {
                let (key, _) = line.split_once('=').unwrap_or_else(|| panic!("{name}: {line}"));
                let key = format!("{section}.{key}");
                assert!(KEYS.contains(&key.as_str()), "{name}: {key}");
                assert!(reasoned, "{name}: nobody says why {line}");
                // A filter takes away on a line of its own.
                assert!(line.contains("=~") || !seen.contains(&key), "{name}: {key} twice");
                seen.push(key);
            }
        }
        assert!(seen.len() > 40, "{name}: {seen:?}");
    }
}

#[test]
fn a_launcher_has_what_it_needs() {
    for name in UNITS {
        let unit = unit(name);
        assert!(unit.starts(Path::new(BINARY)));
        let findings = examine_unit(&unit, Path::new(BINARY), &trial());
        assert_eq!(findings, [], "{name}");
        for (key, value) in [
            ("Service.User", "exuvia"),
            ("Service.NoNewPrivileges", "yes"),
            ("Service.ProtectSystem", "strict"),
            ("Service.ReadWritePaths", "/opt/exuvia/bin"),
            ("Service.StateDirectoryMode", "0700"),
            ("Service.CacheDirectory", "exuvia"),
        ] {
            assert_eq!(unit.last(key), Some(value), "{name}: {key}");
        }
    }
}

#[test]
fn the_rescue_acts_before_the_service_manager_gives_up_and_a_failing_node_is_never_given_up() {
    for name in UNITS {
        let unit = unit(name);
        let number = |key| unit.last(key).unwrap().parse::<u32>().unwrap();
        let (burst, interval) = (number("Unit.StartLimitBurst"), number("Unit.StartLimitIntervalSec"));
        assert_eq!(burst, u32::from(START_LIMIT_BURST));
        assert!(u32::from(START_TRIES) + 1 < burst);
        assert!(number("Service.RestartSec") * burst > interval, "it would be given up");
    }
}

#[test]
fn the_template_is_the_unit_for_a_named_node() {
    let body = |name: &str| {
        let text = text(name);
        text[text.find("\nAfter=").unwrap()..].to_owned()
    };
    let single = body("exuvia.service").replace("exuvia/default", "exuvia/%i");
    assert_eq!(body("exuvia@.service").replace(" --node %i", ""), single);
}

/// By systemd itself, where it is installed (Debian: apt-get install systemd).
#[test]
fn systemd_finds_nothing_wrong_with_them() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("systemd-analyze is not installed: its opinion was not asked");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in UNITS {
        // It wants the program to exist.
        std::fs::write(
            dir.path().join(name),
            text(name).replace(&format!("ExecStart={BINARY}"), "ExecStart=/bin/true"),
        )
        .unwrap();
        let path = dir.path().join(name.replace('@', "@one"));
        if !path.exists() {
            std::fs::copy(dir.path().join(name), &path).unwrap();
        }
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let about_us: Vec<_> = said.lines().filter(|line| line.contains("exuvia")).collect();
        assert!(about_us.is_empty(), "{about_us:#?}");
    }
}

/// By systemd itself, which needs no running system for that (Debian: apt-get install systemd). The manual quotes it.
#[test]
fn their_exposure_is_what_the_manual_says() {
    let page = read("src/manual/operations.md");
    let said = page.split_once("exposure level of ").and_then(|(_, rest)| rest.split_once(' ')).expect("a level").0;
    let said: f64 = said.parse().unwrap();
    for name in UNITS {
        let mut analyze = Command::new("systemd-analyze");
        // From version 252 on it judges files.
        analyze.args(["security", "--offline=true", "--no-pager"]).arg(root().join("release/systemd").join(name));
        let Ok(output) = analyze.output() else {
            println!("systemd-analyze is not installed: its opinion was not asked");
            return;
        };
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() && errors.contains("unrecognized option") {
            println!("this systemd-analyze judges no files: its opinion was not asked");
            return;
        }
        let level = text.lines().find_map(|line| line.split_once("Overall exposure level for ")?.1.split_once(": "));
        let (_, level) = level.unwrap_or_else(|| panic!("{name}: {text}{errors}"));
        let level: f64 = level.split(' ').next().unwrap().parse().unwrap();
        // Other versions weigh a little differently.
        assert!((level - said).abs() <= 0.3, "{name}: {level}, and the manual says {said}");
    }
}

#[test]
fn a_container_runs_and_only_tells_of_releases() {
    let recipe = read("release/container/Containerfile");
    let lines: Vec<_> = recipe.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let line = |word: &str| lines.iter().find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("no {word}"));
    let copied = line("COPY").split_whitespace().last().unwrap();
    let folder = Path::new(copied).parent().unwrap();
    assert!(exuvia::install::package_manager(folder).is_some(), "the node must not replace {copied}");
    assert!(line("ENTRYPOINT").contains(copied));
    assert!(!line("USER").contains("root") && !line("USER").contains(" 0"), "{}", line("USER"));
    assert!(line("CMD").contains("run"));
    for folder in ["/var/lib/exuvia", "/var/cache/exuvia"] {
        assert!(line("VOLUME").contains(folder), "{folder}");
    }
    assert!(root().join("release/container/Containerfile").exists());
}
