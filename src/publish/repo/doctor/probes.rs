//! What every place must do.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Check, Point, Scratch};
use crate::publish::repo::place::{Place, PlaceError, Stored};
use crate::types::ByteLimit;

const SMALL: ByteLimit = ByteLimit::kib(64);
/// More than one part of an upload.
const LARGE: u64 = (16 << 20) + (1 << 20) + 7;
/// A store that is seldom late is late as well.
const ROUNDS: usize = 4;
/// How long it is looked how late a listing is.
const PATIENCE: Duration = Duration::from_secs(10);
/// Two clocks of this world.
const CLOSE: Duration = Duration::from_mins(2);
/// Beyond it, stores refuse what was signed by this host's clock.
const FAR: Duration = Duration::from_mins(15);

const CHANGING: &str = "use a store that shows each object as it was written last; a cache in between must be bypassed";
const LISTING: &str =
    "two runs at once would not see each other's claims: use a store whose listings show every object at once";

pub(super) fn examine(scratch: &mut Scratch<'_>, progress: &mut dyn FnMut(u64), note: &mut dyn FnMut(Check)) {
    let place = scratch.place;
    let path = scratch.path("small");
    if let Err(error) = place.write(&path, b"first") {
        // Nothing else can be tried.
        note(Check::refused(Point::Write, &error));
        return;
    }
    note(Check::ok(Point::Write, "a file can be written"));
    note(reads(place, Point::Read, &path, b"first", "a file is there as soon as it was written"));
    note(match place.write(&path, b"second") {
        Ok(()) => reads(place, Point::Overwrite, &path, b"second", "a file that is written anew is read anew"),
        Err(error) => Check::refused(Point::Overwrite, &error),
    });
    note(lists(scratch).unwrap_or_else(|error| Check::refused(Point::List, &error)));
    note(lists_no_more(scratch).unwrap_or_else(|error| Check::refused(Point::ListRemoved, &error)));
    note(match place.remove(&scratch.path("never-written")) {
        Ok(()) => Check::ok(Point::RemoveMissing, "to remove what is not there is no error"),
        Err(error) => Check::refused(Point::RemoveMissing, &error),
    });
    note(clock(scratch).unwrap_or_else(|error| Check::refused(Point::Clock, &error)));
    note(large(scratch, progress).unwrap_or_else(|error| Check::refused(Point::Large, &error)));
    for check in place.examine(scratch) {
        note(check);
    }
}

fn reads(place: &dyn Place, point: Point, path: &str, expected: &[u8], good: &str) -> Check {
    for _ in 0..ROUNDS {
        match place.read(path, SMALL) {
            Ok(Some(bytes)) if bytes == expected => {}
            Ok(Some(_)) => return Check::fail(point, "another content is read than was written just before", CHANGING),
            Ok(None) => return Check::fail(point, "what was written just before is not there", CHANGING),
            Err(error) => return Check::refused(point, &error),
        }
    }
    Check::ok(point, good)
}

fn lists(scratch: &mut Scratch<'_>) -> Result<Check, PlaceError> {
    for round in 0..ROUNDS {
        let name = format!("listed-{round}");
        let path = scratch.path(&name);
        let content = vec![b'.'; round + 1];
        scratch.place.write(&path, &content)?;
        if !names(scratch, &name)? {
            return Ok(Check::fail(Point::List, late(scratch, "a new file is not listed", &name, true)?, LISTING));
        }
        let files = scratch.place.files(scratch.folder())?;
        if !files.iter().any(|file| file.path == path && file.length == content.len() as u64) {
            let found = "a new file is not listed with its length";
            return Ok(Check::fail(Point::List, found, "`repo gc` would not know what it removes: use another store"));
        }
    }
    Ok(Check::ok(Point::List, "a new file is listed at once, which claims depend on"))
}

fn lists_no_more(scratch: &mut Scratch<'_>) -> Result<Check, PlaceError> {
    for round in 0..ROUNDS {
        let name = format!("listed-{round}");
        scratch.place.remove(&scratch.path(&name))?;
        if names(scratch, &name)? {
            let found = late(scratch, "a file that was removed is still listed", &name, false)?;
            return Ok(Check::fail(Point::ListRemoved, found, LISTING));
        }
    }
    Ok(Check::ok(Point::ListRemoved, "a file that was removed is not listed any more"))
}

fn names(scratch: &Scratch<'_>, name: &str) -> Result<bool, PlaceError> {
    Ok(scratch.place.names(scratch.folder())?.iter().any(|listed| listed == name))
}

/// How late the listing is.
fn late(scratch: &Scratch<'_>, what: &str, name: &str, should: bool) -> Result<String, PlaceError> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(250));
        if names(scratch, name)? == should {
            return Ok(format!("{what} at once, but {:.1} s late", start.elapsed().as_secs_f64()));
        }
    }
    Ok(format!("{what}, not within {} s", PATIENCE.as_secs()))
}

fn clock(scratch: &mut Scratch<'_>) -> Result<Check, PlaceError> {
    let path = scratch.path("clock");
    scratch.place.write(&path, b"clock")?;
    let ours = Timestamp::now();
    let files = scratch.place.files(scratch.folder())?;
    let Some(Stored { modified, .. }) = files.into_iter().find(|file| file.path == path) else {
        return Ok(Check::fail(Point::Clock, "a new file is not listed", LISTING));
    };
    let apart = modified.duration_since(ours).unsigned_abs();
    let remedy =
        "have both clocks set (NTP): expiry is written by this host's, and the age of files is told by the other";
    if apart <= CLOSE {
        return Ok(Check::ok(Point::Clock, "its clock and this host's agree"));
    }
    let found = format!("its clock says {modified}, and this host's {ours:.0}");
    Ok(if apart <= FAR { Check::warn(Point::Clock, found, remedy) } else { Check::fail(Point::Clock, found, remedy) })
}

fn large(scratch: &mut Scratch<'_>, progress: &mut dyn FnMut(u64)) -> Result<Check, PlaceError> {
    let path = scratch.path("large");
    let mut sent = Noise { state: 0x9E37_79B9_7F4A_7C15, hash: Sha256::new(), progress };
    scratch.place.write_from(&path, &mut sent, LARGE)?;
    let mut read = Sink(Sha256::new());
    let is_there = scratch.place.copy(&path, ByteLimit::bytes(LARGE), &mut read)?;
    if is_there && read.0.finalize() == sent.hash.finalize() {
        return Ok(Check::ok(Point::Large, format!("a file of {LARGE} bytes comes back as it was sent")));
    }
    Ok(Check::fail(Point::Large, "a large file comes back otherwise than it was sent", CHANGING))
}

/// Bytes that no store can guess or compress.
struct Noise<'a> {
    state: u64,
    hash: Sha256,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for Noise<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        for byte in into.iter_mut() {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            *byte = self.state.to_le_bytes()[0];
        }
        self.hash.update(&*into);
        (self.progress)(into.len() as u64);
        Ok(into.len())
    }
}

struct Sink(Sha256);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
