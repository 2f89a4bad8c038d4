use jiff::Timestamp;

/// How a release reaches its installs, as its publisher signed it.
///
/// Before `start` nobody goes to it by itself, and never while it is halted. A wave lets so many of a
/// thousand installs go, from so many seconds after `start` on; without waves everybody may from `start` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutPolicy {
    start: Timestamp,
    halted: bool,
    waves: Vec<Wave>,
}

/// One wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wave {
    /// Seconds after the start.
    pub after: u32,
    /// How many of a thousand installs may go from then on, those of earlier waves included: 1 to 1,000.
    pub permille: u16,
}

/// Why a policy cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolloutPolicyError {
    /// A start with a fraction of a second.
    #[error("starts between two seconds")]
    Fraction,
    /// A wave for nobody, or for more than all.
    #[error("has a wave that is not for 1 to 1,000 of a thousand installs")]
    Permille,
    /// A wave that does not come after the one before it, or does not reach more installs.
    #[error("has a wave that is not both later and larger than the one before it")]
    Order,
}

impl RolloutPolicy {
    /// A policy with these waves, each later and larger than the one before it; none: everybody at once.
    pub fn new(start: Timestamp, waves: Vec<Wave>) -> Result<Self, RolloutPolicyError> {
        if start.subsec_nanosecond() != 0 {
            return Err(RolloutPolicyError::Fraction);
        }
        if waves.iter().any(|wave| !(1..=1000).contains(&wave.permille)) {
            return Err(RolloutPolicyError::Permille);
        }
        let grows = |pair: &[Wave]| pair[0].after < pair[1].after && pair[0].permille < pair[1].permille;
        if !waves.windows(2).all(grows) {
            return Err(RolloutPolicyError::Order);
        }
        Ok(Self { start, halted: false, waves })
    }

    /// The same policy, halted or not.
    #[must_use]
    pub fn with_halted(self, halted: bool) -> Self {
        Self { halted, ..self }
    }

    /// Before this moment, in whole seconds, nobody goes.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// Whether nobody else goes for now.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// The waves, in the order of time.
    #[must_use]
    pub fn waves(&self) -> &[Wave] {
        &self.waves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(waves: &[(u32, u16)]) -> Result<RolloutPolicy, RolloutPolicyError> {
        let waves = waves.iter().map(|(after, permille)| Wave { after: *after, permille: *permille }).collect();
        RolloutPolicy::new(Timestamp::UNIX_EPOCH, waves)
    }

    #[test]
    fn waves_grow_in_time_and_in_size() {
        for good in [&[][..], &[(0, 1)], &[(0, 10), (60, 100), (61, 1000)], &[(u32::MAX, 1000)]] {
            assert!(policy(good).is_ok(), "{good:?}");
        }
        for bad in [[(0, 10), (0, 20)], [(10, 10), (0, 20)], [(0, 10), (10, 10)], [(0, 20), (10, 10)]] {
            assert_eq!(policy(&bad), Err(RolloutPolicyError::Order), "{bad:?}");
        }
        for bad in [0, 1001, u16::MAX] {
            assert_eq!(policy(&[(0, bad)]), Err(RolloutPolicyError::Permille), "{bad}");
        }
    }

    #[test]
    fn a_start_is_in_whole_seconds() {
        let start = Timestamp::from_millisecond(1500).unwrap();
        assert_eq!(RolloutPolicy::new(start, Vec::new()), Err(RolloutPolicyError::Fraction));
    }
}
