use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::draft::Draft;
use super::error::{BadValue, ConfigError, Origin, Warning};
use super::keys::{KEYS, Key, defaults, key, variable_prefix};
use super::layers::{ConfigFile, Input};
use super::settings::Settings;
use super::value::Raw;

/// What an unknown key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// An error: somebody is there to correct it (the command line, a reload).
    Strict,
    /// A warning: at the start of a node, which must not fail over a key that another version knew.
    Lenient,
}

/// Settings, and what was odd about their input.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Unknown keys, in lenient mode.
    pub warnings: Vec<Warning>,
    /// Where each key was set last; keys at their default are missing.
    pub origins: BTreeMap<&'static str, Origin>,
    /// The files that were read.
    pub files: Vec<ConfigFile>,
}

/// Variables with the product's prefix that are not settings: they act on a build, or name the file
/// that has been read already.
const NOT_SETTINGS: [&str; 4] = ["KEYS_DIR", "VERSION", "TARGET", "CONFIG"];
/// What follows the prefix in variables that a launcher hands to its worker.
const INTERNAL: &str = "INTERNAL_";

/// Lays defaults, files, environment and flags over each other, in this order, and checks all of it.
///
/// # Errors
/// A value that does not fit, in both modes, even where a stronger layer would replace it; an unknown
/// key in strict mode; a folder that has no default here.
pub fn load(input: &Input, strictness: Strictness) -> Result<Loaded, ConfigError> {
    let mut merge = Merge { draft: defaults(), strictness, warnings: Vec::new(), origins: BTreeMap::new() };
    for file in &input.files {
        merge.file(file)?;
    }
    merge.environment(input)?;
    for (name, value) in &input.flags {
        let value = Raw::Plain(value.clone());
        match key(name) {
            Some(key) => merge.set(key, &value, Origin::CommandLine)?,
            None => merge.unknown(Origin::CommandLine, name, nearest(name))?,
        }
    }
    let Merge { draft, warnings, origins, .. } = merge;
    Ok(Loaded { settings: finish(draft, input)?, warnings, origins, files: input.files.clone() })
}

struct Merge {
    draft: Draft,
    strictness: Strictness,
    warnings: Vec<Warning>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Merge {
    fn set(&mut self, key: &'static Key, value: &Raw, origin: Origin) -> Result<(), ConfigError> {
        match (key.set)(&mut self.draft, value) {
            Ok(()) => {
                self.origins.insert(key.name, origin);
                Ok(())
            }
            Err(problem) => {
                let value = value.shown();
                Err(ConfigError::Value(Box::new(BadValue {
                    origin,
                    key: key.name,
                    value,
                    problem,
                    example: key.example,
                })))
            }
        }
    }

    fn unknown(&mut self, origin: Origin, key: &str, nearest: Option<String>) -> Result<(), ConfigError> {
        let warning = Warning { origin, key: key.to_owned(), nearest };
        match self.strictness {
            Strictness::Strict => Err(ConfigError::UnknownKey(Box::new(warning))),
            Strictness::Lenient => {
                self.warnings.push(warning);
                Ok(())
            }
        }
    }

    fn file(&mut self, file: &ConfigFile) -> Result<(), ConfigError> {
        let line = |offset: usize| 1 + file.text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        let table = DeTable::parse(&file.text).map_err(|error| ConfigError::Syntax {
            path: file.path.clone(),
            line: line(error.span().map_or(0, |span| span.start)),
            source: Box::new(error),
        })?;
        for (name, value) in table.get_ref() {
            let origin = |offset| Origin::File { path: file.path.clone(), line: line(offset) };
            match (value.get_ref(), key(name.get_ref())) {
                (value, Some(key)) => self.set(key, &raw(value), origin(name.span().start))?,
                (DeValue::Table(section), None) if is_section(name.get_ref()) => {
                    for (inner, value) in section {
                        let (origin, full) =
                            (origin(inner.span().start), format!("{}.{}", name.get_ref(), inner.get_ref()));
                        match key(&full) {
                            Some(key) => self.set(key, &raw(value.get_ref()), origin)?,
                            None => self.unknown(origin, &full, nearest(&full))?,
                        }
                    }
                }
                // A misspelt section: name the settings that it was meant to hold.
                (DeValue::Table(section), None) if !section.is_empty() => {
                    for inner in section.keys() {
                        let full = format!("{}.{}", name.get_ref(), inner.get_ref());
                        self.unknown(origin(inner.span().start), &full, nearest(&full))?;
                    }
                }
                (_, None) => {
                    self.unknown(origin(name.span().start), name.get_ref(), nearest(name.get_ref()))?;
                }
            }
        }
        Ok(())
    }

    fn environment(&mut self, input: &Input) -> Result<(), ConfigError> {
        let prefix = variable_prefix(&input.product);
        for (name, value) in &input.env {
            // Ours are ASCII; what is not UTF-8 is not ours.
            let Some(name) = name.to_str() else { continue };
            let Some(rest) = name.strip_prefix(&prefix) else { continue };
            if NOT_SETTINGS.contains(&rest) || rest.starts_with(INTERNAL) {
                continue;
            }
            let origin = Origin::Variable(name.to_owned());
            match KEYS.iter().find(|key| key.variable(&input.product) == name) {
                Some(key) => {
                    let value = value.to_str().ok_or_else(|| ConfigError::VariableNotUtf8(name.to_owned()))?;
                    self.set(key, &Raw::Plain(value.to_owned()), origin)?;
                }
                None => {
                    let variables = KEYS.iter().map(|key| key.variable(&input.product));
                    self.unknown(origin, name, closest(name, variables.map(|name| (name.clone(), name))))?;
                }
            }
        }
        Ok(())
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.split_once('.').is_some_and(|(section, _)| section == name))
}

/// What a file says, in the form that keys read.
pub(super) fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        // As it is spelled: a number in another radix keeps its prefix, and no key reads that.
        DeValue::Integer(number) => Raw::Number(number.to_string()),
        DeValue::Float(number) => Raw::Number(number.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
            texts.map_or_else(|| Raw::Other("[…]".to_owned()), Raw::List)
        }
        DeValue::Boolean(value) => Raw::Other(value.to_string()),
        DeValue::Datetime(value) => Raw::Other(value.to_string()),
        DeValue::Table(_) => Raw::Other("{…}".to_owned()),
    }
}

