use super::key::Key;
use super::role::Role;
use super::scheme::KeyPolicy;
use super::signature::Signatures;
use super::verification::VerificationResult;

/// Metadata that says who signs for other roles: a root, or targets with delegations.
pub trait Delegator: super::sealed::Sealed {
    /// The role of that name, if this file delegates to it.
    fn delegated_role(&self, name: &str) -> Option<&Role>;

    /// The key of that keyid, if this file lists it.
    fn key(&self, keyid: &str) -> Option<&Key>;

    /// What each key of the role makes of the signatures over `payload`. Fails for no signature,
    /// whatever it is.
    fn verification(
        &self,
        policy: KeyPolicy,
        name: &str,
        payload: &[u8],
        signatures: &Signatures,
    ) -> Result<VerificationResult<'_>, DelegationError> {
        let role = self.delegated_role(name).ok_or_else(|| DelegationError::NotDelegated(name.to_owned()))?;
        Ok(VerificationResult::of(role, |keyid| self.key(keyid), policy, payload, signatures))
    }

    /// Whether enough keys of the role signed `payload`.
    fn verify_delegate(
        &self,
        policy: KeyPolicy,
        name: &str,
        payload: &[u8],
        signatures: &Signatures,
    ) -> Result<(), DelegationError> {
        let result = self.verification(policy, name, payload, signatures)?;
        if result.is_verified() {
            return Ok(());
        }
        let signed = result.signed().count() as u64;
        Err(DelegationError::Unsigned { role: name.to_owned(), signed, threshold: result.threshold() })
    }
}

/// Why a file does not count as a role's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelegationError {
    /// Nobody delegates to that role here.
    #[error("there is no delegation to the role {0:?}")]
    NotDelegated(String),
    /// Too few keys of the role signed it.
    #[error("{signed} of the {threshold} keys that must sign for the role {role:?} did")]
    Unsigned {
        /// The role.
        role: String,
        /// How many different keys signed.
        signed: u64,
        /// How many must.
        threshold: u64,
    },
}

/// Why keys were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no such role here.
    #[error("there is no role {0:?} here")]
    NoRole(String),
    /// The role does not use that key.
    #[error("the role {role:?} does not use the key {keyid}")]
    NotUsed {
        /// The role.
        role: String,
        /// The key.
        keyid: String,
    },
}
