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

/// The root of trust for release metadata, where the folder of keys holds one.
const ROOT: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/pinned_root.rs"));

/// Ledger, cache, sockets and a state of the same epoch can be shared by two workers.
const APP: App = App {
    overlap: Overlap::UntilReady,
    root: ROOT,
    ..App::new("exuvia", VERSION, KEYS, statistics::job).with_state(statistics::STATE)
};

fn main() -> ExitCode {
    exuvia::cli::main(&APP)
}

#[cfg(test)]
mod tests {
    use exuvia::tuf::{Rules, TrustedSet};
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn this_build_pins_at_least_two_different_keys() {
        assert!(APP.keyring().expect("every pinned key can be read").keys().count() >= 2);
    }

    #[test]
    fn the_root_of_this_build_is_signed_by_itself_with_ml_dsa_keys_alone() {
        let Some(root) = APP.root else { return };
        let set = TrustedSet::bootstrap(root, Rules::own(), Timestamp::now()).expect("the pinned root verifies");
        assert!(set.root().keys().values().all(|key| key.scheme() == "ml-dsa-65/1"));
    }
}
