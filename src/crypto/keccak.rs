//! Absorbing into Keccak-f[1600] (FIPS 202, section 3.3) at SHAKE256's rate.
//!
//! All ways compute the same, and tests hold them against each other. A processor with AVX-512 has
//! registers for all 25 lanes, rotates them, and joins three in one instruction: half as fast again.
//! BMI brings and-not and rotations into another register: a fifth faster.

/// Bytes absorbed before each permutation: 1600 bits without SHAKE256's capacity of 512.
pub(super) const RATE: usize = 136;

/// Lane (x, y) is number 5y + x.
pub(super) type State = [u64; 25];

/// Adds blocks to the state, permuting after each.
pub(super) type Absorb = fn(&mut State, &[[u8; RATE]]);

/// The fastest way that this processor has.
pub(super) fn fastest() -> Absorb {
    #[cfg(target_arch = "x86_64")]
    {
        let level = fearless_simd::Level::new();
        if level.as_avx512().is_some() {
            return x86::with_avx512;
        }
        if level.as_avx2().is_some() {
            return x86::with_bmi;
        }
    }
    portable
}

/// Iota's constants (FIPS 202, algorithm 5).
const ROUNDS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

// A macro, because a function generic over lanes could not use AVX-512 without unsafe code. 25
// variables, because an array of lanes would live in memory.
macro_rules! absorb {
    ($lane:ident, $state:expr, $blocks:expr) => {{
        use $lane::{chi, from, rotate, xor, xor3};
        let [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, ..] = *$state;
        let [.., a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, a24] = *$state;
        let [mut a0, mut a1, mut a2, mut a3, mut a4] = [from(a0), from(a1), from(a2), from(a3), from(a4)];
        let [mut a5, mut a6, mut a7, mut a8, mut a9] = [from(a5), from(a6), from(a7), from(a8), from(a9)];
        let [mut a10, mut a11, mut a12, mut a13, mut a14] = [from(a10), from(a11), from(a12), from(a13), from(a14)];
        let [mut a15, mut a16, mut a17, mut a18, mut a19] = [from(a15), from(a16), from(a17), from(a18), from(a19)];
        let [mut a20, mut a21, mut a22, mut a23, mut a24] = [from(a20), from(a21), from(a22), from(a23), from(a24)];
        for block in $blocks {
            let (words, _) = block.as_chunks();
            let word = |number: usize| u64::from_le_bytes(words[number]);
            [a0, a1, a2] = [xor(a0, from(word(0))), xor(a1, from(word(1))), xor(a2, from(word(2)))];
            [a3, a4, a5] = [xor(a3, from(word(3))), xor(a4, from(word(4))), xor(a5, from(word(5)))];
            [a6, a7, a8] = [xor(a6, from(word(6))), xor(a7, from(word(7))), xor(a8, from(word(8)))];
            [a9, a10, a11] = [xor(a9, from(word(9))), xor(a10, from(word(10))), xor(a11, from(word(11)))];
            [a12, a13, a14] = [xor(a12, from(word(12))), xor(a13, from(word(13))), xor(a14, from(word(14)))];
            [a15, a16] = [xor(a15, from(word(15))), xor(a16, from(word(16)))];
            for round in ROUNDS {
                // Theta: each lane takes up the parities of two columns, c of one and r, rotated, of another.
                let c0 = xor3(xor3(a0, a5, a10), a15, a20);
                let c1 = xor3(xor3(a1, a6, a11), a16, a21);
                let c2 = xor3(xor3(a2, a7, a12), a17, a22);
                let c3 = xor3(xor3(a3, a8, a13), a18, a23);
                let c4 = xor3(xor3(a4, a9, a14), a19, a24);
                let (r0, r1, r2) = (rotate::<1>(c0), rotate::<1>(c1), rotate::<1>(c2));
                let (r3, r4) = (rotate::<1>(c3), rotate::<1>(c4));
                // Rho rotates, pi moves; then chi, row by row. Iota changes lane 0 alone.
                let b0 = xor3(a0, c4, r1);
                let b1 = rotate::<44>(xor3(a6, c0, r2));
                let b2 = rotate::<43>(xor3(a12, c1, r3));
                let b3 = rotate::<21>(xor3(a18, c2, r4));
                let b4 = rotate::<14>(xor3(a24, c3, r0));
                let d0 = rotate::<28>(xor3(a3, c2, r4));
                let d1 = rotate::<20>(xor3(a9, c3, r0));
                let d2 = rotate::<3>(xor3(a10, c4, r1));
                let d3 = rotate::<45>(xor3(a16, c0, r2));
                let d4 = rotate::<61>(xor3(a22, c1, r3));
                let e0 = rotate::<1>(xor3(a1, c0, r2));
                let e1 = rotate::<6>(xor3(a7, c1, r3));
                let e2 = rotate::<25>(xor3(a13, c2, r4));
                let e3 = rotate::<8>(xor3(a19, c3, r0));
                let e4 = rotate::<18>(xor3(a20, c4, r1));
                let f0 = rotate::<27>(xor3(a4, c3, r0));
                let f1 = rotate::<36>(xor3(a5, c4, r1));
                let f2 = rotate::<10>(xor3(a11, c0, r2));
                let f3 = rotate::<15>(xor3(a17, c1, r3));
                let f4 = rotate::<56>(xor3(a23, c2, r4));
                let g0 = rotate::<62>(xor3(a2, c1, r3));
                let g1 = rotate::<55>(xor3(a8, c2, r4));
                let g2 = rotate::<39>(xor3(a14, c3, r0));
                let g3 = rotate::<41>(xor3(a15, c4, r1));
                let g4 = rotate::<2>(xor3(a21, c0, r2));
                (a0, a1, a2) = (xor(chi(b0, b1, b2), from(round)), chi(b1, b2, b3), chi(b2, b3, b4));
                (a3, a4) = (chi(b3, b4, b0), chi(b4, b0, b1));
                (a5, a6, a7, a8, a9) =
                    (chi(d0, d1, d2), chi(d1, d2, d3), chi(d2, d3, d4), chi(d3, d4, d0), chi(d4, d0, d1));
                (a10, a11, a12, a13, a14) =
                    (chi(e0, e1, e2), chi(e1, e2, e3), chi(e2, e3, e4), chi(e3, e4, e0), chi(e4, e0, e1));
                (a15, a16, a17, a18, a19) =
                    (chi(f0, f1, f2), chi(f1, f2, f3), chi(f2, f3, f4), chi(f3, f4, f0), chi(f4, f0, f1));
                (a20, a21, a22, a23, a24) =
                    (chi(g0, g1, g2), chi(g1, g2, g3), chi(g2, g3, g4), chi(g3, g4, g0), chi(g4, g0, g1));
            }
        }
        let lanes = [
            a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22,
            a23, a24,
        ];
        for (to, lane) in $state.iter_mut().zip(lanes) {
            *to = $lane::into(lane);
        }
    }};
}

