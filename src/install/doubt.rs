use jiff::Timestamp;

use super::error::InstallError;
use super::folder::Install;
use crate::sys::BootClock;
use crate::types::{NodeName, Version};

/// Something that siblings are said to do or to have found out, and that is not believed. Whoever
/// writes such a thing wants to hold this node up; it does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doubt {
    /// The leases cannot be read: nobody holds one.
    LeaseUnreadable,
    /// A lease that claims more time than any lease can have: it holds nobody up.
    LeaseTooLong {
        /// Whose it is said to be.
        owner: NodeName,
    },
    /// A lease of a node that never ran from this install. It is heeded until it ends.
    LeaseOfStranger {
        /// Whose it is said to be.
        owner: NodeName,
    },
    /// The record of a sibling cannot be read: its verdicts count for nothing.
    RecordUnreadable {
        /// The sibling.
        node: NodeName,
    },
    /// A verdict that is yet to come: it counts for nothing.
    VerdictOfTheFuture {
        /// Whose it is said to be.
        node: NodeName,
        /// What it is about.
        version: Version,
    },
}

impl Doubt {
    /// A stable word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::LeaseUnreadable => "lease-unreadable",
            Self::LeaseTooLong { .. } => "lease-too-long",
            Self::LeaseOfStranger { .. } => "lease-of-stranger",
            Self::RecordUnreadable { .. } => "record-unreadable",
            Self::VerdictOfTheFuture { .. } => "verdict-of-the-future",
        }
    }
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LeaseUnreadable => f.write_str("the host's leases cannot be read, so nobody is taken to hold one"),
            Self::LeaseTooLong { owner } => {
                write!(f, "a lease of node {owner} claims more than a day, so it is not heeded")
            }
            Self::LeaseOfStranger { owner } => {
                write!(f, "a lease names node {owner}, which never ran from here; it is heeded until it ends")
            }
            Self::RecordUnreadable { node } => {
                write!(f, "the record of node {node} cannot be read, so its verdicts count for nothing")
            }
            Self::VerdictOfTheFuture { node, version } => {
                write!(f, "a verdict of node {node} on {version} is yet to come, so it counts for nothing")
            }
        }
    }
}

impl Install {
    /// What is not believed of the siblings of `node`.
    pub fn doubts(&self, node: &NodeName, now: Timestamp) -> Result<Vec<Doubt>, InstallError> {
        let mut doubts = Vec::new();
        let siblings: Vec<_> = self.node_names()?.into_iter().filter(|name| name != node).collect();
        match self.leases() {
            Err(_) => doubts.push(Doubt::LeaseUnreadable),
            Ok(leases) => {
                for lease in leases.into_iter().filter(|lease| lease.owner != *node) {
                    let owner = lease.owner.clone();
                    if lease.claims_too_much(BootClock::now()) {
                        doubts.push(Doubt::LeaseTooLong { owner });
                    } else if !siblings.contains(&owner) {
                        doubts.push(Doubt::LeaseOfStranger { owner });
                    }
                }
            }
        }
        for node in siblings {
            match self.node(&node) {
                Err(_) => doubts.push(Doubt::RecordUnreadable { node }),
                Ok(record) => {
                    let verdicts = record.into_iter().flat_map(|record| record.verdicts);
                    let coming = verdicts.filter(|verdict| verdict.is_of_the_future(now));
                    doubts.extend(coming.map(|verdict| {
                        let (node, version) = (node.clone(), verdict.candidate.version);
                        Doubt::VerdictOfTheFuture { node, version }
                    }));
                }
            }
        }
        Ok(doubts)
    }
}
