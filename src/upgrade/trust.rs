use crate::crypto::{Keyring, PublicKey, Release};
use crate::ledger::{DistrustedKey, Ledger, LedgerError};
use crate::types::KeyId;

/// The keys of a build, and which of them this node believes.
#[derive(Clone, Debug)]
pub struct Trust {
    /// What verifies archives here.
    pub believed: Keyring<Release>,
    /// The keys that this build pins.
    pub pinned: Vec<KeyId>,
    /// The keys that newer versions withdrew on this node.
    pub distrusted: Vec<DistrustedKey>,
    /// Every pinned key was withdrawn. A node that believed none could never leave this build again by itself,
    /// so it believes them all the same, and says so.
    pub locked_out: bool,
}

impl Trust {
    /// What the node of that ledger believes of the keys that its build pins.
    pub fn of(pinned: &Keyring<Release>, ledger: &Ledger) -> Result<Self, LedgerError> {
        let distrusted = ledger.distrusted_keys()?;
        let ids: Vec<_> = distrusted.iter().map(|distrusted| distrusted.key).collect();
        let believed = pinned.without(&ids);
        Ok(Self {
            pinned: pinned.keys().map(PublicKey::id).collect(),
            locked_out: believed.is_none(),
            believed: believed.unwrap_or_else(|| pinned.clone()),
            distrusted,
        })
    }
}
