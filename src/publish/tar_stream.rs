use std::io::{self, Read};

use crate::types::Product;

/// The tar of a release, as it is read: one regular file named after the product, mode 0755, owned by
/// nobody in particular, of no particular time. So the same binary always makes the same bytes.
#[derive(Debug)]
pub(super) struct TarStream<R> {
    head: io::Cursor<Vec<u8>>,
    body: R,
    body_left: u64,
    tail: io::Cursor<Vec<u8>>,
    length: u64,
}

const BLOCK: u64 = 512;

impl<R: Read> TarStream<R> {
    /// The tar of the `length` bytes that `body` will give.
    pub(super) fn new(product: &Product, body: R, length: u64) -> io::Result<Self> {
        let mut header = tar::Header::new_ustar();
        header.set_path(product.as_str())?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(length);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        // The last block is filled up, and two empty ones end the archive.
        let tail = length.next_multiple_of(BLOCK) - length + 2 * BLOCK;
        Ok(Self {
            head: io::Cursor::new(header.as_bytes().to_vec()),
            body,
            body_left: length,
            tail: io::Cursor::new(vec![0; usize::try_from(tail).expect("less than three blocks")]),
            length: BLOCK + length + tail,
        })
    }

    /// Length of the whole tar.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

impl<R: Read> Read for TarStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.head.read(buffer)?;
        if n > 0 || buffer.is_empty() {
            return Ok(n);
        }
        if self.body_left == 0 {
            return self.tail.read(buffer);
        }
        let n = Read::by_ref(&mut self.body).take(self.body_left).read(buffer)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.body_left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_tar_reader_finds_exactly_the_binary(body in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let product: Product = "exuvia".parse().unwrap();
            let mut stream = TarStream::new(&product, body.as_slice(), body.len() as u64).unwrap();
            let mut bytes = Vec::new();
            let stated = stream.length();
            stream.read_to_end(&mut bytes).unwrap();
            prop_assert_eq!(bytes.len() as u64, stated);
            prop_assert_eq!(bytes.len() % 512, 0);
            let mut archive = tar::Archive::new(bytes.as_slice());
            let mut entries = archive.entries().unwrap();
            let mut entry = entries.next().unwrap().unwrap();
            prop_assert_eq!(entry.path_bytes().into_owned(), b"exuvia");
            prop_assert_eq!(entry.header().mode().unwrap(), 0o755);
            let mut again = Vec::new();
            entry.read_to_end(&mut again).unwrap();
            prop_assert_eq!(again, body);
            prop_assert!(entries.next().is_none());
        }
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let product: Product = "exuvia".parse().unwrap();
        let mut stream = TarStream::new(&product, &b"short"[..], 6).unwrap();
        let error = io::copy(&mut stream, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
