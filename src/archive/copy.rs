use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use super::error::ArchiveError;
use super::signed::{VerifiedArchive, context};
use crate::crypto::{PublicKey, Release, Signature};
use crate::sys::{CheckedFile, Dir, FromStart};
use crate::types::{Packing, ReleaseId};

/// What somebody says about a file: which release it is, and whose signature shows it.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The release that the archive is said to be.
    pub id: &'a ReleaseId,
    /// How it is said to be packed.
    pub packing: Packing,
    /// The signature that is said to belong to it.
    pub signature: &'a Signature,
    /// The key that is said to have made it. Pinned: the caller took it from its keyring.
    pub key: &'a PublicKey<Release>,
}

/// Bytes copied at a time.
const PIECE: usize = 256 * 1024;

/// Copies an open file to a private file without a name in `staging`, and verifies that copy.
///
/// The copy runs ahead on a second thread; what is hashed is read back from the copy, so whatever
/// happens to the source meanwhile, the verdict is about the bytes that are kept. The copy is as
/// long as the handle was when it was judged, however the source grows.
pub fn verify_copy(source: &CheckedFile, claim: &Claim<'_>, staging: &Dir) -> Result<VerifiedArchive, ArchiveError> {
    let copy = staging.unnamed_file()?;
    let (tell, heard) = mpsc::channel();
    let (copied, mu) = thread::scope(|scope| {
        let copy = &copy;
        // Moved in, so that the end of the copy is the end of what is heard.
        let copying = scope.spawn(move || copy_exactly(source, copy, &tell));
        let mut growing = Growing { copy: FromStart::new(copy, 0), heard };
        let mu = claim.key.mu(&context(claim.id, claim.packing), &mut growing);
        // Ends the copy at its next piece when hashing has failed.
        drop(growing);
        (copying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), mu)
    });
    // The copy's own failure says more than the early end that the hash saw because of it.
    copied?;
    let mu = mu.map_err(ArchiveError::Copy)?;
    if !claim.key.accepts(&mu, claim.signature) {
        return Err(ArchiveError::NotSigned { id: Box::new(claim.id.clone()) });
    }
    Ok(VerifiedArchive::new(copy, source.length, claim))
}

fn copy_exactly(source: &CheckedFile, copy: &File, tell: &Sender<u64>) -> Result<(), ArchiveError> {
    let mut piece = vec![0; PIECE];
    let mut from = (&source.file).take(source.length);
    let mut to = copy;
    let mut found = 0;
    loop {
        match from.read(&mut piece) {
            Ok(0) if found == source.length => return Ok(()),
            Ok(0) => return Err(ArchiveError::Shrank { expected: source.length, found }),
            Ok(read) => {
                to.write_all(&piece[..read]).map_err(ArchiveError::Copy)?;
                found += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ArchiveError::Source(error)),
        }
        if tell.send(found).is_err() {
            // Nobody hashes any more; the reason comes from there.
            return Ok(());
        }
    }
}

/// A file that another thread is still writing, read as far as it has been announced.
struct Growing<'a> {
    copy: FromStart<'a>,
    heard: Receiver<u64>,
}

impl Read for Growing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.copy.read(buffer)? {
                // Announced bytes are used up: wait for more. A writer that is gone is done.
                0 => match self.heard.recv() {
                    Ok(end) => self.copy.extend_to(end),
                    Err(_) => return Ok(0),
                },
                read => return Ok(read),
            }
        }
    }
}
