//! What a patch makes and what it cannot be made to do, without signatures: those are in tests/attacks.

use std::io::Read;

use proptest::prelude::*;

use super::error::PatchError;
use super::fuzzing::{apply, patch};
use super::head::{HEAD, Head, Part};
use crate::sys::{Loose, PrivateDir};
use crate::types::ByteLimit;

struct Staging {
    dir: PrivateDir,
    _root: tempfile::TempDir,
}

fn staging() -> Staging {
    let root = tempfile::tempdir().unwrap();
    let dir = PrivateDir::open_or_create(root.path().join("staging"), Loose::RefuseWritable).unwrap();
    Staging { dir, _root: root }
}

impl Staging {
    fn apply(&self, patch: &[u8], base: &[u8], limit: u64) -> Result<Vec<u8>, PatchError> {
        let made = apply(patch, base, &self.dir, ByteLimit::bytes(limit));
        assert_eq!(self.dir.names().unwrap(), Vec::<String>::new(), "something was left behind");
        let mut bytes = Vec::new();
        let file = made?;
        let mut from = crate::sys::FromStart::new(&file, file.metadata().unwrap().len());
        from.read_to_end(&mut bytes).unwrap();
        Ok(bytes)
    }
}

/// Instructions as their numbers: leap, add, copy.
fn numbers(instructions: &[(i64, u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut number = |mut number: u64| {
        while number >= 0x80 {
            bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        bytes.push(u8::try_from(number).unwrap());
    };
    for &(leap, add, copy) in instructions {
        number(((leap << 1) ^ (leap >> 63)).cast_unsigned());
        number(add);
        number(copy);
    }
    bytes
}

const BASE: &[u8] = b"0123456789";

fn refusal(instructions: &[(i64, u64, u64)], result: u64, differences: &[u8], literals: &[u8]) -> PatchError {
    let patch = patch(BASE.len() as u64, result, [&numbers(instructions), differences, literals]);
    staging().apply(&patch, BASE, 1000).unwrap_err()
}

#[test]
fn instructions_add_to_the_base_take_literals_and_leap() {
    let patch = patch(10, 7, [&numbers(&[(0, 2, 1), (5, 3, 0), (-10, 1, 0)]), &[0, 1, 0, 0, 255, 2], b"!"]);
    assert_eq!(staging().apply(&patch, BASE, 7).unwrap(), b"02!7882");
}

#[test]
fn an_instruction_that_leaves_the_base_makes_too_much_or_nothing_is_refused() {
    assert!(matches!(refusal(&[(0, 11, 0)], 11, &[0; 11], b""), PatchError::OutsideBase));
    assert!(matches!(refusal(&[(-1, 1, 0)], 1, &[0], b""), PatchError::OutsideBase));
    assert!(matches!(refusal(&[(11, 0, 1)], 1, b"", b"x"), PatchError::OutsideBase));
    assert!(matches!(refusal(&[(i64::MAX, 0, 1), (i64::MAX, 0, 1)], 2, b"", b"xx"), PatchError::OutsideBase));
    assert!(matches!(refusal(&[(i64::MIN, 0, 1)], 1, b"", b"x"), PatchError::OutsideBase));
    assert!(matches!(refusal(&[(0, u64::MAX, 0)], 1, &[0], b""), PatchError::Overlong));
    assert!(matches!(refusal(&[(0, 0, u64::MAX)], 1, b"", b"x"), PatchError::Overlong));
    assert!(matches!(refusal(&[(0, 1, 1)], 1, &[0], b""), PatchError::Overlong));
    assert!(matches!(refusal(&[(0, 0, 0), (0, 1, 0)], 1, &[0], b""), PatchError::Idle));
}

#[test]
fn streams_that_end_early_or_go_on_are_refused() {
    assert!(matches!(refusal(&[(0, 1, 0)], 2, &[0, 0], b""), PatchError::Truncated));
    assert!(matches!(refusal(&[(0, 2, 0)], 2, &[0], b"x"), PatchError::Truncated));
    assert!(matches!(refusal(&[(0, 0, 2)], 2, &[0], b"x"), PatchError::Truncated));
    assert!(matches!(refusal(&[(0, 1, 0), (0, 1, 0)], 1, &[0], b""), PatchError::DataAfter));
    assert!(matches!(refusal(&[], 1, &[0], b""), PatchError::Truncated));
    let mut endless = vec![0x80; 30];
    let whole = patch(10, 1, [&endless, &[0], b""]);
    assert!(matches!(staging().apply(&whole, BASE, 9), Err(PatchError::Number)));
    endless[1] = 0;
    let whole = patch(10, 1, [&endless, &[0], b""]);
    assert!(matches!(staging().apply(&whole, BASE, 9), Err(PatchError::Number)), "0 in two bytes");
}

#[test]
fn the_head_is_held_against_what_there_is_before_anything_is_decompressed() {
    let good = patch(10, 2, [&numbers(&[(0, 1, 1)]), &[0], b"x"]);
    let with = |change: &dyn Fn(&mut Head)| {
        let mut head = Head::parse(good[..HEAD].try_into().unwrap()).unwrap();
        change(&mut head);
        let patch = [&head.to_bytes()[..], &good[HEAD..]].concat();
        staging().apply(&patch, BASE, 1 << 40).unwrap_err()
    };
    assert!(matches!(with(&|head| head.base = 9), PatchError::WrongBase { stated: 9, found: 10 }));
    assert!(matches!(with(&|head| head.result = 0), PatchError::Result { .. }));
    assert!(matches!(with(&|head| head.result = u64::MAX), PatchError::Result { .. }));
    assert!(matches!(with(&|head| head.result = 3), PatchError::Lengths));
    assert!(matches!(with(&|head| head.literals.plain = u64::MAX), PatchError::Lengths));
    assert!(matches!(with(&|head| head.numbers.plain = 1 << 40), PatchError::Lengths));
    assert!(matches!(with(&|head| head.literals.packed += 1), PatchError::Truncated));
    assert!(matches!(with(&|head| head.numbers.packed = u64::MAX), PatchError::Truncated));
    assert!(matches!(with(&|head| head.literals.packed -= 1), PatchError::DataAfter));
    let too_long = staging().apply(&good, BASE, 1).unwrap_err();
    assert!(matches!(too_long, PatchError::Result { length: 2, limit: 1 }));
    for cut in [0, 15, HEAD - 1] {
        assert!(matches!(staging().apply(&good[..cut], BASE, 9), Err(PatchError::Truncated)));
    }
    assert!(matches!(staging().apply(&[b'x'; 200], BASE, 9), Err(PatchError::NotAPatch)));
}

/// A stream that decompresses to more than its head states is read as far as that, and no further.
#[test]
fn a_bomb_is_decompressed_no_further_than_its_head_states() {
    let bomb = zstd::encode_all(vec![0; 64 << 20].as_slice(), 1).unwrap();
    let small = |plain: &[u8]| zstd::encode_all(plain, 1).unwrap();
    let (numbers, literals) = (numbers(&[(0, 2, 0)]), small(b""));
    let packed = small(&numbers);
    let part = |packed: &[u8], plain: u64| Part { packed: packed.len() as u64, plain };
    let head = Head {
        base: 10,
        result: 2,
        numbers: part(&packed, numbers.len() as u64),
        differences: part(&bomb, 2),
        literals: part(&literals, 0),
    };
    let patch = [head.to_bytes().to_vec(), packed, bomb, literals].concat();
    assert!(matches!(staging().apply(&patch, BASE, 1 << 30), Err(PatchError::DataAfter)));
}

#[test]
fn a_frame_that_asks_for_a_large_window_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.set_parameter(zstd::stream::raw::CParameter::WindowLog(23)).unwrap();
    std::io::Write::write_all(&mut encoder, &vec![1; 9 << 20]).unwrap();
    let wide = encoder.finish().unwrap();
    let (plain, none) = (9 << 20, zstd::encode_all(&b""[..], 1).unwrap());
    let numbers = numbers(&[(0, 0, plain)]);
    let packed = zstd::encode_all(numbers.as_slice(), 1).unwrap();
    let part = |packed: &[u8], plain: u64| Part { packed: packed.len() as u64, plain };
    let head = Head {
        base: 10,
        result: plain,
        numbers: part(&packed, numbers.len() as u64),
        differences: part(&none, 0),
        literals: part(&wide, plain),
    };
    let patch = [head.to_bytes().to_vec(), packed, none, wide].concat();
    assert!(matches!(staging().apply(&patch, BASE, 1 << 30), Err(PatchError::Compression(_))));
}

/// Two texts that have much in common, in another order.
#[cfg(feature = "tools")]
fn pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let piece = || prop::collection::vec(any::<u8>(), 1..200);
    (
        prop::collection::vec(piece(), 1..12),
        prop::collection::vec((any::<prop::sample::Index>(), piece(), 0..4u8), 1..12),
    )
        .prop_map(|(pieces, plan)| {
            let base = pieces.concat();
            let result = plan.into_iter().flat_map(|(index, fresh, kind)| {
                let mut known = index.get(&pieces).clone();
                match kind {
                    0 => known = fresh,
                    1 => known[0] ^= 1,
                    2 => known.extend(fresh),
                    _ => {}
                }
                known
            });
            let result = result.collect();
            (base, result)
        })
}

#[cfg(feature = "tools")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_patch_makes_exactly_what_it_was_made_for((base, result) in pair()) {
        let patch = super::make(&base, &result, 3).unwrap();
        prop_assert_eq!(staging().apply(&patch, &base, result.len() as u64).unwrap(), result);
    }

    #[test]
    fn a_mutated_patch_never_panics_and_never_makes_more_than_allowed(
        (base, result) in pair(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut patch = super::make(&base, &result, 1).unwrap();
        for (at, byte) in edits {
            let at = at.index(patch.len());
            patch[at] = byte;
        }
        let limit = result.len() as u64 + 100;
        for patch in [&patch[..], &patch[..cut.index(patch.len())]] {
            if let Ok(made) = staging().apply(patch, &base, limit) {
                prop_assert!(made.len() as u64 <= limit);
            }
        }
    }

    #[test]
    fn random_streams_never_panic_and_never_make_more_than_allowed(
        numbers in prop::collection::vec(any::<u8>(), 0..60),
        differences in prop::collection::vec(any::<u8>(), 0..40),
        literals in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let result = (differences.len() + literals.len()) as u64;
        let patch = patch(10, result, [&numbers, &differences, &literals]);
        if let Ok(made) = staging().apply(&patch, BASE, 80) {
            prop_assert_eq!(made.len() as u64, result);
        }
    }
}

#[cfg(feature = "tools")]
#[test]
fn a_tar_of_no_bytes_is_not_patched() {
    assert!(matches!(super::make(b"", b"x", 1), Err(super::MakeError::Length(0))));
    assert!(matches!(super::make(b"x", b"", 1), Err(super::MakeError::Length(0))));
}
