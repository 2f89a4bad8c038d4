//! The table of all settings.

use super::draft::Draft;
use super::error::ValueError;
use super::value::{self, Raw};
use crate::types::Product;
use std::fmt::Write as _;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its name: `section.key`, or `key` at the top of a file.
    pub name: &'static str,
    /// What it is when nobody sets it.
    pub default: Fallback,
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// A value that would do, as TOML.
    pub example: &'static str,
    pub(super) set: fn(&mut Draft, &Raw) -> Result<(), ValueError>,
}

/// What a setting is when nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This value, as one would write it in a variable.
    Value(&'static str),
    /// What these words say.
    Words(&'static str),
}

impl Key {
    /// The environment variable for it, such as `EXUVIA_TRIAL_START`.
    #[must_use]
    pub fn variable(&self, product: &Product) -> String {
        variable_prefix(product) + &self.name.replace('.', "_").to_ascii_uppercase()
    }
}

/// What the names of a product's variables begin with, such as `EXUVIA_`.
pub(super) fn variable_prefix(product: &Product) -> String {
    product.as_str().replace('-', "_").to_ascii_uppercase() + "_"
}

/// The setting of that name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// All settings as text, for help and manual.
#[must_use]
pub fn reference(product: &Product) -> String {
    let mut text = String::new();
    for key in KEYS {
        let default = match key.default {
            Fallback::Value(value) => value,
            Fallback::Words(words) => words,
        };
        writeln!(
            text,
            "{}\n    {}\n    Default: {default}. Example: {}. Variable: {}",
            key.name,
            key.meaning,
            key.example,
            key.variable(product)
        )
        .expect("writing to a String cannot fail");
    }
    text
}

/// Every default of the table, applied.
pub(super) fn defaults() -> Draft {
    let mut draft = Draft::unset();
    for key in KEYS {
        if let Fallback::Value(value) = key.default {
            (key.set)(&mut draft, &Raw::Plain(value.to_owned())).expect("a test applies every default");
        }
    }
    draft
}

fn put<T>(place: &mut T, value: Result<T, ValueError>) -> Result<(), ValueError> {
    *place = value?;
    Ok(())
}

/// Every setting there is.
pub const KEYS: &[Key] = &[
    Key {
        name: "node",
        default: Fallback::Value("default"),
        meaning: "The node's name on this host; nodes that share a binary need different ones.",
        example: "\"edge-1\"",
        set: |draft, raw| put(&mut draft.settings.node, value::node(raw)),
    },
    Key {
        name: "listen",
        default: Fallback::Value("127.0.0.1:7650"),
        meaning: "Where the node answers over HTTP (health, metrics, status): an IP address with a port, or \"off\".",
        example: "\"127.0.0.1:7650\"",
        set: |draft, raw| put(&mut draft.settings.listen, value::listen(raw)),
    },
    Key {
        name: "job.listen",
        default: Fallback::Words("none"),
        meaning: "Where the node's job listens, at most eight IP addresses with a port: their sockets stay open while \
                  workers change. The program exuvia has no such job.",
        example: "[\"127.0.0.1:8080\"]",
        set: |draft, raw| put(&mut draft.settings.job.listen, value::addresses(raw)),
    },
    Key {
        name: "state.recipients",
        default: Fallback::Words("none"),
        meaning: "Who may open the snapshots that are taken before a migration, beside the node itself: public keys of \
                  age. Without one these are not sealed.",
        example: "[\"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\"]",
        set: |draft, raw| put(&mut draft.settings.state.recipients, value::recipients(raw)),
    },
    Key {
        name: "cache_dir",
        default: Fallback::Words("$CACHE_DIRECTORY, /var/cache/<product> for root, else the user's cache folder"),
        meaning: "Where signed archives are kept for all nodes of this user.",
        example: "\"/var/cache/node\"",
        set: |draft, raw| put(&mut draft.cache_dir, value::path(raw).map(Some)),
    },
    Key {
        name: "data_dir",
        default: Fallback::Words("$STATE_DIRECTORY, /var/lib/<product>/<node> for root, else the user's data folder"),
        meaning: "Where this node keeps its ledger and its control socket; no two nodes may share it.",
        example: "\"/var/lib/node/edge-1\"",
        set: |draft, raw| put(&mut draft.data_dir, value::path(raw).map(Some)),
    },
    Key {
        name: "source.listing",
        default: Fallback::Words("none: the node does not look for releases"),
        meaning: "The URL of releases.json, or the folder that holds it.",
        example: "\"https://releases.example.com/releases.json\"",
        set: |draft, raw| put(&mut draft.settings.source.listing, value::listing(raw).map(Some)),
    },
    Key {
        name: "source.github",
        default: Fallback::Words("none"),
        meaning: "The repository, as owner/name, whose GitHub releases are followed instead of a listing. \
                  A token in GH_TOKEN or GITHUB_TOKEN opens private ones.",
        example: "\"example/node\"",
        set: |draft, raw| put(&mut draft.settings.source.github, value::repository(raw).map(Some)),
    },
    Key {
        name: "source.github_api",
        default: Fallback::Value("https://api.github.com"),
        meaning: "The URL of the API that knows the repository: for GitHub Enterprise, its path is /api/v3. \
                  The token is sent nowhere else.",
        example: "\"https://github.example.com/api/v3\"",
        set: |draft, raw| put(&mut draft.settings.source.github_api, value::url(raw)),
    },
    Key {
        name: "source.tuf",
        default: Fallback::Words("none"),
        meaning: "The URL of the folder of release metadata (TUF) that is followed instead: it says which release is \
                  current, for whom and until when. The build must hold a root of trust for it.",
        example: "\"https://releases.example.com/metadata/\"",
        set: |draft, raw| put(&mut draft.settings.source.tuf, value::url(raw).map(Some)),
    },
    Key {
        name: "source.targets",
        default: Fallback::Words("the folder targets beside that of source.tuf"),
        meaning: "URLs where the files are that the metadata describes, asked in this order: of a folder, or with \
                  {version} and {name} in them, for places such as the assets of GitHub releases.",
        example: "[\"https://github.com/example/node/releases/download/v{version}/{name}\"]",
        set: |draft, raw| put(&mut draft.settings.source.targets, value::targets(raw)),
    },
    Key {
        name: "source.mirrors",
        default: Fallback::Words("none"),
        meaning: "URLs of folders that hold the same files as the listing's own, or as that of source.tuf; asked in \
                  this order when its server fails, or what it sends does not verify.",
        example: "[\"https://mirror.example.com/releases/\"]",
        set: |draft, raw| put(&mut draft.settings.source.mirrors, value::urls(raw)),
    },
    Key {
        name: "source.ca_file",
        default: Fallback::Words("none"),
        meaning: "A PEM file with authorities that vouch for servers, besides those of the platform.",
        example: "\"/etc/ssl/company-ca.pem\"",
        set: |draft, raw| put(&mut draft.settings.source.ca_file, value::path(raw).map(Some)),
    },
    Key {
        name: "source.minimum_rate",
        default: Fallback::Value("1KiB"),
        meaning: "What a download must bring each second, over any minute; slower ones are broken off and gone on \
                  with later.",
        example: "\"1KiB\"",
        set: |draft, raw| put(&mut draft.settings.source.minimum_rate, value::size(raw)),
    },
    Key {
        name: "source.asset_hosts",
        default: Fallback::Words("none"),
        meaning: "Hosts besides the listing's own from which archives may be fetched.",
        example: "[\"cdn.example.com\"]",
        set: |draft, raw| put(&mut draft.settings.source.asset_hosts, value::hosts(raw)),
    },
    Key {
        name: "source.allow_plain_http",
        default: Fallback::Words("none"),
        meaning: "Hosts that may be spoken to without TLS; loopback always may.",
        example: "[\"mirror.lan:8080\"]",
        set: |draft, raw| put(&mut draft.settings.source.allow_plain_http, value::hosts(raw)),
    },
    Key {
        name: "poll.interval",
        default: Fallback::Value("1h"),
        meaning: "Time between two looks for releases.",
        example: "\"1h\"",
        set: |draft, raw| put(&mut draft.settings.poll.interval, value::duration(raw)),
    },
    Key {
        name: "poll.jitter",
        default: Fallback::Value("0.2"),
        meaning: "How far each interval is stretched or shrunk at random, as a fraction from 0 to 0.5.",
        example: "0.2",
        set: |draft, raw| put(&mut draft.settings.poll.jitter, value::fraction(raw)),
    },
    Key {
        name: "poll.listing_ttl",
        default: Fallback::Words("half of poll.interval"),
        meaning: "For how long a listing that a sibling fetched is used instead of asking again.",
        example: "\"30m\"",
        set: |draft, raw| put(&mut draft.listing_ttl, value::duration(raw).map(Some)),
    },
    Key {
        name: "rollout.window",
        default: Fallback::Value("24h"),
        meaning: "Each node waits its own part of this time after it first saw a release; 0s lets none wait.",
        example: "\"24h\"",
        set: |draft, raw| put(&mut draft.settings.rollout.window, value::window(raw)),
    },
    Key {
        name: "rollout.channel",
        default: Fallback::Value("stable"),
        meaning: "Which releases the node goes to by itself: stable, or beta for pre-releases, too.",
        example: "\"stable\"",
        set: |draft, raw| put(&mut draft.settings.rollout.channel, value::channel(raw)),
    },
    Key {
        name: "rollout.windows",
        default: Fallback::Words("none: at any time"),
        meaning: "When the node may begin an upgrade by itself: a list of days and hours (in a variable, separated by ;). Hours may run over midnight; nodes whose rollout.window ended before go at the next opening.",
        example: "[\"Mon-Fri 02:00-05:00\", \"Sat,Sun 22:00-06:00\"]",
        set: |draft, raw| put(&mut draft.settings.rollout.windows, value::weekly(raw)),
    },
    Key {
        name: "rollout.time_zone",
        default: Fallback::Value("UTC"),
        meaning: "The time zone of rollout.windows, by its IANA name; hours that a change of clocks skips do not open them.",
        example: "\"Europe/Berlin\"",
        set: |draft, raw| put(&mut draft.settings.rollout.time_zone, value::time_zone(raw)),
    },
    Key {
        name: "mirror.listen",
        default: Fallback::Value("off"),
        meaning: "Where the node serves what its host's cache keeps to other hosts, over HTTP and by digest: an IP \
                  address with a port, or \"off\". Signed releases and patches, and nothing else.",
        example: "\"192.0.2.10:7651\"",
        set: |draft, raw| put(&mut draft.settings.mirror.listen, value::listen(raw)),
    },
    Key {
        name: "mirror.peers",
        default: Fallback::Words("none"),
        meaning: "Whose mirrors are asked before the source: addresses, or a name that stands for many; port 7651 \
                  where none is given. They are not trusted: what they send is verified as ever.",
        example: "[\"mirrors.site.example\", \"192.0.2.11:7651\"]",
        set: |draft, raw| put(&mut draft.settings.mirror.peers, value::hosts(raw)),
    },
    Key {
        name: "mirror.transfers",
        default: Fallback::Value("8"),
        meaning: "How many files the mirror sends at a time; others are told to come back in a moment.",
        example: "8",
        set: |draft, raw| put(&mut draft.settings.mirror.transfers, value::count(raw, 200)),
    },
    Key {
        name: "mirror.rate",
        default: Fallback::Value("64MiB"),
        meaning: "How many bytes the mirror sends in a second, to all together.",
        example: "\"8MiB\"",
        set: |draft, raw| put(&mut draft.settings.mirror.rate, value::size(raw)),
    },
    Key {
        name: "trial.start",
        default: Fallback::Value("60s"),
        meaning: "How long a candidate may take until it says that it is ready.",
        example: "\"60s\"",
        set: |draft, raw| put(&mut draft.settings.trial.start, value::duration(raw)),
    },
    Key {
        name: "trial.probation",
        default: Fallback::Value("10m"),
        meaning: "How long a candidate must then stay healthy.",
        example: "\"10m\"",
        set: |draft, raw| put(&mut draft.settings.trial.probation, value::duration(raw)),
    },
    Key {
        name: "trial.longest_probation",
        default: Fallback::Value("30m"),
        meaning: "How long its probation may last in all while nobody can tell its health; then the version before \
                  serves again, without a veto.",
        example: "\"30m\"",
        set: |draft, raw| put(&mut draft.settings.trial.longest_probation, value::duration(raw)),
    },
    Key {
        name: "trial.sibling_probation",
        default: Fallback::Value("60s"),
        meaning: "The same, where a sibling on this host has proved the release already.",
        example: "\"60s\"",
        set: |draft, raw| put(&mut draft.settings.trial.sibling_probation, value::duration(raw)),
    },
    Key {
        name: "trial.handoff",
        default: Fallback::Value("15s"),
        meaning: "How long a candidate must prove itself as a launcher before it is committed.",
        example: "\"15s\"",
        set: |draft, raw| put(&mut draft.settings.trial.handoff, value::duration(raw)),
    },
    Key {
        name: "trial.drain",
        default: Fallback::Value("30s"),
        meaning: "How long a leaving worker may finish what it has begun.",
        example: "\"30s\"",
        set: |draft, raw| put(&mut draft.settings.trial.drain, value::duration(raw)),
    },
    Key {
        name: "trial.watchdog",
        default: Fallback::Value("30s"),
        meaning: "The longest silence of a healthy worker.",
        example: "\"30s\"",
        set: |draft, raw| put(&mut draft.settings.trial.watchdog, value::duration(raw)),
    },
    Key {
        name: "trial.tries",
        default: Fallback::Value("3"),
        meaning: "How often a trial may be cut short from outside (a reboot, say) before it has failed: 1 to 10.",
        example: "3",
        set: |draft, raw| put(&mut draft.settings.trial.tries, value::count(raw, 10)),
    },
    Key {
        name: "trial.probe",
        default: Fallback::Value("20s"),
        meaning: "How long a candidate may take to describe itself before it is tried.",
        example: "\"20s\"",
        set: |draft, raw| put(&mut draft.settings.trial.probe, value::duration(raw)),
    },
    Key {
        name: "trial.sibling_verdict",
        default: Fallback::Value("24h"),
        meaning: "For how long a sibling's verdict on a release is waited for and believed.",
        example: "\"24h\"",
        set: |draft, raw| put(&mut draft.settings.trial.sibling_verdict, value::duration(raw)),
    },
    Key {
        name: "trial.siblings_at_once",
        default: Fallback::Value("1"),
        meaning: "How many nodes that share this binary may follow at a time to a release that one of them has proved: \
                  1 to 64.",
        example: "4",
        set: |draft, raw| put(&mut draft.settings.trial.siblings_at_once, value::count(raw, 64)),
    },
    Key {
        name: "health.command",
        default: Fallback::Words("none"),
        meaning: "A program by its absolute path, and its arguments, that tells how the node does (run without a \
                  shell): exit code 0 is healthy, 75 says that nobody can tell just now, others are unhealthy.",
        example: "[\"/usr/local/bin/check-node\", \"--deep\"]",
        set: |draft, raw| put(&mut draft.settings.health.command, value::command(raw)),
    },
    Key {
        name: "health.url",
        default: Fallback::Words("none"),
        meaning: "An address of this host that tells how the node does: 200 is healthy, 429 and 503 with Retry-After \
                  say that nobody can tell just now, others are unhealthy.",
        example: "\"http://127.0.0.1:7650/readyz\"",
        set: |draft, raw| put(&mut draft.settings.health.url, value::own_url(raw).map(Some)),
    },
    Key {
        name: "health.every",
        default: Fallback::Value("10s"),
        meaning: "Time between two rounds of these checks during a probation.",
        example: "\"10s\"",
        set: |draft, raw| put(&mut draft.settings.health.every, value::duration(raw)),
    },
    Key {
        name: "health.timeout",
        default: Fallback::Value("5s"),
        meaning: "How long such a check may take; one that takes longer is unhealthy.",
        example: "\"5s\"",
        set: |draft, raw| put(&mut draft.settings.health.timeout, value::duration(raw)),
    },
    Key {
        name: "health.failures",
        default: Fallback::Value("3"),
        meaning: "How many unhealthy answers in a row fail a candidate: 1 to 10.",
        example: "3",
        set: |draft, raw| put(&mut draft.settings.health.failures, value::count(raw, 10)),
    },
    Key {
        name: "cache.max_size",
        default: Fallback::Value("4GiB"),
        meaning: "How much all cached archives may take together; tidying removes the oldest first.",
        example: "\"4GiB\"",
        set: |draft, raw| put(&mut draft.settings.cache.max_size, value::size(raw)),
    },
    Key {
        name: "cache.max_age",
        default: Fallback::Value("90d"),
        meaning: "How long an archive stays in the cache; tidying, after an upgrade or by `cache prune`, removes older ones.",
        example: "\"90d\"",
        set: |draft, raw| put(&mut draft.settings.cache.max_age, value::duration(raw)),
    },
    Key {
        name: "limits.archive",
        default: Fallback::Value("512MiB"),
        meaning: "The longest release archive that is accepted.",
        example: "\"512MiB\"",
        set: |draft, raw| put(&mut draft.settings.limits.archive, value::size(raw)),
    },
    Key {
        name: "limits.binary",
        default: Fallback::Value("1GiB"),
        meaning: "The longest binary that is accepted out of an archive.",
        example: "\"1GiB\"",
        set: |draft, raw| put(&mut draft.settings.limits.binary, value::size(raw)),
    },
    Key {
        name: "log.format",
        default: Fallback::Value("text"),
        meaning: "How log lines look: text or json.",
        example: "\"json\"",
        set: |draft, raw| put(&mut draft.settings.log.format, value::log_format(raw)),
    },
    Key {
        name: "log.filter",
        default: Fallback::Value("info"),
        meaning: "What is logged: a level, or target=level, separated by commas.",
        example: "\"info\"",
        set: |draft, raw| put(&mut draft.settings.log.filter, value::filter(raw)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn product() -> Product {
        "my-node".parse().unwrap()
    }

    #[test]
    fn every_default_and_every_example_is_accepted_by_its_own_key() {
        let mut draft = defaults();
        for key in KEYS {
            let toml = format!("x = {}", key.example);
            let table = toml::de::DeTable::parse(&toml).unwrap();
            let value = table.get_ref().values().next().unwrap().get_ref();
            (key.set)(&mut draft, &super::super::load::raw(value)).unwrap_or_else(|e| panic!("{}: {e}", key.name));
        }
    }

    #[test]
    fn no_two_keys_share_a_name_or_a_variable() {
        let variables: BTreeSet<_> = KEYS.iter().map(|key| key.variable(&product())).collect();
        assert_eq!(variables.len(), KEYS.len());
        assert!(variables.contains("MY_NODE_TRIAL_SIBLING_PROBATION"));
    }

    #[test]
    fn the_reference_names_every_key() {
        let text = reference(&product());
        assert!(KEYS.iter().all(|key| text.contains(key.name) && text.contains(&key.variable(&product()))));
    }

    #[test]
    fn no_key_could_weaken_a_verification() {
        for key in KEYS {
            for word in ["key", "trust", "verify", "signature", "insecure", "skip"] {
                assert!(!key.name.split(['.', '_']).any(|part| part == word), "{}", key.name);
            }
        }
    }
}
