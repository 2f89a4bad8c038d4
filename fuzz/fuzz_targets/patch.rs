//! A patch, applied without a signature before it. The first byte says whether the rest is the patch itself, or
//! its three streams, each of which is compressed here under a head that fits.
#![no_main]

use std::sync::OnceLock;

use exuvia::delta::{PatchError, fuzzing};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::ByteLimit;
use libfuzzer_sys::fuzz_target;

struct Site {
    // Held: dropping it removes the folder.
    _root: tempfile::TempDir,
    staging: PrivateDir,
    base: Vec<u8>,
}

fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let root = tempfile::tempdir().expect("a folder");
        Site {
            staging: PrivateDir::open_or_create(root.path().join("staging"), Loose::RefuseWritable).expect("ours"),
            _root: root,
            base: (0..10_000u32).flat_map(u32::to_le_bytes).collect(),
        }
    })
}

const LIMIT: ByteLimit = ByteLimit::kib(256);

fuzz_target!(|bytes: &[u8]| {
    let Some((mode, rest)) = bytes.split_first() else { return };
    let Site { staging, base, .. } = site();
    let patch = if mode & 1 == 0 {
        rest.to_vec()
    } else {
        // Two more bytes say where the streams are cut.
        let [first, second, rest @ ..] = rest else { return };
        let cut = |at: u8, of: &[u8]| usize::from(at) * of.len() / 256;
        let (numbers, rest) = rest.split_at(cut(*first, rest));
        let (differences, literals) = rest.split_at(cut(*second, rest));
        let result = (differences.len() + literals.len()) as u64;
        fuzzing::patch(base.len() as u64, result, [numbers, differences, literals])
    };
    // What is made has the length that the head states, within the limit: the door itself asserts it.
    if let Err(error) = fuzzing::apply(&patch, base, staging, LIMIT) {
        assert!(!matches!(error, PatchError::Copy(_) | PatchError::Staging(_)), "{error}");
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(staging.names().expect("it can be listed"), Vec::<String>::new(), "something was left behind");
});
