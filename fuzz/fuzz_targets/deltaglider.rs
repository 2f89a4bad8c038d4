//! What DeltaGlider kept. The first byte says whether the rest is a delta as it is, one window's data, instructions and
//! addresses under a head that fits, or an object's metadata.
#![no_main]

use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;

use exuvia::publish::deltaglider::VcdiffError;
use exuvia::publish::deltaglider::fuzzing;
use libfuzzer_sys::fuzz_target;

const REFERENCE: u64 = 40_000;
const STATED: u64 = 64 << 10;

fn reference() -> &'static File {
    static REFERENCE: OnceLock<File> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let bytes: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("it can be written");
        file
    })
}

/// A number as the format writes it.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = vec![(value & 0x7f) as u8];
    while value > 0x7f {
        value >>= 7;
        bytes.insert(0, (value & 0x7f) as u8 | 0x80);
    }
    bytes
}

/// Without a checksum: chance never finds a right one.
fn window(target: usize, sections: [&[u8]; 3]) -> Vec<u8> {
    let mut encoding = [number(target), vec![0]].concat();
    encoding.extend(sections.iter().flat_map(|section| number(section.len())));
    encoding.extend(sections.concat());
    let head = [vec![0xd6, 0xc3, 0xc4, 0, 0, 1], number(REFERENCE as usize), number(0)].concat();
    [head, number(encoding.len()), encoding].concat()
}

fuzz_target!(|bytes: &[u8]| {
    let Some((mode, rest)) = bytes.split_first() else { return };
    let (delta, stated) = match mode % 3 {
        0 => (rest.to_vec(), STATED),
        1 => {
            // Four more bytes say how much is made, and where the sections are cut.
            let [high, low, first, second, rest @ ..] = rest else { return };
            let cut = |at: u8, of: &[u8]| usize::from(at) * of.len() / 256;
            let (data, rest) = rest.split_at(cut(*first, rest));
            let (instructions, addresses) = rest.split_at(cut(*second, rest));
            let target = usize::from(u16::from_be_bytes([*high, *low]));
            (window(target, [data, instructions, addresses]), target as u64)
        }
        _ => return fuzzing::metadata(rest, "node-1.0.0.tar.delta"),
    };
    match fuzzing::delta(&delta, (reference(), REFERENCE), stated) {
        // How long a whole delta's content is, it says itself.
        Err(VcdiffError::Short { made, .. }) => {
            fuzzing::delta(&delta, (reference(), REFERENCE), made).expect("this much it makes");
        }
        Err(error) => assert!(!matches!(error, VcdiffError::Copy(_)) && !error.to_string().is_empty()),
        Ok(_) => {}
    }
});
