use std::io::{self, Read};

use super::error::VcdiffError;

/// What a failed read says: a delta that ends is cut short, and anything else is the disk.
pub(super) fn reading(error: io::Error) -> VcdiffError {
    if error.kind() == io::ErrorKind::UnexpectedEof { VcdiffError::Truncated } else { VcdiffError::Copy(error) }
}

pub(super) fn byte(from: &mut impl Read) -> Result<u8, VcdiffError> {
    let mut byte = [0];
    from.read_exact(&mut byte).map_err(reading)?;
    Ok(byte[0])
}

/// An integer of RFC 3284, section 2: seven bits in each byte, the highest first, the top bit where more follow.
pub(super) fn number(from: &mut impl Read) -> Result<u64, VcdiffError> {
    let mut number: u64 = 0;
    for _ in 0..9 {
        let byte = byte(from)?;
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(VcdiffError::Number)
}

/// A length, judged before it is believed.
pub(super) fn length(from: &mut impl Read, what: &'static str, most: usize) -> Result<usize, VcdiffError> {
    let stated = number(from)?;
    match usize::try_from(stated) {
        Ok(length) if length <= most => Ok(length),
        _ => Err(VcdiffError::TooLong { what, stated, most: most as u64 }),
    }
}

/// The next bytes of a slice.
pub(super) fn split<'a>(from: &mut &'a [u8], length: usize) -> Result<&'a [u8], VcdiffError> {
    let (head, rest) = from.split_at_checked(length).ok_or(VcdiffError::Truncated)?;
    *from = rest;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_rfc_writes_them() {
        // The example of RFC 3284, section 2.
        assert_eq!(number(&mut &[0xba, 0xef, 0x9a, 0x15][..]).unwrap(), 123_456_789);
        assert_eq!(number(&mut &[0x00][..]).unwrap(), 0);
        assert!(matches!(number(&mut &[0xff; 20][..]), Err(VcdiffError::Number)));
        assert!(matches!(number(&mut &[0xff; 3][..]), Err(VcdiffError::Truncated)));
    }
}
