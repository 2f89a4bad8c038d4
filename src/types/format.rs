/// How a release archive is compressed. Its name says so, exactly: `<product>-<target>.tar.zst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArchiveFormat {
    /// gzip (RFC 1952), one member.
    TarGz,
    /// Zstandard (RFC 8878), one frame, window of at most 8 MiB.
    TarZst,
}

impl ArchiveFormat {
    /// Both formats.
    pub const ALL: [Self; 2] = [Self::TarZst, Self::TarGz];

    /// The ending of the archive's file name, with its dot.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::TarGz => ".tar.gz",
            Self::TarZst => ".tar.zst",
        }
    }

    /// The format that a file name states, if it is one of ours.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| name.ends_with(format.suffix()))
    }
}
