use serde::{Deserialize, Serialize};

/// Whether two versions of a worker may run at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// No: the old worker leaves before the new one is started, and so before that may open the data.
    /// Connections wait in the listeners' queues meanwhile.
    #[default]
    StopFirst,
    /// Yes: the new worker is started beside the old one, which leaves once the new one is ready.
    UntilReady,
}

impl Overlap {
    /// What holds for a change between two versions that each say their own: the safe one of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        if self == other { self } else { Self::StopFirst }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_overlap_only_where_both_say_so() {
        use Overlap::{StopFirst, UntilReady};
        assert_eq!(UntilReady.with(UntilReady), UntilReady);
        for (old, new) in [(StopFirst, UntilReady), (UntilReady, StopFirst), (StopFirst, StopFirst)] {
            assert_eq!(old.with(new), StopFirst);
        }
    }
}
