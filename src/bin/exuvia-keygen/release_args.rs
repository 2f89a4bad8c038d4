use clap::{Args, ValueEnum};
use exuvia::crypto::{Context, Release};
use exuvia::types::{Product, ReleaseId, Target, Version};

/// What the signature is bound to.
#[derive(Args)]
pub(crate) struct ReleaseArgs {
    /// The product that the file belongs to: 1 to 32 of a-z, 0-9 and '-'.
    #[arg(long, value_name = "NAME")]
    product: Product,
    /// Its version: semantic, without build metadata, such as 1.4.0 or 2.0.0-rc.1.
    #[arg(long, value_name = "VERSION")]
    version: Version,
    /// The exact target triple that it was built for, such as x86_64-unknown-linux-gnu.
    #[arg(long, value_name = "TRIPLE")]
    target: Target,
    /// What the file is: the archive as it is downloaded, or the tar inside it, uncompressed.
    #[arg(long, value_enum, default_value = "archive")]
    purpose: Purpose,
}

/// The same, where it may be left out: all of it, or nothing.
#[derive(Args)]
pub(crate) struct OptionalReleaseArgs {
    /// The product that the file belongs to.
    #[arg(long, value_name = "NAME", requires_all = ["version", "target"])]
    product: Option<Product>,
    /// Its version.
    #[arg(long, value_name = "VERSION", requires_all = ["product", "target"])]
    version: Option<Version>,
    /// The exact target triple that it was built for.
    #[arg(long, value_name = "TRIPLE", requires_all = ["product", "version"])]
    target: Option<Target>,
    /// What the file is: the archive as it is downloaded, or the tar inside it, uncompressed.
    #[arg(long, value_enum, default_value = "archive")]
    purpose: Purpose,
}

impl OptionalReleaseArgs {
    pub(crate) fn given(self) -> Option<ReleaseArgs> {
        let Self { product: Some(product), version: Some(version), target: Some(target), purpose } = self else {
            return None;
        };
        Some(ReleaseArgs { product, version, target, purpose })
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Purpose {
    Archive,
    Tar,
}

impl ReleaseArgs {
    pub(crate) fn id(&self) -> ReleaseId {
        ReleaseId { product: self.product.clone(), version: self.version.clone(), target: self.target.clone() }
    }

    pub(crate) fn context(&self) -> Context<Release> {
        match self.purpose {
            Purpose::Archive => Context::archive(&self.id()),
            Purpose::Tar => Context::tar(&self.id()),
        }
    }

    /// A plausible name for the signed file, where none was given.
    pub(crate) fn example_file(&self) -> String {
        let stem = self.id().asset_stem();
        match self.purpose {
            Purpose::Archive => format!("{stem}.tar.zst"),
            Purpose::Tar => format!("{stem}.tar"),
        }
    }
}
