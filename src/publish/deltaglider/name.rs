use crate::types::{ArchiveFormat, Packing, Product, ReleaseId, Target, VersionError};

/// Why an object is no release that is asked for. It is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARelease {
    /// Not an archive of a kind that is read.
    #[error("its name ends neither with .tar nor with .tar.gz, .tgz or .tar.zst")]
    NoTar,
    /// Does not begin with the product.
    #[error("its name does not begin with \"{0}-\"")]
    OtherProduct(Product),
    /// What follows the product is no version.
    #[error("what follows \"{product}-\" in its name is no version: it {reason}")]
    NoVersion {
        /// The product.
        product: Product,
        /// What is wrong with it.
        reason: VersionError,
    },
    /// A version with hyphens, or one for a target: nobody can tell.
    #[error(
        "its name says another target than {0}, or a version with hyphens, which cannot be told apart. Import other targets with a --target of their own"
    )]
    OtherTarget(Target),
}

const ENDINGS: [(&str, Packing); 4] = [
    (".tar", Packing::Tar),
    (".tar.gz", Packing::Compressed(ArchiveFormat::TarGz)),
    (".tgz", Packing::Compressed(ArchiveFormat::TarGz)),
    (".tar.zst", Packing::Compressed(ArchiveFormat::TarZst)),
];

/// The release that a file name stands for: `PRODUCT-VERSION[-TARGET].tar`, `.tar.gz`, `.tgz` or `.tar.zst`.
///
/// A name without a target is of the one that is asked for. A version may have one pre-release part
/// (`1.0.0-rc.1`); what has more hyphens and does not end with the target might be another target's.
pub(super) fn release(name: &str, product: &Product, target: &Target) -> Result<(ReleaseId, Packing), NotARelease> {
    let (stem, packing) = ENDINGS
        .into_iter()
        .find_map(|(ending, packing)| Some((name.strip_suffix(ending)?, packing)))
        .ok_or(NotARelease::NoTar)?;
    let rest = stem.strip_prefix(product.as_str()).and_then(|rest| rest.strip_prefix('-'));
    let rest = rest.ok_or_else(|| NotARelease::OtherProduct(product.clone()))?;
    let own = rest.strip_suffix(target.as_str()).and_then(|rest| rest.strip_suffix('-'));
    let version = own.unwrap_or(rest);
    if version.matches('-').count() > 1 {
        return Err(NotARelease::OtherTarget(target.clone()));
    }
    let refused = |reason| NotARelease::NoVersion { product: product.clone(), reason };
    let version = version.parse().map_err(refused)?;
    Ok((ReleaseId { product: product.clone(), version, target: target.clone() }, packing))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Result<(String, Packing), NotARelease> {
        let (product, target) = ("node".parse().unwrap(), "x86_64-unknown-linux-gnu".parse().unwrap());
        release(name, &product, &target).map(|(id, packing)| (id.version.to_string(), packing))
    }

    #[test]
    fn a_name_says_which_release_it_is_or_that_it_is_none() {
        let gz = Packing::Compressed(ArchiveFormat::TarGz);
        for (name, version, packing) in [
            ("node-1.0.0.tar", "1.0.0", Packing::Tar),
            ("node-1.0.0.tar.gz", "1.0.0", gz),
            ("node-1.0.0.tgz", "1.0.0", gz),
            ("node-1.0.0-rc.1.tar.zst", "1.0.0-rc.1", Packing::Compressed(ArchiveFormat::TarZst)),
            ("node-1.0.0-x86_64-unknown-linux-gnu.tar", "1.0.0", Packing::Tar),
            ("node-1.0.0-rc.1-x86_64-unknown-linux-gnu.tar", "1.0.0-rc.1", Packing::Tar),
        ] {
            assert_eq!(read(name), Ok((version.to_owned(), packing)), "{name}");
        }
        for name in ["node-1.0.0.tar.sha256", "node-1.0.0", "node-1.0.0.tar.xz", ""] {
            assert_eq!(read(name), Err(NotARelease::NoTar), "{name}");
        }
        for name in ["nodes-1.0.0.tar", "node.tar", "Node-1.0.0.tar", "../node-1.0.0.tar", ".tar"] {
            assert!(matches!(read(name), Err(NotARelease::OtherProduct(_))), "{name}");
        }
        for name in ["node-.tar", "node-1.tar", "node-1.0.0+b.tar", "node-1.0.0/../x.tar", "node-latest.tar"] {
            assert!(matches!(read(name), Err(NotARelease::NoVersion { .. })), "{name}");
        }
        // As a version this would be a pre-release, and its program would not start.
        assert!(matches!(read("node-1.0.0-aarch64-unknown-linux-gnu.tar"), Err(NotARelease::OtherTarget(_))));
    }
}
