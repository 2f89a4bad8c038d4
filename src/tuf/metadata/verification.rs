use std::collections::BTreeMap;

use super::key::Key;
use super::role::Role;
use super::scheme::KeyPolicy;
use super::signature::Signatures;

/// Whether enough keys of a role signed a payload, and what each of them has to do with it.
#[derive(Clone, Debug)]
pub struct VerificationResult<'a> {
    threshold: u64,
    answers: Vec<(&'a str, Answer<'a>)>,
}

/// What came of one keyid of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The key made a valid signature.
    Signed(&'a Key),
    /// There is no signature by it.
    NoSignature(&'a Key),
    /// What is said to be its signature is none.
    BadSignature(&'a Key),
    /// Its signature cannot count: the type is unknown or not allowed, or the key cannot be read.
    Unusable(&'a Key),
    /// The same key has signed under another keyid, and counts once.
    Repeated(&'a Key),
    /// The file lists no such key.
    NoKey,
}

impl<'a> VerificationResult<'a> {
    pub(super) fn of(
        role: &'a Role,
        key: impl Fn(&str) -> Option<&'a Key>,
        policy: KeyPolicy,
        payload: &[u8],
        signatures: &Signatures,
    ) -> Self {
        let signatures: BTreeMap<_, _> =
            signatures.iter().map(|signature| (signature.keyid.as_str(), signature)).collect();
        let mut answers: Vec<(&str, Answer<'_>)> = Vec::new();
        for keyid in &role.keyids {
            let repeats = |key: &Key| {
                let mut signed = answers.iter().filter_map(|(_, answer)| answer.signed());
                signed.any(|known| known.is_same_material(key))
            };
            let answer = match (key(keyid), signatures.get(keyid.as_str())) {
                (None, _) => Answer::NoKey,
                (Some(key), _) if !key.is_usable(policy) => Answer::Unusable(key),
                (Some(key), None) => Answer::NoSignature(key),
                (Some(key), Some(signature)) if !key.verifies(policy, payload, signature) => Answer::BadSignature(key),
                (Some(key), Some(_)) if repeats(key) => Answer::Repeated(key),
                (Some(key), Some(_)) => Answer::Signed(key),
            };
            answers.push((keyid, answer));
        }
        Self { threshold: role.threshold.get(), answers }
    }

    /// How many keys must have signed.
    #[must_use]
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Each keyid of the role with what came of it, in the role's order.
    pub fn answers(&self) -> impl Iterator<Item = (&'a str, Answer<'a>)> {
        self.answers.iter().copied()
    }

    /// The keys that signed, each once.
    pub fn signed(&self) -> impl Iterator<Item = &'a Key> {
        self.answers().filter_map(|(_, answer)| answer.signed())
    }

    /// The listed keys that did not sign.
    pub fn unsigned(&self) -> impl Iterator<Item = &'a Key> {
        self.answers().filter_map(|(_, answer)| answer.unsigned())
    }

    /// Whether enough keys signed.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.missing() == 0
    }

    /// How many more keys would have to sign.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.threshold.saturating_sub(self.signed().count() as u64)
    }
}

impl<'a> Answer<'a> {
    fn signed(self) -> Option<&'a Key> {
        match self {
            Self::Signed(key) => Some(key),
            _ => None,
        }
    }

    fn unsigned(self) -> Option<&'a Key> {
        match self {
            Self::NoSignature(key) | Self::BadSignature(key) | Self::Unusable(key) | Self::Repeated(key) => Some(key),
            Self::Signed(_) | Self::NoKey => None,
        }
    }
}

/// What came of a root under its predecessor and under itself. Each threshold is met on its own.
#[derive(Clone, Debug)]
pub struct RootVerificationResult<'a> {
    /// By the keys of the root before; by its own for a first root.
    pub first: VerificationResult<'a>,
    /// By its own keys.
    pub second: VerificationResult<'a>,
}

impl<'a> RootVerificationResult<'a> {
    /// Whether both thresholds are met.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.first.is_verified() && self.second.is_verified()
    }

    /// The keys that signed under either, each keyid once.
    #[must_use]
    pub fn signed(&self) -> Vec<&'a Key> {
        union(self.first.signed(), self.second.signed())
    }

    /// The keys that did not sign, of either, each keyid once.
    #[must_use]
    pub fn unsigned(&self) -> Vec<&'a Key> {
        union(self.first.unsigned(), self.second.unsigned())
    }
}

fn union<'a>(first: impl Iterator<Item = &'a Key>, second: impl Iterator<Item = &'a Key>) -> Vec<&'a Key> {
    let mut keys: Vec<&Key> = Vec::new();
    for key in first.chain(second) {
        if !keys.iter().any(|known| known.keyid() == key.keyid()) {
            keys.push(key);
        }
    }
    keys
}
