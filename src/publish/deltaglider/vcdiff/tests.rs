//! Deltas that the real xdelta3 made, and what becomes of them when they are changed; deltas that no encoder makes; and
//! any delta that the format allows, from an encoder of the test's own.

use std::fs::File;
use std::io::Write;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::checksum::adler32;
use super::table::{Half, TABLE};
use super::{VcdiffError, decode};

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../../tests/vectors/deltaglider/", $name)).as_slice()
    };
}

const NODE: &[u8] = vector!("tar/reference.bin");
const NODE_1_0_1: &[u8] = vector!("tar/node-1.0.1.tar.delta");
const TAR: &[u8] = vector!("releases/reference.bin");
const TAR_1_1_0: &[u8] = vector!("releases/exuvia-1.1.0.tar.delta");

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// What is made from a reference; it is never more than is stated.
fn made(delta: &[u8], (reference, length): (&File, usize), stated: usize) -> Result<Vec<u8>, VcdiffError> {
    let mut made = Vec::new();
    let outcome = decode(&mut &delta[..], (reference, length as u64), stated as u64, &mut made);
    assert!(made.len() <= stated);
    outcome.map(|()| made)
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[test]
fn what_the_real_encoder_made_is_read() {
    let old = vector!("deltas/old");
    let new = str::from_utf8(vector!("deltas/new.sha256")).unwrap().trim();
    let text = str::from_utf8(vector!("deltas/text.sha256")).unwrap().trim();
    let (reference, length) = (file(old), old.len());
    for (name, delta, expected) in [
        ("one-window", vector!("deltas/one-window.delta"), new),
        ("windows", vector!("deltas/windows.delta"), new),
        ("plain", vector!("deltas/plain.delta"), new),
        ("no-checksum", vector!("deltas/no-checksum.delta"), new),
        ("no-names", vector!("deltas/no-names.delta"), new),
        ("text-windows", vector!("deltas/text-windows.delta"), text),
        ("level-1", vector!("deltas/level-1.delta"), text),
    ] {
        // How long it is, the delta itself says when asked for too much.
        let Err(VcdiffError::Short { made: stated, .. }) = made(delta, (&reference, length), 1 << 20) else {
            panic!("{name}");
        };
        let stated = usize::try_from(stated).unwrap();
        assert_eq!(digest(&made(delta, (&reference, length), stated).unwrap()), expected, "{name}");
        assert!(matches!(made(delta, (&reference, length), stated - 1), Err(VcdiffError::Overlong)), "{name}");
    }
    for delta in [vector!("deltas/djw.delta"), vector!("deltas/fgk.delta")] {
        assert!(matches!(made(delta, (&reference, length), 1 << 20), Err(VcdiffError::Unsupported(_))));
    }
    let recompressed = vector!("recompressed/exuvia-1.5.0.tar.gz.delta");
    assert!(matches!(made(recompressed, (&reference, length), 1 << 20), Err(VcdiffError::Recompressed)));
}

/// Two deltas with sections of LZMA, one of several windows: what they make.
fn real() -> [(&'static [u8], File, usize, Vec<u8>); 2] {
    [(NODE_1_0_1, NODE, 317_440), (TAR_1_1_0, TAR, TAR.len())].map(|(delta, old, length)| {
        let reference = file(old);
        let new = made(delta, (&reference, old.len()), length).unwrap();
        (delta, reference, old.len(), new)
    })
}

#[test]
fn i1_a_delta_that_ends_at_any_byte_makes_nothing() {
    for (delta, reference, length, new) in real() {
        for end in 0..delta.len() {
            assert!(made(&delta[..end], (&reference, length), new.len()).is_err(), "{end}");
        }
        let more = [delta, &[0]].concat();
        assert!(made(&more, (&reference, length), new.len()).is_err());
    }
}

#[test]
fn i1_a_delta_with_any_bit_changed_makes_the_same_or_nothing() {
    for (delta, reference, length, new) in real() {
        for at in 0..delta.len() {
            for bit in 0..8 {
                let mut other = delta.to_vec();
                other[at] ^= 1 << bit;
                if let Ok(made) = made(&other, (&reference, length), new.len()) {
                    // The names of files, say, make no difference.
                    assert!(made == new, "byte {at}, bit {bit}");
                }
            }
        }
    }
}

#[test]
fn i1_a_delta_from_another_reference_makes_nothing() {
    let (delta, _, length, new) = real().into_iter().next().unwrap();
    let other = file(&vec![7; length]);
    assert!(matches!(made(delta, (&other, length), new.len()), Err(VcdiffError::Checksum(0))));
    let shorter = file(&NODE[..1000]);
    assert!(matches!(made(delta, (&shorter, 1000), new.len()), Err(VcdiffError::OutsideReference)));
}

/// A number as the RFC writes it.
fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(value & 0x7f).unwrap()];
    while value > 0x7f {
        value >>= 7;
        bytes.insert(0, u8::try_from(value & 0x7f).unwrap() | 0x80);
    }
    bytes
}

