//! Configuration, of two files, of variables and of flags: parts between lines of `---`. What it accepts
//! is in range, and the rooms above can use it.
#![no_main]

use std::time::Duration;

use exuvia::config::{ConfigFile, Input, Settings, Strictness, load};
use exuvia::fetch::{HostName, Location, Mirror, Repository};
use libfuzzer_sys::fuzz_target;

fn usable(settings: &Settings) {
    let source = &settings.source;
    for host in source.asset_hosts.iter().chain(&source.allow_plain_http) {
        assert!(host.parse::<HostName>().is_ok(), "the host {host:?} cannot be used");
    }
    for mirror in &source.mirrors {
        assert!(mirror.parse::<Mirror>().is_ok(), "the mirror {mirror:?} cannot be used");
    }
    assert!(source.listing.as_deref().is_none_or(|at| at.parse::<Location>().is_ok()), "{:?}", source.listing);
    assert!(source.github.as_deref().is_none_or(|name| name.parse::<Repository>().is_ok()), "{:?}", source.github);
    assert!(source.listing.is_none() || source.github.is_none());

    let year = Duration::from_hours(366 * 24);
    let trial = &settings.trial;
    let spans = [
        trial.start,
        trial.probation,
        trial.sibling_probation,
        trial.handoff,
        trial.drain,
        trial.watchdog,
        trial.probe,
        trial.sibling_verdict,
        settings.poll.interval,
        settings.cache.max_age,
    ];
    assert!(spans.iter().all(|span| !span.is_zero() && *span <= year), "{settings:?}");
    assert!(settings.rollout.window <= year && (1..=10).contains(&trial.tries));
    assert!((0.0..=0.5).contains(&settings.poll.jitter));
    assert!(settings.cache_dir.is_absolute() && settings.data_dir.is_absolute());
}

fuzz_target!(|text: &str| {
    let mut parts = text.split("---\n");
    let files = [parts.next(), parts.next()];
    let pairs = |part: Option<&str>| -> Vec<(String, String)> {
        let lines = part.unwrap_or_default().lines().take(8);
        lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let env = pairs(parts.next());
    let input = Input {
        product: "exuvia".parse().expect("a product"),
        root: false,
        files: files
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(n, text)| ConfigFile { path: format!("/etc/exuvia/{n}.toml").into(), text: text.to_owned() })
            .collect(),
        env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        flags: pairs(parts.next()),
    };
    let (strict, lenient) = (load(&input, Strictness::Strict), load(&input, Strictness::Lenient));
    match (strict, lenient) {
        (Ok(strict), Ok(lenient)) => {
            assert_eq!(strict.settings, lenient.settings);
            assert!(strict.warnings.is_empty() && lenient.warnings.is_empty());
            usable(&strict.settings);
        }
        (Err(error), Ok(lenient)) => {
            assert!(!lenient.warnings.is_empty(), "refused without an unknown key: {error}");
            usable(&lenient.settings);
        }
        (Err(strict), Err(lenient)) => assert!(!strict.to_string().is_empty() && !lenient.to_string().is_empty()),
        (Ok(_), Err(error)) => panic!("what the strict reading takes, the lenient one refuses: {error}"),
    }
});
