use std::io;

/// Why a delta made nothing.
#[derive(Debug, thiserror::Error)]
pub enum VcdiffError {
    /// The first bytes are those of another format.
    #[error("its delta does not begin as VCDIFF does")]
    NotVcdiff,
    /// Well formed, and of a kind that xdelta3 makes only when told to.
    #[error("its delta uses {0}, which is not read here")]
    Unsupported(&'static str),
    /// The delta is of what compressed files hold, and not of the files.
    #[error(
        "its delta is of what a compressed file holds, and that file cannot be made again byte for byte, so nothing can \
         show what it is. Pack the release from its binary"
    )]
    Recompressed,
    /// Ends before it is complete.
    #[error("its delta ends early")]
    Truncated,
    /// A number of more than 63 bits.
    #[error("a number in its delta has more than 63 bits")]
    Number,
    /// A part is longer than any that xdelta3 makes.
    #[error("its delta states {stated} bytes of {what}, and at most {most} are accepted")]
    TooLong {
        /// The part.
        what: &'static str,
        /// Length that the delta states, in bytes.
        stated: u64,
        /// The limit in bytes.
        most: u64,
    },
    /// Bits that have no meaning, or that contradict each other.
    #[error("its delta sets bits that have no meaning there")]
    Bits,
    /// The lengths that a window states of its parts do not add up.
    #[error("the lengths in its delta disagree")]
    Lengths,
    /// A window takes from a stretch that the reference does not have.
    #[error("its delta reaches outside its reference")]
    OutsideReference,
    /// A COPY takes from what is not made yet.
    #[error("its delta copies from a place that is not made yet")]
    Address,
    /// An instruction that makes nothing.
    #[error("an instruction in its delta does nothing")]
    Idle,
    /// Makes more than is stated.
    #[error("its delta makes more than it may")]
    Overlong,
    /// Makes less than is stated.
    #[error("its delta makes {made} bytes, and {stated} are stated")]
    Short {
        /// Bytes made.
        made: u64,
        /// Bytes stated.
        stated: u64,
    },
    /// A window's checksum is another one: Adler-32, RFC 1950.
    #[error("window {0} of its delta does not have the checksum that it states")]
    Checksum(u64),
    /// A compressed section cannot be decompressed.
    #[error("a section of its delta cannot be decompressed: {0}")]
    Compression(#[source] io::Error),
    /// A private copy cannot be read or written.
    #[error("a private copy fails: {0}. Look at the space in the folder for temporary files (TMPDIR)")]
    Copy(#[source] io::Error),
}