/// The head of a delta with sections of LZMA, and one window without a checksum.
fn delta(source: Option<(u64, u64)>, target: u64, compressed: u8, sections: [&[u8]; 3]) -> Vec<u8> {
    [vec![0xd6, 0xc3, 0xc4, 0, 1, 2], window(source, target, compressed, sections, None)].concat()
}

fn window(source: Option<(u64, u64)>, target: u64, compressed: u8, sections: [&[u8]; 3], sum: Option<u32>) -> Vec<u8> {
    let mut encoding = [number(target), vec![compressed]].concat();
    encoding.extend(sections.iter().flat_map(|section| number(section.len() as u64)));
    encoding.extend(sum.map(|sum| sum.to_be_bytes().to_vec()).unwrap_or_default());
    encoding.extend(sections.concat());
    let mut window = vec![u8::from(source.is_some()) | u8::from(sum.is_some()) << 2];
    if let Some((length, at)) = source {
        window.extend([number(length), number(at)].concat());
    }
    [window, number(encoding.len() as u64), encoding].concat()
}

/// Sections of one kind, in the stream that LZMA2 makes of what does not shrink.
#[derive(Default)]
struct Stored(bool);

impl Stored {
    fn section(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut section = number(plain.len() as u64);
        if !self.0 {
            section.extend(xz_head(12));
        }
        for chunk in plain.chunks(40_000) {
            section.push(if self.0 { 2 } else { 1 });
            self.0 = true;
            section.extend(u16::try_from(chunk.len() - 1).unwrap().to_be_bytes());
            section.extend(chunk);
        }
        section
    }
}

fn xz_head(dictionary: u8) -> Vec<u8> {
    let sum = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    let block = [2, 0, 0x21, 1, dictionary, 0, 0, 0];
    [b"\xfd7zXZ\0\0\0".as_slice(), &sum(&[0, 0]), &block, &sum(&block)].concat()
}

