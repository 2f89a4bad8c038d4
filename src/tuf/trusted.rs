//! The order in which metadata comes to be trusted, as types: from a [`TrustedSet`] in one state, the
//! next state is reached by verified bytes alone, and there is no other way to it.
//!
//! Every step takes the set by reference: what is refused changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp as Moment;

use super::error::MetadataError;
use super::metadata::{
    DelegationError, Delegator, Key, MetaFile, Metadata, Role, RoleType, RoleVersion, Root, Signatures, Signed,
    Snapshot, Targets, Timestamp,
};
use super::rules::Rules;
use crate::types::ByteLimit;

/// What is trusted so far, at one moment that stays the same for a whole update.
#[derive(Clone, Debug)]
pub struct TrustedSet<State> {
    rules: Rules,
    start: Moment,
    root: Arc<Root>,
    state: State,
}

/// A root is trusted, and newer ones may follow. It may have expired.
#[derive(Clone, Debug)]
pub struct WithRoot {
    online_keys_since: Option<RoleVersion>,
}

/// The final root is trusted, and a timestamp may follow.
#[derive(Clone, Debug)]
pub struct WithFinalRoot {
    online_keys_since: Option<RoleVersion>,
    remembered: Option<Arc<Timestamp>>,
}

/// A timestamp is trusted, and the snapshot that it names may follow.
#[derive(Clone, Debug)]
pub struct WithTimestamp {
    timestamp: Arc<Timestamp>,
    remembered: Option<Remembered>,
}

#[derive(Clone, Debug)]
struct Remembered {
    snapshot: Arc<Snapshot>,
    is_described: bool,
}

/// A snapshot is trusted, and the targets that it names may follow.
#[derive(Clone, Debug)]
pub struct WithSnapshot {
    timestamp: Arc<Timestamp>,
    snapshot: Arc<Snapshot>,
}

/// All four files of the top level are trusted; delegated roles may follow.
#[derive(Clone, Debug)]
pub struct WithTargets {
    timestamp: Arc<Timestamp>,
    snapshot: Arc<Snapshot>,
    targets: Arc<Targets>,
    delegated: BTreeMap<String, Delegated>,
    /// Delegator and role, for every delegation under which a role was verified.
    verified: BTreeSet<(String, String)>,
}

#[derive(Clone, Debug)]
struct Delegated {
    targets: Arc<Targets>,
    payload: Vec<u8>,
    signatures: Signatures,
}

/// Whether a timestamp brought something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It is newer than the remembered one, or nothing was remembered.
    New,
    /// It has the version of the remembered one, which stays, whatever else it says.
    Kept,
}

type Trusted<T> = Result<T, MetadataError>;

/// A file that was read, and not yet verified.
struct Untrusted<T> {
    role: String,
    signed: T,
    payload: Vec<u8>,
    signatures: Signatures,
}

impl<T: Signed> Untrusted<T> {
    fn read(role: &str, bytes: &[u8], limit: ByteLimit) -> Trusted<Self> {
        let (metadata, payload) = Metadata::<T>::with_payload(bytes, limit)
            .map_err(|source| MetadataError::Format { role: role.to_owned(), source })?;
        let Metadata { signed, signatures, .. } = metadata;
        Ok(Self { role: role.to_owned(), signed, payload, signatures })
    }

    fn verify(&self, rules: &Rules, delegator: &dyn Delegator) -> Trusted<()> {
        Ok(delegator.verify_delegate(rules.policy, &self.role, &self.payload, &self.signatures)?)
    }

    fn must_be(&self, expected: u64) -> Trusted<()> {
        let found = self.signed.head().version.get();
        if found == expected {
            return Ok(());
        }
        Err(MetadataError::Version { role: self.role.clone(), expected, found })
    }
}

fn must_be_current(role: &str, signed: &impl Signed, start: Moment) -> Trusted<()> {
    let head = signed.head();
    if head.is_expired(start) {
        return Err(MetadataError::Expired { role: role.to_owned(), expires: head.expires });
    }
    Ok(())
}

