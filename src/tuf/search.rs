use std::collections::BTreeSet;

use super::error::MetadataError;
use super::metadata::{RoleType, TargetFile};
use super::trusted::{TrustedSet, WithTargets};

/// The search for one target through the delegations: roles in their order of precedence, each one's
/// own delegations before its siblings, each role once, and nothing fetched before its turn.
#[derive(Clone, Debug)]
pub struct Search {
    path: String,
    /// Delegator and role, the next one last.
    to_visit: Vec<(String, String)>,
    visited: BTreeSet<String>,
}

/// What a search needs, or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The metadata of a role is to be loaded under this delegation; then the search goes on.
    Load {
        /// Who delegates.
        delegator: String,
        /// To whom.
        role: String,
    },
    /// What the first role that lists the target says about it.
    Found(Box<TargetFile>),
    /// No role that may speak for the target lists it.
    Absent,
}

impl Search {
    /// A search for the target of that path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let top = (RoleType::Root.as_str().to_owned(), RoleType::Targets.as_str().to_owned());
        Self { path: path.to_owned(), to_visit: vec![top], visited: BTreeSet::new() }
    }

    /// Goes on as far as what is loaded allows.
    pub fn step(&mut self, set: &mut TrustedSet<WithTargets>) -> Result<Step, MetadataError> {
        let limit = set.rules().limits.delegated_roles;
        while let Some((delegator, role)) = self.to_visit.pop() {
            if self.visited.contains(&role) {
                continue;
            }
            // The top level's own role is not a delegated one.
            if self.visited.len() > limit as usize {
                return Err(MetadataError::TooManyRoles { path: self.path.clone(), limit });
            }
            if !set.is_loaded(&delegator, &role)? {
                self.to_visit.push((delegator.clone(), role.clone()));
                return Ok(Step::Load { delegator, role });
            }
            let targets = set.role(&role).expect("it is loaded");
            if let Some(target) = targets.target(&self.path) {
                return Ok(Step::Found(Box::new(target.clone())));
            }
            let mut next = Vec::new();
            for (name, terminating) in targets.delegations.iter().flat_map(|it| it.roles_for_target(&self.path)) {
                next.push((role.clone(), name));
                if terminating {
                    // Neither later siblings nor those of any ancestor may speak for this path any more.
                    self.to_visit.clear();
                    break;
                }
            }
            self.to_visit.extend(next.into_iter().rev());
            self.visited.insert(role);
        }
        Ok(Step::Absent)
    }
}
