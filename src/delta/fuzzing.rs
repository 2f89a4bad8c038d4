//! Application without a signature before it: a door for the fuzz target, which lives in another
//! package and sees only what is public. Built for fuzzing, and with the tests so that the lints see it.

use std::fs::File;
use std::io::Write;

use super::error::PatchError;
use super::head::{HEAD, Head, Part};
use super::signed::apply_file;
use crate::archive::Tar;
use crate::sys::Dir;
use crate::types::ByteLimit;

/// Applies a patch that nobody signed: to sign each input would take longer than all the rest. What comes
/// out has the length that the head states, within the limit.
pub fn apply(patch: &[u8], base: &[u8], staging: &Dir, limit: ByteLimit) -> Result<File, PatchError> {
    let file = |bytes: &[u8]| -> Result<File, PatchError> {
        let mut file = staging.unnamed_file()?;
        file.write_all(bytes).map_err(PatchError::Copy)?;
        Ok(file)
    };
    let base = Tar::of_private_file(file(base)?).map_err(PatchError::Copy)?;
    let result = apply_file(&file(patch)?, patch.len() as u64, &base, staging, limit)?;
    let length = result.metadata().map_err(PatchError::Copy)?.len();
    let head = Head::parse(patch[..HEAD].try_into().expect("it was long enough")).expect("it was parsed before");
    assert!(length == head.result && limit.admits(length));
    Ok(result)
}

/// A patch from its streams, its head saying what the caller wants it to say of base and result.
#[must_use]
pub fn patch(base: u64, result: u64, streams: [&[u8]; 3]) -> Vec<u8> {
    let packed = streams.map(|plain| zstd::stream::encode_all(plain, 1).expect("memory can be compressed"));
    let part = |index: usize| Part { packed: packed[index].len() as u64, plain: streams[index].len() as u64 };
    let head = Head { base, result, numbers: part(0), differences: part(1), literals: part(2) };
    [head.to_bytes().to_vec(), packed.concat()].concat()
}
