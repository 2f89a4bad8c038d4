use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::MemfdFlags;

use super::from_start::FromStart;
use crate::types::ByteLimit;

/// A file in memory, without a name, that holds these bytes: to pass on by descriptor what is too long
/// for a message. It needs no room on a disk.
pub fn hand(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create("handed", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// Reads what [`hand`] wrote in another process. Several may read the same descriptor.
pub fn take_handed(fd: OwnedFd, limit: ByteLimit) -> io::Result<Vec<u8>> {
    let file = File::from(fd);
    let length = file.metadata()?.len();
    if length > limit.get() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes are more than {limit}")));
    }
    let mut bytes = Vec::new();
    FromStart::new(&file, length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_arrives_whole_and_as_often_as_it_is_read() {
        let handed = hand(b"settings").unwrap();
        for _ in 0..2 {
            assert_eq!(take_handed(handed.try_clone().unwrap(), ByteLimit::kib(1)).unwrap(), b"settings");
        }
        assert_eq!(take_handed(handed, ByteLimit::bytes(7)).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
