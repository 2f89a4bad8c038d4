//! `exuvia`: a node that keeps itself up to date, and the verbs with which an operator speaks to it.

mod statistics;

use std::process::ExitCode;

use exuvia::node::App;
use exuvia::types::Overlap;

/// Read here and not in the library, so that another version is a new link and not a new build.
const VERSION: &str = match option_env!("EXUVIA_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

const KEYS: &[&str] = include!(concat!(env!("OUT_DIR"), "/pinned_keys.rs"));

/// Ledger, cache, sockets and a state of the same epoch can be shared by two workers.
const APP: App = App {
    overlap: Overlap::UntilReady,
    ..App::new("exuvia", VERSION, KEYS, statistics::job).with_state(statistics::STATE)
};

fn main() -> ExitCode {
    exuvia::cli::main(&APP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_build_pins_at_least_two_different_keys() {
        assert!(APP.keyring().expect("every pinned key can be read").keys().count() >= 2);
    }
}
