//! What must hold of every tar header that is accepted, and extraction without a signature before it:
//! doors for the fuzz targets, which live in another package and see only what is public. Built for
//! fuzzing, and with the tests so that the lints see it.

use std::io::Write;

use super::copy::Claim;
use super::error::ArchiveError;
use super::header::{BLOCK, extra, judge};
use super::limits::plausible;
use super::signed::VerifiedArchive;
use super::staged::StagedBinary;
use crate::config::Limits;
use crate::crypto::{PublicKey, Release, Signature};
use crate::sys::Dir;
use crate::types::{ArchiveFormat, Product, ReleaseId};

/// Extracts an archive that nobody signed: to sign each input would take longer than all the rest.
pub fn extract(
    archive: &[u8],
    format: ArchiveFormat,
    id: &ReleaseId,
    key: &PublicKey<Release>,
    staging: &Dir,
    limits: &Limits,
) -> Result<StagedBinary, ArchiveError> {
    let mut copy = staging.unnamed_file()?;
    copy.write_all(archive).map_err(ArchiveError::Copy)?;
    let signature = Signature::from_bytes(&[0; Signature::LEN]).expect("it has the length of one");
    let claim = Claim { id, packing: format.into(), signature: &signature, key };
    let length = archive.len() as u64;
    let staged = VerifiedArchive::new(copy, length, &claim).extract(staging, limits, &mut |_| {})?;
    assert!(limits.binary.admits(staged.length()) && staged.length() <= plausible(length));
    Ok(staged)
}

/// The header of what must be the binary. What is accepted is, for another reader of tar files, one
/// regular file of that name and length.
pub fn tar_header(block: &[u8; BLOCK], product: &Product) {
    let _ = extra(block, product).to_string();
    let Ok(length) = judge(block, product) else { return };
    assert!(length > 0);
    if length > 1 << 40 {
        return; // Longer than any limit, which is what is asked next.
    }
    let mut archive = tar::Archive::new(block.as_slice());
    let entry = archive.entries().expect("bytes can be read").next().expect("there is one").expect("it is whole");
    assert!(entry.header().entry_type().is_file());
    let path = entry.path_bytes().into_owned();
    assert_eq!(path.strip_prefix(b"./").unwrap_or(&path), product.as_str().as_bytes());
    assert_eq!(entry.size(), length);
    assert_eq!(entry.link_name_bytes(), None);
    assert_eq!(entry.header().mode().expect("it was judged") & !0o100_777, 0);
}
