//! SHAKE256 (FIPS 202, section 6.2), for one long message and 64 bytes of output.
//!
//! Hashing is what a verification costs. Whole blocks are absorbed straight from the caller's bytes,
//! by the fastest way to permute that this processor has.

use super::keccak::{self, Absorb, RATE, State};

/// What SHAKE256 keeps between two pieces of a message.
pub(super) struct Shake256 {
    state: State,
    absorb: Absorb,
    /// The beginning of the next block.
    started: [u8; RATE],
    length: usize,
}

impl Shake256 {
    pub(super) fn new() -> Self {
        Self::by(keccak::fastest())
    }

    fn by(absorb: Absorb) -> Self {
        Self { state: [0; 25], absorb, started: [0; RATE], length: 0 }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        if self.length > 0 {
            let (first, rest) = bytes.split_at(bytes.len().min(RATE - self.length));
            self.start(first);
            if self.length < RATE {
                return;
            }
            (self.absorb)(&mut self.state, &[self.started]);
            self.length = 0;
            bytes = rest;
        }
        let (blocks, rest) = bytes.as_chunks();
        (self.absorb)(&mut self.state, blocks);
        self.start(rest);
    }

    fn start(&mut self, bytes: &[u8]) {
        self.started[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// The first 64 bytes of the output.
    pub(super) fn finish(mut self) -> [u8; 64] {
        // The suffix 1111 that sets SHAKE apart, and the padding 10*1.
        self.started[self.length..].fill(0);
        self.started[self.length] = 0x1f;
        self.started[RATE - 1] |= 0x80;
        (self.absorb)(&mut self.state, &[self.started]);
        let mut output = [0; 64];
        for (to, lane) in output.as_chunks_mut().0.iter_mut().zip(self.state) {
            *to = lane.to_le_bytes();
        }
        output
    }
}

/// SHAKE256 of the parts' concatenation, 64 bytes of it.
pub(super) fn shake256(parts: &[&[u8]]) -> [u8; 64] {
    let mut shake = Shake256::new();
    for part in parts {
        shake.update(part);
    }
    shake.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shake::{ExtendableOutput, Update, XofReader};

    use super::*;

    /// Every way to absorb. On a processor without AVX-512 or BMI, theirs are the next best.
    fn ways() -> Vec<(&'static str, Absorb)> {
        vec![
            ("fastest", keccak::fastest()),
            ("portable", keccak::portable),
            #[cfg(target_arch = "x86_64")]
            ("bmi", keccak::x86::with_bmi),
            #[cfg(target_arch = "x86_64")]
            ("avx512", keccak::x86::with_avx512),
        ]
    }

    fn ours(absorb: Absorb, parts: &[&[u8]]) -> [u8; 64] {
        let mut shake = Shake256::by(absorb);
        for part in parts {
            shake.update(part);
        }
        shake.finish()
    }

    fn reference(message: &[u8]) -> [u8; 64] {
        let mut shake = shake::Shake256::default();
        shake.update(message);
        let mut output = [0; 64];
        shake.finalize_xof().read(&mut output);
        output
    }

    // NIST's examples for messages of 0 and 1600 bits, and OpenSSL's answer for "abc".
    #[test]
    fn published_answers_are_found_by_every_way() {
        let known: [(&[u8], &str); 3] = [
            (
                b"",
                "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f\
                 d75dc4ddd8c0f200cb05019d67b592f6fc821c49479ab48640292eacb3b7c4be",
            ),
            (
                b"abc",
                "483366601360a8771c6863080cc4114d8db44530f8f1e1ee4f94ea37e78b5739\
                 d5a15bef186a5386c75744c0527e1faa9f8726e462a12a4feb06bd8801e751e4",
            ),
            (
                &[0xa3; 200],
                "cd8a920ed141aa0407a22d59288652e9d9f1a7ee0c1e7c1ca699424da84a904d\
                 2d700caae7396ece96604440577da4f3aa22aeb8857f961c4cd8e06f0ae6610b",
            ),
        ];
        for (message, output) in known {
            for (name, absorb) in ways() {
                assert_eq!(hex::encode(ours(absorb, &[message])), output, "{name}");
            }
        }
    }

    #[test]
    fn every_length_around_the_block_s_agrees() {
        let message: Vec<u8> = (0..=255).cycle().take(600).collect();
        for length in 0..message.len() {
            let message = &message[..length];
            for (name, absorb) in ways() {
                assert_eq!(ours(absorb, &[message]), reference(message), "{length} bytes, {name}");
            }
        }
    }

    #[test]
    fn every_split_around_the_block_s_length_agrees() {
        let message: Vec<u8> = (0..=255).cycle().take(545).collect();
        let expected = reference(&message);
        let places = [0, 1, 134, 135, 136, 137, 271, 272, 273, 407, 408, 409, 544, 545];
        for first in places {
            for second in places.into_iter().filter(|second| *second >= first) {
                let parts = [&message[..first], &message[first..second], &message[second..]];
                for (name, absorb) in ways() {
                    assert_eq!(ours(absorb, &parts), expected, "split at {first} and {second}, {name}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_message_in_any_pieces_agrees(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 0..6),
        ) {
            let parts: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let expected = reference(&pieces.concat());
            for (name, absorb) in ways() {
                prop_assert_eq!(ours(absorb, &parts), expected, "{}", name);
            }
        }
    }
}
