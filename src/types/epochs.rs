use std::fmt;

use serde::{Deserialize, Serialize};

/// Which epochs of the job's state a version understands. An epoch is the number of the last migration
/// that the state went through, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateEpochs {
    /// The oldest epoch that it can open: what is older needs a version in between.
    pub reads_from: u32,
    /// The epoch that it writes, and to which it migrates what is older.
    pub writes: u32,
}

/// What a version makes of the state that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meets {
    /// It is as this version writes it.
    Same,
    /// This version migrates it.
    Older {
        /// The epoch that is there.
        found: u32,
    },
    /// It is from before the oldest epoch that this version can open.
    TooOld {
        /// The epoch that is there.
        found: u32,
    },
    /// A newer version has migrated it.
    TooNew {
        /// The epoch that is there.
        found: u32,
    },
}

impl StateEpochs {
    /// What this version makes of a state of that epoch.
    #[must_use]
    pub const fn meets(self, found: u32) -> Meets {
        if found == self.writes {
            Meets::Same
        } else if found > self.writes {
            Meets::TooNew { found }
        } else if found < self.reads_from {
            Meets::TooOld { found }
        } else {
            Meets::Older { found }
        }
    }

    /// Whether this version can open a state of that epoch, as it is or by migrating it.
    #[must_use]
    pub const fn opens(self, found: u32) -> bool {
        matches!(self.meets(found), Meets::Same | Meets::Older { .. })
    }
}

impl fmt::Display for StateEpochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reads from epoch {}, writes {}", self.reads_from, self.writes)
    }
}

/// A migration of the job's state, which a launcher allows once it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The epoch that is there.
    pub from: u32,
    /// The epoch that it becomes.
    pub to: u32,
}

impl Migration {
    /// Whether this word covers a migration by a version that writes `writes` of a state that is found
    /// at `found`: also of one that a kill has stopped half way.
    #[must_use]
    pub const fn allows(self, found: u32, writes: u32) -> bool {
        self.from <= found && found <= self.to && writes == self.to
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} to {}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_opens_what_it_writes_and_what_it_can_migrate() {
        let version = StateEpochs { reads_from: 2, writes: 4 };
        let met = [1, 2, 3, 4, 5].map(|found| version.meets(found));
        let (too_old, too_new) = (Meets::TooOld { found: 1 }, Meets::TooNew { found: 5 });
        assert_eq!(met, [too_old, Meets::Older { found: 2 }, Meets::Older { found: 3 }, Meets::Same, too_new]);
        assert_eq!([1, 2, 3, 4, 5].map(|found| version.opens(found)), [false, true, true, true, false]);
    }

    #[test]
    fn a_word_covers_its_migration_and_no_other() {
        let word = Migration { from: 2, to: 4 };
        assert!(word.allows(2, 4) && word.allows(3, 4) && word.allows(4, 4));
        assert!(!word.allows(1, 4) && !word.allows(2, 5) && !word.allows(2, 3) && !word.allows(5, 4));
    }
}
