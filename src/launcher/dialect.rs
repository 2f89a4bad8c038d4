use serde::{Deserialize, Serialize};

/// The versions of this protocol, and of the message that a launcher leaves for the next one, that a program
/// understands. New messages and new fields alone make no new version: who does not know them passes them over.
/// A change that an older peer would misread makes one; what still understands older peers says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// The version that it speaks.
    pub newest: u32,
    /// The oldest one that it still understands.
    pub oldest: u32,
}

impl Dialect {
    /// What this program understands.
    pub const OURS: Self = Self { newest: 1, oldest: 1 };

    /// What a peer says of itself; one that names no oldest version understands its own alone.
    #[must_use]
    pub fn of_peer(newest: u32, oldest: Option<u32>) -> Self {
        Self { newest, oldest: oldest.unwrap_or(newest).min(newest) }
    }

    /// Whether there is a version that both understand: the newest one of the older peer.
    #[must_use]
    pub fn understands(self, peer: Self) -> bool {
        let common = self.newest.min(peer.newest);
        self.oldest <= common && peer.oldest <= common
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.newest - self.oldest {
            0 => write!(f, "{}", self.newest),
            _ => write!(f, "{} to {}", self.oldest, self.newest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_understand_each_other_when_the_older_ones_newest_version_is_known_to_both() {
        let dialect = |oldest, newest| Dialect { newest, oldest };
        for (a, b, understood) in [
            (dialect(1, 1), dialect(1, 1), true),
            (dialect(1, 1), dialect(1, 3), true),
            (dialect(1, 1), dialect(2, 3), false),
            (dialect(2, 2), dialect(1, 3), true),
            (dialect(2, 4), dialect(1, 1), false),
        ] {
            assert_eq!((a.understands(b), b.understands(a)), (understood, understood), "{a} and {b}");
        }
        assert_eq!(Dialect::of_peer(3, None), dialect(3, 3));
        assert_eq!(Dialect::of_peer(3, Some(9)), dialect(3, 3), "nonsense is narrowed");
    }
}