fn no_rollback(file: &str, trusted: RoleVersion, found: RoleVersion) -> Trusted<()> {
    if found >= trusted {
        return Ok(());
    }
    Err(MetadataError::Rollback { file: file.to_owned(), trusted: trusted.get(), found: found.get() })
}

impl<State> TrustedSet<State> {
    /// The newest trusted root.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// By what is judged.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    fn with<Next>(&self, state: Next) -> TrustedSet<Next> {
        TrustedSet { rules: self.rules, start: self.start, root: self.root.clone(), state }
    }

    fn read<T: Signed>(&self, role: &str, bytes: &[u8]) -> Trusted<Untrusted<T>> {
        Untrusted::read(role, bytes, self.rules.limits.of(T::TYPE))
    }

    /// Reads a file of the top level, and verifies that the root's keys signed it.
    fn read_signed<T: Signed>(&self, bytes: &[u8]) -> Trusted<Untrusted<T>> {
        let untrusted = self.read::<T>(T::TYPE.as_str(), bytes)?;
        untrusted.verify(&self.rules, &*self.root)?;
        Ok(untrusted)
    }
}

impl TrustedSet<WithRoot> {
    /// Begins with a root that is trusted for lying where it lies, and that must be signed by itself
    /// nevertheless. It may have expired: newer ones are to follow. `start` is the time of the update.
    pub fn bootstrap(root: &[u8], rules: Rules, start: Moment) -> Trusted<Self> {
        let untrusted = Untrusted::<Root>::read(RoleType::Root.as_str(), root, rules.limits.root)?;
        untrusted.verify(&rules, &untrusted.signed)?;
        let state = WithRoot { online_keys_since: None };
        Ok(Self { rules, start, root: Arc::new(untrusted.signed), state })
    }

    /// Goes on to the next root: signed as the present one demands and as it demands itself, and of
    /// exactly the next version. It may have expired.
    pub fn update_root(&self, bytes: &[u8]) -> Trusted<Self> {
        let untrusted = self.read_signed::<Root>(bytes)?;
        untrusted.verify(&self.rules, &untrusted.signed)?;
        // The greatest version there is has no next one, and so never matches.
        untrusted.must_be(self.root.head.version.next().map_or(0, RoleVersion::get))?;
        let root = untrusted.signed;
        let rotated =
            [RoleType::Timestamp, RoleType::Snapshot].into_iter().any(|kind| differs(&self.root, &root, kind));
        let since = if rotated { Some(root.head.version) } else { self.state.online_keys_since };
        let mut next = self.with(WithRoot { online_keys_since: since });
        next.root = Arc::new(root);
        Ok(next)
    }

    /// Takes the present root as the last one. It must not have expired.
    pub fn finish_root(&self) -> Trusted<TrustedSet<WithFinalRoot>> {
        must_be_current(RoleType::Root.as_str(), &*self.root, self.start)?;
        Ok(self.with(WithFinalRoot { online_keys_since: self.state.online_keys_since, remembered: None }))
    }
}

/// Whether a role's keys, or how many of them must sign, are not the same under both roots.
fn differs(one: &Root, other: &Root, kind: RoleType) -> bool {
    let keys = |root: &Root| -> Vec<Option<Key>> {
        let mut keyids = root.role(kind).keyids.clone();
        keyids.sort();
        keyids.iter().map(|keyid| root.key(keyid).cloned()).collect()
    };
    let ids = |role: &Role| role.keyids.iter().cloned().collect::<BTreeSet<_>>();
    let (before, after) = (one.role(kind), other.role(kind));
    before.threshold != after.threshold || ids(before) != ids(after) || keys(one) != keys(other)
}

impl TrustedSet<WithFinalRoot> {
    /// The root since which the keys of timestamp and snapshot are what they are, if they changed at all
    /// since the root with which this update began. What was remembered under an older root must not be
    /// passed to [`Self::remember`] nor to the next state's: after a compromise, its version numbers
    /// may be the attacker's.
    #[must_use]
    pub fn online_keys_since(&self) -> Option<RoleVersion> {
        self.state.online_keys_since
    }

