use std::fmt;
use std::marker::PhantomData;

use super::role::{NodeSnapshot, Release, ReleaseMetadata, Role};
use crate::types::{NodeId, Product, ReleaseId, Sha256Digest};

/// The FIPS 204 context string: what the signed bytes are, and which release they belong to.
///
/// `exuvia/v1/<purpose>/<product>/<version>/<target>`, for a patch followed by `/<SHA-256 of its base>`. No part may hold a `/`, so two different
/// statements never share a context; with every part at its longest it stays below the 255 bytes
/// that FIPS 204 (section 5.2) allows.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Context<R: Role> {
    text: String,
    role: PhantomData<R>,
}

impl Context<Release> {
    /// For the compressed archive of a release.
    #[must_use]
    pub fn archive(id: &ReleaseId) -> Self {
        Self::of("archive", id)
    }

    /// For the same archive, uncompressed.
    #[must_use]
    pub fn tar(id: &ReleaseId) -> Self {
        Self::of("tar", id)
    }

    /// For a patch that makes the tar of this release from the tar with the digest `base`.
    #[must_use]
    pub fn patch(id: &ReleaseId, base: Sha256Digest) -> Self {
        let Self { text, role } = Self::of("patch", id);
        Self { text: format!("{text}/{base}"), role }
    }

    fn of(purpose: &str, ReleaseId { product, version, target }: &ReleaseId) -> Self {
        Self { text: format!("exuvia/v1/{purpose}/{product}/{version}/{target}"), role: PhantomData }
    }
}

impl Context<ReleaseMetadata> {
    /// For release metadata: empty, as TAP 21 has it. What is signed says in its first bytes what it is,
    /// and no other purpose has an empty context.
    #[must_use]
    pub fn metadata() -> Self {
        Self { text: String::new(), role: PhantomData }
    }
}

impl Context<NodeSnapshot> {
    /// For the manifest of a snapshot: `exuvia/v1/snapshot/<product>/<node id>`. One part fewer than a
    /// release has, so none of its contexts is the same.
    #[must_use]
    pub fn snapshot(product: &Product, node: &NodeId) -> Self {
        Self { text: format!("exuvia/v1/snapshot/{product}/{node}"), role: PhantomData }
    }
}

impl<R: Role> Context<R> {
    /// The context's bytes, all of them printable ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl<R: Role> fmt::Display for Context<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<R: Role> fmt::Debug for Context<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn release() -> impl Strategy<Value = ReleaseId> {
        ("[a-z0-9]{1,3}", "[0-9]\\.[0-9]\\.[0-9](-[a-z0-9]{1,3})?", "[a-z0-9][a-z0-9_.-]{0,3}").prop_filter_map(
            "not every text is a version",
            |(product, version, target)| {
                Some(ReleaseId {
                    product: product.parse().ok()?,
                    version: version.parse().ok()?,
                    target: target.parse().ok()?,
                })
            },
        )
    }

    proptest! {
        #[test]
        fn two_statements_never_share_a_context(
            (a, from_a) in (release(), prop::array::uniform32(0u8..2)),
            (b, from_b) in (release(), prop::array::uniform32(0u8..2)),
        ) {
            let (from_a, from_b) = (Sha256Digest::from_bytes(from_a), Sha256Digest::from_bytes(from_b));
            let of = |id: &ReleaseId, from| {
                [Context::archive(id), Context::tar(id), Context::patch(id, from)].map(|context| context.to_string())
            };
            let [archive, tar, patch] = of(&a, from_a);
            prop_assert!(archive != tar && tar != patch && patch != archive);
            let snapshot = Context::snapshot(&a.product, &"0".repeat(32).parse().unwrap()).to_string();
            prop_assert!(snapshot != archive && snapshot != tar && snapshot != patch);
            prop_assert_eq!(a == b, of(&b, from_b).contains(&archive));
            prop_assert_eq!(a == b, of(&b, from_b).contains(&tar));
            prop_assert_eq!(a == b && from_a == from_b, of(&b, from_b).contains(&patch));
            prop_assert_eq!(from_a == from_b, of(&a, from_b).contains(&patch));
        }
    }

    #[test]
    fn the_longest_context_fits_into_255_bytes() {
        let id = ReleaseId {
            product: "a".repeat(32).parse().unwrap(),
            version: format!("1.0.0-{}", "a".repeat(58)).parse().unwrap(),
            target: "a".repeat(64).parse().unwrap(),
        };
        assert!(Context::archive(&id).as_bytes().len() <= 255);
        assert!(Context::tar(&id).as_bytes().len() <= 255);
        assert!(Context::snapshot(&id.product, &"0".repeat(32).parse().unwrap()).as_bytes().len() <= 255);
        assert!(Context::patch(&id, Sha256Digest::from_bytes([0; 32])).as_bytes().len() <= 255);
    }
}
