//! What fuzz targets reach: readers of bytes that somebody else may have written.

use std::io::Cursor;

use super::manifest::Manifest;
use super::verify::{read_front, read_payload};

/// The whole reader but the signature: front, manifest, payload.
pub fn snapshot(bytes: &[u8]) {
    let mut from = Cursor::new(bytes);
    if let Ok((text, _)) = read_front(&mut from)
        && let Ok(manifest) = Manifest::read(&text)
    {
        assert_eq!(manifest.canonical(), text);
        drop(read_payload(&mut from, &manifest, &mut |_, _| {}));
    }
    drop(Manifest::read(bytes));
}