    /// Takes up the timestamp of an earlier update, as the floor below which no version may fall. It
    /// may have expired.
    pub fn remember(&self, bytes: &[u8]) -> Trusted<Self> {
        let untrusted = self.read_signed::<Timestamp>(bytes)?;
        let mut set = self.clone();
        set.state.remembered = Some(Arc::new(untrusted.signed));
        Ok(set)
    }

    /// Takes a timestamp from the repository.
    pub fn update_timestamp(&self, bytes: &[u8]) -> Trusted<(TrustedSet<WithTimestamp>, Novelty)> {
        let mut new = Arc::new(self.read_signed::<Timestamp>(bytes)?.signed);
        let mut novelty = Novelty::New;
        if let Some(known) = &self.state.remembered {
            no_rollback("timestamp.json", known.head.version, new.head.version)?;
            if new.head.version == known.head.version {
                new = known.clone();
                novelty = Novelty::Kept;
            }
            no_rollback("snapshot.json", known.snapshot.version, new.snapshot.version)?;
        }
        must_be_current(RoleType::Timestamp.as_str(), &*new, self.start)?;
        Ok((self.with(WithTimestamp { timestamp: new, remembered: None }), novelty))
    }
}

impl TrustedSet<WithTimestamp> {
    /// The timestamp.
    #[must_use]
    pub fn timestamp(&self) -> &Timestamp {
        &self.state.timestamp
    }

    /// Takes up the snapshot of an earlier update, as the floor below which no targets version may fall.
    /// It may have expired, and it need not be the one that the timestamp names.
    pub fn remember(&self, bytes: &[u8]) -> Trusted<Self> {
        let untrusted = self.read_signed::<Snapshot>(bytes)?;
        let is_described = self.state.timestamp.snapshot.verify(bytes).is_ok();
        let mut set = self.clone();
        set.state.remembered = Some(Remembered { snapshot: Arc::new(untrusted.signed), is_described });
        Ok(set)
    }

    /// Goes on with the remembered snapshot, if it is the one that the timestamp names and is still valid.
    #[must_use]
    pub fn keep_snapshot(&self) -> Option<TrustedSet<WithSnapshot>> {
        let Remembered { snapshot, is_described } = self.state.remembered.as_ref()?;
        let is_named = snapshot.head.version == self.state.timestamp.snapshot.version;
        let is_current = !snapshot.head.is_expired(self.start);
        (*is_described && is_named && is_current).then(|| self.with_snapshot(snapshot.clone()))
    }

    /// Takes the snapshot from the repository.
    pub fn update_snapshot(&self, bytes: &[u8]) -> Trusted<TrustedSet<WithSnapshot>> {
        let described = &self.state.timestamp.snapshot;
        let role = RoleType::Snapshot.as_str();
        described.verify(bytes).map_err(|source| MetadataError::Mismatch { role: role.to_owned(), source })?;
        let untrusted = self.read_signed::<Snapshot>(bytes)?;
        untrusted.must_be(described.version.get())?;
        let new = untrusted.signed;
        if let Some(known) = &self.state.remembered {
            for (file, known) in &known.snapshot.meta {
                let new = new.meta.get(file).ok_or_else(|| MetadataError::Removed(file.clone()))?;
                no_rollback(file, known.version, new.version)?;
            }
        }
        must_be_current(role, &new, self.start)?;
        Ok(self.with_snapshot(Arc::new(new)))
    }

    fn with_snapshot(&self, snapshot: Arc<Snapshot>) -> TrustedSet<WithSnapshot> {
        self.with(WithSnapshot { timestamp: self.state.timestamp.clone(), snapshot })
    }
}

fn described<'a>(snapshot: &'a Snapshot, role: &str) -> Trusted<&'a MetaFile> {
    snapshot.role(role).ok_or_else(|| MetadataError::NotInSnapshot(role.to_owned()))
}

