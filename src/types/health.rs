use std::fmt;

use serde::{Deserialize, Serialize};

/// How a program is, as far as that can be told. Of two, the greater one is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It does its work.
    Healthy,
    /// Nobody can tell, or it is not its own fault: something that it needs is not there.
    Inconclusive,
    /// It does not do its work.
    Unhealthy,
}

impl Health {
    /// The exit code by which a check says so. 75 is `EX_TEMPFAIL` of `sysexits.h`.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Inconclusive => 75,
            Self::Unhealthy => 1,
        }
    }

    /// What a check says by its exit code. What a shell or `env` ends with when there is nothing to
    /// execute (126, 127) tells of the check, and not of what it looks at.
    #[must_use]
    pub fn of_exit_code(code: i32) -> Self {
        match code {
            0 => Self::Healthy,
            75 | 126 | 127 => Self::Inconclusive,
            _ => Self::Unhealthy,
        }
    }

    /// Its name in records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Inconclusive => "inconclusive",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_two_is_the_greater_and_an_exit_code_survives_the_way_back() {
        let all = [Health::Healthy, Health::Inconclusive, Health::Unhealthy];
        assert!(all.is_sorted());
        for health in all {
            assert_eq!(Health::of_exit_code(health.exit_code().into()), health);
            assert_eq!(serde_json::to_string(&health).unwrap(), format!("\"{health}\""));
        }
        // curl, pg_isready and the like have codes of their own for what fails.
        assert_eq!([2, 7, 22, 255].map(Health::of_exit_code), [Health::Unhealthy; 4]);
        assert_eq!([126, 127].map(Health::of_exit_code), [Health::Inconclusive; 2]);
    }
}
