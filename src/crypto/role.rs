use std::fmt::Debug;

/// What a key is for. Sealed: a new role is a decision about trust, made here.
pub trait Role: sealed::Sealed + Debug + Clone + Copy + Send + Sync + 'static {
    /// The role's name in messages.
    const NAME: &'static str;
}

/// Signs what a fleet runs: archives, tars and patches.
#[derive(Clone, Copy, Debug)]
pub struct Release;

impl Role for Release {
    const NAME: &'static str = "release";
}

/// Signs release metadata: which release is current, for whom and until when. Never what runs.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseMetadata;

impl Role for ReleaseMetadata {
    const NAME: &'static str = "metadata";
}

/// Signs copies of one node's state: a node's own key, which no build pins.
#[derive(Clone, Copy, Debug)]
pub struct NodeSnapshot;

impl Role for NodeSnapshot {
    const NAME: &'static str = "snapshot";
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Release {}
    impl Sealed for super::ReleaseMetadata {}
    impl Sealed for super::NodeSnapshot {}
}