/// On any processor.
pub(super) fn portable(state: &mut State, blocks: &[[u8; RATE]]) {
    word(state, blocks);
}

// Inlined into its callers, to be compiled for the instructions that each may use.
#[inline(always)]
fn word(state: &mut State, blocks: &[[u8; RATE]]) {
    absorb!(words, state, blocks);
}

/// A lane in a general register.
#[allow(clippy::inline_always, reason = "compiled for the instructions that the caller may use")]
mod words {
    #[inline(always)]
    pub(super) fn from(word: u64) -> u64 {
        word
    }

    #[inline(always)]
    pub(super) fn into(lane: u64) -> u64 {
        lane
    }

    #[inline(always)]
    pub(super) fn xor(a: u64, b: u64) -> u64 {
        a ^ b
    }

    #[inline(always)]
    pub(super) fn xor3(a: u64, b: u64, c: u64) -> u64 {
        a ^ b ^ c
    }

    #[inline(always)]
    pub(super) fn rotate<const BITS: u32>(a: u64) -> u64 {
        a.rotate_left(BITS)
    }

    #[inline(always)]
    pub(super) fn chi(a: u64, b: u64, c: u64) -> u64 {
        a ^ (!b & c)
    }
}

/// Instructions that not every processor of this architecture has.
#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use fearless_simd::{Level, Simd};

    use super::{RATE, ROUNDS, State};

    /// With BMI, or portably.
    pub(in crate::crypto) fn with_bmi(state: &mut State, blocks: &[[u8; RATE]]) {
        match Level::new().as_avx2() {
            Some(level) => level.vectorize(
                #[inline(always)]
                || super::word(state, blocks),
            ),
            None => super::portable(state, blocks),
        }
    }

    /// With AVX-512, or as well as it goes.
    pub(in crate::crypto) fn with_avx512(state: &mut State, blocks: &[[u8; RATE]]) {
        match Level::new().as_avx512() {
            Some(level) => absorb_avx512(level, state, blocks),
            None => with_bmi(state, blocks),
        }
    }

    fearless_simd::kernel!(
        fn absorb_avx512(level: Avx512, state: &mut State, blocks: &[[u8; RATE]]) {
            absorb!(vectors, state, blocks);
        }
    );

    /// A lane in the low half of a vector register; the high half is never looked at.
    mod vectors {
        use std::arch::x86_64::{
            __m128i, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_rol_epi64, _mm_ternarylogic_epi64, _mm_xor_si128,
        };

        #[inline]
        #[target_feature(enable = "avx512f,avx512vl")]
        pub(super) fn from(word: u64) -> __m128i {
            _mm_cvtsi64_si128(word.cast_signed())
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512vl")]
        pub(super) fn into(lane: __m128i) -> u64 {
            _mm_cvtsi128_si64(lane).cast_unsigned()
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512vl")]
        pub(super) fn xor(a: __m128i, b: __m128i) -> __m128i {
            _mm_xor_si128(a, b)
        }

        // The constant's bit 4a + 2b + c is the outcome for the bits a, b, c.
        #[inline]
        #[target_feature(enable = "avx512f,avx512vl")]
        pub(super) fn xor3(a: __m128i, b: __m128i, c: __m128i) -> __m128i {
            _mm_ternarylogic_epi64::<0b1001_0110>(a, b, c)
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512vl")]
        pub(super) fn rotate<const BITS: i32>(a: __m128i) -> __m128i {
            _mm_rol_epi64::<BITS>(a)
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512vl")]
        pub(super) fn chi(a: __m128i, b: __m128i, c: __m128i) -> __m128i {
            _mm_ternarylogic_epi64::<0b1101_0010>(a, b, c)
        }
    }
}
