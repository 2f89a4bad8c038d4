use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::Health;

/// How a worker does, in numbers: noted before a trial, and shown beside the candidate's. People
/// compare them; nothing is decided by a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// It said that it can serve.
    pub ready: bool,
    /// What its job says of itself, if it ever did.
    #[serde(default)]
    pub says: Option<Health>,
    /// The worst that the configured checks said of it, if there are any.
    #[serde(default)]
    pub checked: Option<Health>,
    /// Requests that its job served or failed since it started.
    #[serde(default)]
    pub requests: u64,
    /// Those of them that failed.
    #[serde(default)]
    pub errors: u64,
    /// Resident memory, in bytes.
    #[serde(default)]
    pub memory: Option<u64>,
    /// Open descriptors.
    #[serde(default)]
    pub descriptors: Option<u64>,
    /// How often it was started again: after it ended by itself, or as a candidate that was cut short.
    /// Its launcher knows.
    #[serde(default)]
    pub restarts: Option<u32>,
}

impl fmt::Display for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.ready { "ready" } else { "not ready" })?;
        if let Some(health) = self.says {
            write!(f, ", says {health}")?;
        }
        if let Some(health) = self.checked {
            write!(f, ", checked {health}")?;
        }
        write!(f, ", {} of {} requests failed", self.errors, self.requests)?;
        if let Some(memory) = self.memory {
            write!(f, ", {:.1} MiB", memory as f64 / f64::from(1 << 20))?;
        }
        if let Some(descriptors) = self.descriptors {
            write!(f, ", {descriptors} descriptors")?;
        }
        if let Some(restarts) = self.restarts {
            write!(f, ", {restarts} restarts")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vitals_are_told_in_one_line_and_read_from_records_that_know_less() {
        let vitals = Vitals {
            ready: true,
            says: Some(Health::Healthy),
            checked: Some(Health::Unhealthy),
            requests: 200,
            errors: 3,
            memory: Some(19 << 19),
            descriptors: Some(21),
            restarts: Some(1),
        };
        let told =
            "ready, says healthy, checked unhealthy, 3 of 200 requests failed, 9.5 MiB, 21 descriptors, 1 restarts";
        assert_eq!(vitals.to_string(), told);
        let again: Vitals = serde_json::from_str(&serde_json::to_string(&vitals).unwrap()).unwrap();
        assert_eq!(again, vitals);
        assert_eq!(serde_json::from_str::<Vitals>("{\"ready\":false,\"later\":1}").unwrap(), Vitals::default());
    }
}
