use super::ArchiveFormat;

/// How the tar of a release is packed, and so which of its two signatures vouches for the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Packing {
    /// As it is published.
    Compressed(ArchiveFormat),
    /// The tar itself: what a patch makes, and what the next one begins with.
    Tar,
}

impl Packing {
    /// Every way.
    pub const ALL: [Self; 3] =
        [Self::Compressed(ArchiveFormat::ALL[0]), Self::Compressed(ArchiveFormat::ALL[1]), Self::Tar];

    /// The ending of such a file's name, with its dot.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Compressed(format) => format.suffix(),
            Self::Tar => ".tar",
        }
    }
}

impl From<ArchiveFormat> for Packing {
    fn from(format: ArchiveFormat) -> Self {
        Self::Compressed(format)
    }
}
