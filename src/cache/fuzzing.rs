//! What must hold of every cache entry that is accepted: doors for the fuzz targets, which live in
//! another package and see only what is public. Built for fuzzing, and with the tests so that the
//! lints see it.

use super::entry::{Entry, EntryName};

/// The name of an entry's file: what is accepted is spelled just so, and fits a file system.
pub fn entry_name(file_name: &str) {
    if let Some(name) = EntryName::parse(file_name) {
        assert_eq!(name.file_name(), file_name);
        assert!(file_name.len() <= 255 && !file_name.contains(['/', '\0']));
    }
}

/// What is in it: what is accepted is written back as the same.
pub fn entry(bytes: &[u8]) {
    let Ok((entry, signature)) = Entry::from_json(bytes) else { return };
    let (again, same) = Entry::from_json(&entry.to_json()).expect("what was written can be read");
    assert_eq!((again, same), (entry, signature));
}