/// The key that is most like `name`, or like its last part where the section was forgotten.
fn nearest(name: &str) -> Option<String> {
    let full = KEYS.iter().map(|key| (key.name.to_owned(), key.name.to_owned()));
    let last = KEYS.iter().filter(|_| !name.contains('.')).filter_map(|key| {
        let (_, last) = key.name.split_once('.')?;
        Some((last.to_owned(), key.name.to_owned()))
    });
    closest(name, full.chain(last))
}

fn closest(name: &str, candidates: impl Iterator<Item = (String, String)>) -> Option<String> {
    candidates
        .map(|(spelling, answer)| (strsim::normalized_damerau_levenshtein(name, &spelling), answer))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, answer)| answer)
}

/// Fills in what depends on the node's name, the user and other settings.
fn finish(draft: Draft, input: &Input) -> Result<Settings, ConfigError> {
    let Draft { mut settings, cache_dir, data_dir, listing_ttl } = draft;
    let product = input.product.as_str();
    // systemd separates several folders by colons; the first is the one that the unit means for us.
    let given = |variable: &str| {
        let text = input.env.get(OsStr::new(variable))?.to_str()?.split(':').next()?;
        Some(PathBuf::from(text)).filter(|path| path.is_absolute())
    };
    settings.cache_dir = match cache_dir.or_else(|| given("CACHE_DIRECTORY")) {
        Some(dir) => dir,
        None if input.root => PathBuf::from("/var/cache").join(product),
        None => input
            .user_folder("XDG_CACHE_HOME", ".cache")
            .ok_or(ConfigError::NoPlace { key: "cache_dir", variable: "XDG_CACHE_HOME" })?
            .join(product),
    };
    settings.data_dir = match data_dir.or_else(|| given("STATE_DIRECTORY")) {
        Some(dir) => dir,
        None if input.root => PathBuf::from("/var/lib").join(product).join(settings.node.as_str()),
        None => input
            .user_folder("XDG_DATA_HOME", ".local/share")
            .ok_or(ConfigError::NoPlace { key: "data_dir", variable: "XDG_DATA_HOME" })?
            .join(product)
            .join(settings.node.as_str()),
    };
    let source = &settings.source;
    let set = [
        ("source.listing", source.listing.is_some()),
        ("source.github", source.github.is_some()),
        ("source.tuf", source.tuf.is_some()),
    ];
    let mut set = set.into_iter().filter_map(|(key, is_set)| is_set.then_some(key));
    if let (Some(one), Some(other)) = (set.next(), set.next()) {
        return Err(ConfigError::TwoSources(one, other));
    }
    if !source.targets.is_empty() && source.tuf.is_none() {
        return Err(ConfigError::TargetsOfNothing);
    }
    let has_folder = source.listing.as_ref().is_some_and(|listing| !listing.starts_with('/')) || source.tuf.is_some();
    if !source.mirrors.is_empty() && !has_folder {
        return Err(ConfigError::MirrorsOfNothing);
    }
    settings.poll.listing_ttl = listing_ttl.unwrap_or(settings.poll.interval / 2);
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ValueError;
    use proptest::prelude::*;
    use std::time::Duration;

    fn input(files: &[&str], env: &[(&str, &str)], flags: &[(&str, &str)]) -> Input {
        Input {
            product: "exuvia".parse().unwrap(),
            root: true,
            files: files
                .iter()
                .enumerate()
                .map(|(n, text)| ConfigFile { path: format!("/etc/{n}.toml").into(), text: (*text).to_owned() })
                .collect(),
            env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            flags: flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    fn strict(input: &Input) -> Settings {
        load(input, Strictness::Strict).unwrap().settings
    }

    fn refused(input: &Input) -> ConfigError {
        load(input, Strictness::Strict).unwrap_err()
    }

    #[test]
    fn without_any_input_the_documented_defaults_hold() {
        let settings = strict(&input(&[], &[], &[]));
        assert_eq!(settings.node.as_str(), "default");
        assert_eq!(settings.data_dir.to_str(), Some("/var/lib/exuvia/default"));
        assert_eq!(settings.cache_dir.to_str(), Some("/var/cache/exuvia"));
        assert_eq!(settings.poll.interval, Duration::from_hours(1));
        assert_eq!(settings.poll.listing_ttl, Duration::from_mins(30));
        assert_eq!((settings.trial.tries, settings.trial.probation), (3, Duration::from_mins(10)));
        assert_eq!(settings.limits.binary.to_string(), "1GiB");
        assert_eq!(settings.source.listing, None);
    }

    #[test]
    fn a_stronger_layer_wins() {
        let (weak, strong) = ("[trial]\nstart = \"1s\"\ndrain = \"1s\"", "[trial]\nstart = \"2s\"\nprobe = \"2s\"");
        let env = [("EXUVIA_TRIAL_START", "3s"), ("EXUVIA_TRIAL_PROBATION", "3s")];
        let loaded = load(&input(&[weak, strong], &env, &[("trial.start", "4s")]), Strictness::Strict).unwrap();
        let trial = &loaded.settings.trial;
        let seconds = [trial.start, trial.drain, trial.probe, trial.probation].map(|span| span.as_secs());
        assert_eq!(seconds, [4, 1, 2, 3]);
        assert_eq!(loaded.origins["trial.start"], Origin::CommandLine);
        assert_eq!(loaded.origins["trial.drain"], Origin::File { path: "/etc/0.toml".into(), line: 3 });
    }

    #[test]
    fn the_node_name_moves_its_data_folder_wherever_it_was_set() {
        let settings = strict(&input(&["node = \"a\""], &[("EXUVIA_NODE", "b")], &[("node", "edge-1")]));
        assert_eq!(settings.data_dir.to_str(), Some("/var/lib/exuvia/edge-1"));
    }

    #[test]
    fn folders_follow_the_service_manager_then_the_user() {
        let mut plain = input(&[], &[("HOME", "/home/u"), ("XDG_CACHE_HOME", "relative")], &[]);
        plain.root = false;
        let settings = strict(&plain);
        assert_eq!(settings.cache_dir.to_str(), Some("/home/u/.cache/exuvia"));
        assert_eq!(settings.data_dir.to_str(), Some("/home/u/.local/share/exuvia/default"));

        let unit = [("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("CACHE_DIRECTORY", "/var/cache/c")];
        let settings = strict(&input(&[], &unit, &[]));
        assert_eq!(settings.data_dir.to_str(), Some("/var/lib/a"));
        assert_eq!(settings.cache_dir.to_str(), Some("/var/cache/c"));

        plain.env.clear();
        assert!(matches!(refused(&plain), ConfigError::NoPlace { key: "cache_dir", .. }));
    }

    #[test]
    fn an_unknown_key_stops_a_person_and_not_a_node() {
        for (bad, written, nearest) in [
            (input(&["[trail]\nstart = \"5s\""], &[], &[]), "trail.start", "trial.start"),
            (input(&["[trial]\nstrat = \"5s\""], &[], &[]), "trial.strat", "trial.start"),
            (input(&["interval = \"5s\""], &[], &[]), "interval", "poll.interval"),
            (input(&[], &[("EXUVIA_TRAIL_START", "5s")], &[]), "EXUVIA_TRAIL_START", "EXUVIA_TRIAL_START"),
            (input(&[], &[], &[("trial.tires", "5")]), "trial.tires", "trial.tries"),
        ] {
            let ConfigError::UnknownKey(warning) = refused(&bad) else { panic!("{written} was taken") };
            assert_eq!((warning.key.as_str(), warning.nearest.as_deref()), (written, Some(nearest)));
            let loaded = load(&bad, Strictness::Lenient).unwrap();
            assert_eq!(loaded.warnings, [*warning]);
            assert_eq!(loaded.settings, strict(&input(&[], &[], &[])), "an unknown key changed something");
        }
    }

    #[test]
    fn what_resembles_no_key_gets_no_suggestion() {
        let ConfigError::UnknownKey(warning) = refused(&input(&["zzzzzzzzzz = 1"], &[], &[])) else { panic!() };
        assert_eq!(warning.nearest, None);
    }

    #[test]
    fn a_wrong_value_is_an_error_in_both_modes_and_names_its_place() {
        let bad = input(&["# a comment\n[trial]\ntries = 99"], &[], &[("trial.tries", "3")]);
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            let error = load(&bad, strictness).unwrap_err();
            let ConfigError::Value(bad) = error else { panic!("{error}") };
            assert_eq!((bad.key, bad.problem), ("trial.tries", ValueError::Count(10)));
            assert_eq!(bad.origin, Origin::File { path: "/etc/0.toml".into(), line: 3 });
        }
        let ConfigError::Value(bad) = refused(&input(&[], &[("EXUVIA_POLL_INTERVAL", "soon")], &[])) else { panic!() };
        assert_eq!(
            (&bad.origin, bad.problem),
            (&Origin::Variable("EXUVIA_POLL_INTERVAL".into()), ValueError::Duration)
        );
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_line() {
        let error = refused(&input(&["node = \"a\"\n\nlisten = = 3\n"], &[], &[]));
        assert!(matches!(error, ConfigError::Syntax { line: 3, .. }), "{error}");
    }

    #[test]
    fn variables_of_builds_launchers_and_neighbours_are_left_alone() {
        let names = ["EXUVIA_KEYS_DIR", "EXUVIA_VERSION", "EXUVIA_INTERNAL_LIFELINE", "EXUVIANODE", "PATH"];
        let env: Vec<_> = names.into_iter().map(|name| (name, "/x")).collect();
        assert_eq!(strict(&input(&[], &env, &[])), strict(&input(&[], &[], &[])));
    }

    #[test]
    fn a_node_follows_one_source_and_mirrors_mirror_it() {
        let set =
            |pairs: &[(&str, &str)]| load(&input(&[], &[], pairs), Strictness::Lenient).map(|loaded| loaded.settings);
        let (listing, github) = (("source.listing", "https://a.example/r.json"), ("source.github", "a/b"));
        let (mirrors, folder) =
            (("source.mirrors", "https://m.example/,https://n.example/"), ("source.listing", "/srv/r"));
        assert_eq!(set(&[listing, mirrors]).unwrap().source.mirrors.len(), 2);
        assert_eq!(set(&[github]).unwrap().source.github_api, "https://api.github.com");
        assert!(matches!(set(&[listing, github]), Err(ConfigError::TwoSources("source.listing", "source.github"))));
        for wrong in [&[mirrors][..], &[folder, mirrors], &[github, mirrors]] {
            assert!(matches!(set(wrong), Err(ConfigError::MirrorsOfNothing)), "{wrong:?}");
        }
    }

    #[test]
    fn lists_come_from_files_and_variables() {
        let hosts = ["a.example", "b.example:8080"].map(str::to_owned);
        let file = "[source]\nasset_hosts = [\"a.example\", \"b.example:8080\"]";
        assert_eq!(strict(&input(&[file], &[], &[])).source.asset_hosts, hosts);
        let env = [("EXUVIA_SOURCE_ASSET_HOSTS", "a.example, b.example:8080")];
        assert_eq!(strict(&input(&[], &env, &[])).source.asset_hosts, hosts);
        let mixed = refused(&input(&["[source]\nasset_hosts = [1]"], &[], &[]));
        assert!(matches!(mixed, ConfigError::Value(bad) if bad.problem == ValueError::WantsList));
    }

    proptest! {
        #[test]
        fn no_file_makes_loading_panic(text in "[a-z.=\\[\\]{}\"0-9 \n#-]{0,80}") {
            let _ = load(&input(&[&text], &[], &[]), Strictness::Lenient);
        }
    }
}