/// Everything that targets metadata of whichever role must meet.
fn judge_targets<S>(
    set: &TrustedSet<S>,
    snapshot: &Snapshot,
    delegator: &dyn Delegator,
    role: &str,
    bytes: &[u8],
) -> Trusted<Untrusted<Targets>> {
    let described = described(snapshot, role)?;
    described.verify(bytes).map_err(|source| MetadataError::Mismatch { role: role.to_owned(), source })?;
    let untrusted = set.read::<Targets>(role, bytes)?;
    untrusted.verify(&set.rules, delegator)?;
    untrusted.must_be(described.version.get())?;
    must_be_current(role, &untrusted.signed, set.start)?;
    Ok(untrusted)
}

impl TrustedSet<WithSnapshot> {
    /// What the snapshot says about the top level's targets.
    pub fn described_targets(&self) -> Trusted<&MetaFile> {
        described(&self.state.snapshot, RoleType::Targets.as_str())
    }

    /// Takes the top level's targets, from wherever.
    pub fn update_targets(&self, bytes: &[u8]) -> Trusted<TrustedSet<WithTargets>> {
        let WithSnapshot { timestamp, snapshot } = &self.state;
        let untrusted = judge_targets(self, snapshot, &*self.root, RoleType::Targets.as_str(), bytes)?;
        Ok(self.with(WithTargets {
            timestamp: timestamp.clone(),
            snapshot: snapshot.clone(),
            targets: Arc::new(untrusted.signed),
            delegated: BTreeMap::new(),
            verified: BTreeSet::new(),
        }))
    }
}

impl TrustedSet<WithTargets> {
    /// The timestamp.
    #[must_use]
    pub fn timestamp(&self) -> &Timestamp {
        &self.state.timestamp
    }

    /// The snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.state.snapshot
    }

    /// The top level's targets.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.state.targets
    }

    /// The targets metadata of that role, as far as it is trusted under some delegation.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Targets> {
        if name == RoleType::Targets.as_str() {
            return Some(&self.state.targets);
        }
        self.state.delegated.get(name).map(|role| &*role.targets)
    }

    /// What the snapshot says about a delegated role.
    pub fn described(&self, role: &str) -> Trusted<&MetaFile> {
        described(&self.state.snapshot, role)
    }

    /// Takes the metadata of a role, as far as `delegator` delegates to it.
    pub fn load(&mut self, delegator: &str, role: &str, bytes: &[u8]) -> Trusted<()> {
        let by = self.delegator(delegator, role)?.clone();
        let Untrusted { signed, payload, signatures, .. } =
            judge_targets(self, &self.state.snapshot, &*by, role, bytes)?;
        let loaded = Delegated { targets: Arc::new(signed), payload, signatures };
        self.state.delegated.insert(role.to_owned(), loaded);
        // Other bytes may have come under another delegation.
        self.state.verified.retain(|(_, known)| known != role);
        self.state.verified.insert((delegator.to_owned(), role.to_owned()));
        Ok(())
    }

    /// Whether a role's metadata is here, and trusted under this delegation too: being trusted under
    /// another one says nothing.
    pub fn is_loaded(&mut self, delegator: &str, role: &str) -> Trusted<bool> {
        if role == RoleType::Targets.as_str() {
            return Ok(true);
        }
        let edge = (delegator.to_owned(), role.to_owned());
        if self.state.verified.contains(&edge) {
            return Ok(true);
        }
        let Some(known) = self.state.delegated.get(role) else { return Ok(false) };
        let by = self.delegator(delegator, role)?;
        by.verify_delegate(self.rules.policy, role, &known.payload, &known.signatures)?;
        self.state.verified.insert(edge);
        Ok(true)
    }

    fn delegator(&self, delegator: &str, role: &str) -> Trusted<&Arc<Targets>> {
        let known = if delegator == RoleType::Targets.as_str() {
            Some(&self.state.targets)
        } else {
            self.state.delegated.get(delegator).map(|known| &known.targets)
        };
        known.ok_or_else(|| DelegationError::NotDelegated(role.to_owned()).into())
    }
}
