use super::{RolloutPolicy, Version};

/// What a publisher demands of those who go to a release. A plain listing demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseTerms {
    /// A node below it does not go there directly.
    pub minimum: Option<Version>,
    /// A node below one of these does not go above it without having run it.
    pub barriers: Vec<Version>,
    /// How the release reaches its installs; `None`: as each of them is set up.
    pub rollout: Option<RolloutPolicy>,
}

impl ReleaseTerms {
    /// The version that has to run before `to` can be gone to from `from`: the lowest barrier in between, or
    /// else the minimum. `None`: the way is free, as it is to an older version.
    #[must_use]
    pub fn first_needs(&self, from: &Version, to: &Version) -> Option<&Version> {
        let minimum = self.minimum.as_ref().filter(|minimum| from < to && from < *minimum);
        self.first_barrier(from, to).or(minimum)
    }

    /// The lowest barrier between `from` and `to`.
    #[must_use]
    pub fn first_barrier(&self, from: &Version, to: &Version) -> Option<&Version> {
        self.barriers.iter().filter(|barrier| from < *barrier && *barrier < to).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn the_lowest_barrier_above_a_node_comes_first_and_then_the_minimum() {
        let terms = ReleaseTerms {
            minimum: Some(v("2.5.0")),
            barriers: vec![v("3.0.0"), v("2.0.0")],
            ..ReleaseTerms::default()
        };
        for (from, to, needs) in [
            ("1.0.0", "4.0.0", Some("2.0.0")),
            ("1.9.9", "2.0.0", Some("2.5.0")),
            ("2.0.0", "4.0.0", Some("3.0.0")),
            ("2.0.0", "3.0.0", Some("2.5.0")),
            ("2.5.0", "3.0.0", None),
            ("3.0.0", "4.0.0", None),
            ("4.0.0", "1.0.0", None),
        ] {
            assert_eq!(terms.first_needs(&v(from), &v(to)), needs.map(v).as_ref(), "{from} to {to}");
        }
    }
}
