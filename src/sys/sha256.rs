use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::types::Sha256Digest;

const PIECE: usize = 256 * 1024;

/// SHA-256 (FIPS 180-4) of all that `from` yields, in constant memory.
pub fn sha256(mut from: impl Read) -> io::Result<Sha256Digest> {
    let (mut state, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(Sha256Digest::from_bytes(state.finalize().into())),
            Ok(read) => state.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