#[test]
fn i1_deltas_that_no_encoder_makes_are_refused_each_for_its_reason() {
    let reference = file(&[b'r'; 100]);
    let run = |delta: &[u8]| made(delta, (&reference, 100), 1000).unwrap_err();
    let one = |source, target, instructions: &[u8], data: &[u8], addresses: &[u8]| {
        run(&delta(source, target, 0, [data, instructions, addresses]))
    };
    let source = Some((100, 0));

    // Bombs: a window, its content, a section, a dictionary, an application header of lengths that nobody needs.
    assert!(matches!(one(None, 1 << 40, &[], b"", &[]), VcdiffError::TooLong { what: "a window's content", .. }));
    let long = [&[0xd6, 0xc3, 0xc4, 0, 0, 0][..], &number(1 << 40)].concat();
    assert!(matches!(run(&long), VcdiffError::TooLong { what: "a window", .. }));
    let long = [&[0xd6, 0xc3, 0xc4, 0, 4][..], &number(1 << 40)].concat();
    assert!(matches!(run(&long), VcdiffError::TooLong { what: "an application header", .. }));
    let bomb = number(1 << 30);
    assert!(matches!(run(&delta(None, 4, 1, [&bomb, &[5], &[]])), VcdiffError::TooLong { what: "a section", .. }));
    let huge = [number(4), xz_head(40)].concat();
    assert!(matches!(run(&delta(None, 4, 1, [&huge, &[5], &[]])), VcdiffError::TooLong { what: "a dictionary", .. }));
    // RUN of 4 GiB in a window of 10 bytes; a window of more than is stated.
    assert!(matches!(one(None, 10, &[&[0][..], &number(1 << 32)].concat(), b"a", &[]), VcdiffError::Overlong));
    assert!(matches!(one(None, 1001, &[&[0][..], &number(1001)].concat(), b"a", &[]), VcdiffError::Overlong));

    // Addresses: outside the reference, of what is not made yet, before the first byte.
    assert!(matches!(one(Some((101, 0)), 4, &[20], b"", &[0]), VcdiffError::OutsideReference));
    assert!(matches!(one(Some((1 << 62, 1 << 62)), 4, &[20], b"", &[0]), VcdiffError::OutsideReference));
    assert!(matches!(one(source, 4, &[20], b"", &[100]), VcdiffError::Address));
    assert!(matches!(one(source, 4, &[20], b"", &number(1 << 50)), VcdiffError::Address));
    assert!(matches!(one(source, 4, &[36], b"", &[101]), VcdiffError::Address));
    assert!(matches!(one(None, 4, &[20], b"", &[0]), VcdiffError::Address));

    // Instructions that make nothing, or go on when there is nothing more; data and addresses that nobody uses.
    assert!(matches!(one(None, 4, &[1, 0], b"", &[]), VcdiffError::Idle));
    assert!(matches!(one(None, 4, &[5], b"abc", &[]), VcdiffError::Truncated));
    assert!(matches!(one(None, 4, &[4], b"abc", &[]), VcdiffError::Lengths));
    assert!(matches!(one(None, 4, &[5], b"abcde", &[]), VcdiffError::Lengths));
    assert!(matches!(one(source, 4, &[20], b"", &[0, 0]), VcdiffError::Lengths));
    assert!(matches!(one(source, 4, &[20], b"", &[]), VcdiffError::Truncated));
    assert!(matches!(
        one(None, 4, &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], b"", &[]),
        VcdiffError::Number
    ));

    // Bits without a meaning, and what only other encoders write.
    for (delta, expected) in [
        (vec![0xd6, 0xc3, 0xc4, b'S', 0], "begin"),
        (vec![0xd6, 0xc3, 0xc4, 0, 2], "code table"),
        (vec![0xd6, 0xc3, 0xc4, 0, 8], "no meaning"),
        (vec![0xd6, 0xc3, 0xc4, 0, 1, 1], "other than LZMA"),
        (vec![0xd6, 0xc3, 0xc4, 0, 0, 2], "windows before it"),
        (vec![0xd6, 0xc3, 0xc4, 0, 0, 8], "no meaning"),
        (delta(None, 4, 8, [b"abcd", &[5], &[]]), "no meaning"),
        ([&[0xd6, 0xc3, 0xc4, 0, 0][..], &window(None, 4, 1, [b"abcd", &[5], &[]], None)].concat(), "no meaning"),
        (delta(None, 4, 1, [&[4; 60], &[5], &[]]), "other filters"),
    ] {
        let said = run(&delta).to_string();
        assert!(said.contains(expected), "{expected:?} is not in {said:?}");
    }

    // Sections that hold more or less than they say.
    let mut stored = Stored::default();
    let section = stored.section(b"abcd");
    let longer = [&number(5)[..], &section[1..]].concat();
    assert!(matches!(run(&delta(None, 5, 1, [&longer, &[6], &[]])), VcdiffError::Truncated));
    let shorter = [&number(3)[..], &section[1..]].concat();
    let refused = run(&delta(None, 3, 1, [&shorter, &[4], &[]]));
    assert!(matches!(refused, VcdiffError::Lengths | VcdiffError::Short { .. }), "{refused}");
    let behind = [&section[..], &[2, 0, 0, b'e']].concat();
    assert!(matches!(run(&delta(None, 4, 1, [&behind, &[5], &[]])), VcdiffError::Lengths));
    let ended = [&number(4)[..], &xz_head(12), &[0]].concat();
    assert!(matches!(run(&delta(None, 4, 1, [&ended, &[5], &[]])), VcdiffError::Lengths));
}

#[test]
fn a_copy_goes_on_from_the_reference_into_what_it_makes_itself() {
    let reference = file(b"0123456789");
    // COPY 12 from 7: three bytes of the reference, and then those again and again.
    let bytes = delta(Some((10, 0)), 12, 0, [b"", &[28], &[7]]);
    assert_eq!(made(&bytes, (&reference, 10), 12).unwrap(), b"789789789789");
}

#[derive(Clone, Debug)]
enum Step {
    Add(Vec<u8>),
    Run(u8, usize),
    /// From what share of what is there, how much, and which mode is tried first.
    Copy(u16, usize, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..40).prop_map(Step::Add),
        (any::<u8>(), 1..300usize).prop_map(|(byte, count)| Step::Run(byte, count)),
        (any::<u16>(), 1..200usize, 0..9u8).prop_map(|(from, count, mode)| Step::Copy(from, count, mode)),
    ];
    proptest::collection::vec(step, 0..40)
}

