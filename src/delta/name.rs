use std::fmt;

use crate::types::{Product, Sha256Digest, Target, Version};

/// The file name of the signature over the uncompressed tar: `<product>-<target>.tar.sig`.
#[must_use]
pub fn tar_signature_name(product: &Product, target: &Target) -> String {
    format!("{product}-{target}.tar.sig")
}

/// The file name of a patch: `<product>-<target>.from-<version>-<16 digits>.patch`, the digits being the first of
/// the SHA-256 of the tar that it begins with. The version lets a node plan before it has that tar; the
/// signature names the whole digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchName {
    /// `<product>-<target>`.
    stem: String,
    from: Version,
    base: String,
}

const FROM: &str = ".from-";
const SUFFIX: &str = ".patch";
const DIGITS: usize = 16;

impl PatchName {
    /// The name of the patch from that version, whose tar has that digest.
    #[must_use]
    pub fn new(product: &Product, target: &Target, from: &Version, base: Sha256Digest) -> Self {
        let mut base = base.to_string();
        base.truncate(DIGITS);
        Self { stem: format!("{product}-{target}"), from: from.clone(), base }
    }

    /// Reads a name of exactly that form, for exactly this product and target.
    #[must_use]
    pub fn parse(name: &str, product: &Product, target: &Target) -> Option<Self> {
        let stem = format!("{product}-{target}");
        let middle = name.strip_prefix(&stem)?.strip_prefix(FROM)?.strip_suffix(SUFFIX)?;
        let (version, base) = middle.rsplit_once('-')?;
        let digits = base.len() == DIGITS && base.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let from: Version = version.parse().ok()?;
        let parsed = Self { stem, from, base: base.to_owned() };
        (digits && parsed.to_string() == name).then_some(parsed)
    }

    /// The version that it begins with.
    #[must_use]
    pub fn from(&self) -> &Version {
        &self.from
    }

    /// Whether a tar of that digest can be the one that it begins with.
    #[must_use]
    pub fn begins_with(&self, tar: Sha256Digest) -> bool {
        tar.to_string().starts_with(&self.base)
    }

    /// The name of its signature.
    #[must_use]
    pub fn signature(&self) -> String {
        format!("{self}.sig")
    }
}

impl fmt::Display for PatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stem, from, base } = self;
        write!(f, "{stem}{FROM}{from}-{base}{SUFFIX}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_patch_name_survives_its_text_and_fits_into_255_bytes(
            product in "[a-z0-9]{1,32}",
            pre in "(-[a-zA-Z][a-zA-Z0-9.-]{0,55}[a-z])?",
            target in "[a-z0-9][a-z0-9_.-]{0,63}",
            base in any::<[u8; 32]>(),
        ) {
            let Ok(from) = format!("1.2.3{pre}").parse::<Version>() else { return Ok(()) };
            let (product, target): (Product, Target) = (product.parse().unwrap(), target.parse().unwrap());
            let base = Sha256Digest::from_bytes(base);
            let name = PatchName::new(&product, &target, &from, base);
            prop_assert!(name.signature().len() <= 255);
            prop_assert!(name.begins_with(base) && name.from() == &from);
            prop_assert_eq!(PatchName::parse(&name.to_string(), &product, &target), Some(name));
        }
    }

    #[test]
    fn only_the_exact_form_is_a_patch() {
        let (product, target) = ("exuvia".parse().unwrap(), "x86_64-unknown-linux-gnu".parse().unwrap());
        let stem = "exuvia-x86_64-unknown-linux-gnu";
        let parse = |name: &str| PatchName::parse(name, &product, &target);
        assert!(parse(&format!("{stem}.from-1.0.0-rc.1-0123456789abcdef.patch")).is_some());
        for bad in [
            format!("{stem}.from-1.0.0-0123456789abcde.patch"),
            format!("{stem}.from-1.0.0-0123456789ABCDEF.patch"),
            format!("{stem}.from-01.0.0-0123456789abcdef.patch"),
            format!("{stem}.from-v1.0.0-0123456789abcdef.patch"),
            format!("{stem}.from-1.0.0-0123456789abcdef.patch.sig"),
            format!("{stem}.FROM-1.0.0-0123456789abcdef.patch"),
            format!("a/{stem}.from-1.0.0-0123456789abcdef.patch"),
            "exuvia-x86_64-unknown-linux-musl.from-1.0.0-0123456789abcdef.patch".to_owned(),
        ] {
            assert!(parse(&bad).is_none(), "{bad}");
        }
    }
}