/// Encodes the steps as a window, in whatever modes fit, and says what they make.
fn encode(steps: &[Step], reference: &[u8]) -> ([Vec<u8>; 3], Vec<u8>) {
    let (mut data, mut instructions, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
    let mut all = reference.to_vec();
    let (mut near, mut next, mut same) = ([0u64; 4], 0, [0u64; 768]);
    let mut code = |half: Half, size: usize| {
        // A code with the size in it, where there is one.
        let short = match half {
            Half::Add(_) => u8::try_from(size).ok().filter(|size| *size <= 17).map(Half::Add),
            Half::Copy(_, mode) => {
                u8::try_from(size).ok().filter(|size| (4..=18).contains(size)).map(|size| Half::Copy(size, mode))
            }
            _ => None,
        };
        let find = |half| TABLE.iter().position(|line| *line == (half, Half::Nothing));
        let found = short.and_then(find).unwrap_or_else(|| find(half).unwrap());
        instructions.push(u8::try_from(found).unwrap());
        if short.and_then(find).is_none() {
            instructions.extend(number(size as u64));
        }
    };
    for step in steps {
        match step {
            Step::Add(bytes) => {
                code(Half::Add(0), bytes.len());
                data.extend(bytes);
                all.extend(bytes);
            }
            Step::Run(byte, count) => {
                code(Half::Run, *count);
                data.push(*byte);
                all.resize(all.len() + count, *byte);
            }
            Step::Copy(from, count, mode) => {
                let from = usize::from(*from) * all.len() / 65_536;
                let address = from as u64;
                let slot = from % 768;
                let (mode, coded) = match mode {
                    1 => (1, number((all.len() - from) as u64)),
                    2..6 if near[usize::from(*mode) - 2] <= address => {
                        (*mode, number(address - near[usize::from(*mode) - 2]))
                    }
                    6.. if same[slot] == address => {
                        (6 + u8::try_from(slot / 256).unwrap(), vec![u8::try_from(slot % 256).unwrap()])
                    }
                    _ => (0, number(address)),
                };
                code(Half::Copy(0, mode), *count);
                addresses.extend(coded);
                near[next] = address;
                next = (next + 1) % 4;
                same[slot] = address;
                for at in from..from + count {
                    all.push(all[at]);
                }
            }
        }
    }
    ([data, instructions, addresses], all.split_off(reference.len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_delta_of_any_windows_makes_what_was_encoded(
        windows in proptest::collection::vec((steps(), 0..8u8, any::<bool>()), 0..6),
        reference in proptest::collection::vec(any::<u8>(), 1..3000),
    ) {
        let mut delta = vec![0xd6, 0xc3, 0xc4, 0, 1, 2];
        let mut streams = <[Stored; 3]>::default();
        let mut expected = Vec::new();
        for (steps, compressed, checked) in &windows {
            let (plain, target) = encode(steps, &reference);
            let mut compressed = *compressed;
            let sections: Vec<_> = (0..3).map(|kind| {
                if plain[kind].is_empty() {
                    compressed &= !(1 << kind);
                }
                if compressed & 1 << kind != 0 { streams[kind].section(&plain[kind]) } else { plain[kind].clone() }
            }).collect();
            let sum = checked.then(|| adler32(&target));
            let sections = [&sections[0][..], &sections[1], &sections[2]];
            delta.extend(window(Some((reference.len() as u64, 0)), target.len() as u64, compressed, sections, sum));
            expected.extend(target);
        }
        let file = file(&reference);
        prop_assert_eq!(made(&delta, (&file, reference.len()), expected.len()).unwrap(), expected);
    }

    #[test]
    fn no_bytes_whatsoever_make_more_than_is_stated(bytes in proptest::collection::vec(any::<u8>(), 0..300), head in 0..3usize) {
        let file = file(b"some bytes to copy from");
        let head: &[u8] = [&[][..], &[0xd6, 0xc3, 0xc4, 0, 0], &[0xd6, 0xc3, 0xc4, 0, 1, 2]][head];
        // `made` looks at the length.
        let _ = made(&[head, &bytes].concat(), (&file, 23), 1000);
    }
}
