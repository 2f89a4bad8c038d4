use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use exuvia::crypto::{Release, SecretKey};
use exuvia::publish::{self, Bar, Bases, KeyFileError, fail, read_secret_key, say, say_json};
use exuvia::types::{ArchiveFormat, Product, ReleaseId, Target, Version};
use serde_json::json;

/// Pack a binary, sign it, and add it to a published tree.
///
/// Makes OUT/VERSION/PRODUCT-TARGET.tar.zst, a signature of it, a signature of the tar inside it,
/// signed patches from the last versions in the tree, and SHA256SUMS, then lists the release in OUT/releases.json. The same binary makes the same archive,
/// byte for byte. What is published stays as it is: the same version and target with another content
/// is refused, and so is what a node would not extract. A run that fails leaves the tree as it was.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-release pack --binary target/release/exuvia --product exuvia --version 1.4.0 \\\n    \
    --target x86_64-unknown-linux-gnu --key keys/2026-a.key --out site\n\n\
    ENVIRONMENT\n  \
    SOURCE_DATE_EPOCH  seconds since 1970 to state as the time of publication, instead of now")]
pub(crate) struct Pack {
    /// The built program. It is not run.
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// The product: 1 to 32 of a-z, 0-9 and '-'. The file in the archive has this name.
    #[arg(long, value_name = "NAME")]
    product: Product,
    /// The version that the program states of itself.
    #[arg(long, value_name = "VERSION")]
    version: Version,
    /// The exact target triple that it was built for.
    #[arg(long, value_name = "TRIPLE")]
    target: Target,
    /// The private release key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The published tree. It is made where it is missing.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// How the archive is compressed.
    #[arg(long, value_enum, default_value = "zst")]
    format: Format,
    /// How hard: 1 to 22 for zst, 1 to 9 for gz [default: 19 and 9].
    #[arg(long, value_name = "N")]
    level: Option<u32>,
    /// Mark the release as a pre-release even though its version is none.
    #[arg(long)]
    prerelease: bool,
    /// Make patches from how many of the last versions in the tree. One that would not be smaller than
    /// half of the archive is left out.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=9))]
    patches: u8,
    /// A public key that may have signed those versions, beside the one that signs. May be repeated.
    #[arg(long, value_name = "FILE")]
    base_key: Vec<PathBuf>,
    /// Where people read about the release.
    #[arg(long, value_name = "URL")]
    notes_url: Option<url::Url>,
    /// Where the tree will be served [default: addresses relative to the listing].
    #[arg(long, value_name = "URL")]
    base_url: Option<url::Url>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    Zst,
    Gz,
}

impl From<Format> for ArchiveFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Zst => Self::TarZst,
            Format::Gz => Self::TarGz,
        }
    }
}

impl Pack {
    pub(crate) fn run(self, json: bool) -> ExitCode {
        let Some(published_at) = publication_time() else { return publish::Exit::Usage.into() };
        let (key, bases) = match (signing_key(&self.key), bases(self.patches, &self.base_key)) {
            (Ok(key), Ok(bases)) => (key, bases),
            (Err(error), _) | (_, Err(error)) => return fail(&error, json),
        };
        let plan = publish::Pack {
            id: ReleaseId { product: self.product, version: self.version, target: self.target },
            format: self.format.into(),
            level: self.level,
            prerelease: self.prerelease,
            notes_url: self.notes_url,
            base_url: self.base_url,
            published_at,
        };
        let bar = Bar::new("packing", publish::length_of(&self.binary).unwrap_or(0));
        let outcome = publish::pack_from(&plan, &bases, &key, &self.binary, &self.out, &mut |n| bar.advance(n));
        drop(bar);
        let packed = match outcome {
            Ok(packed) => packed,
            Err(error) => return fail(&error, json),
        };
        if json {
            say_json(&json!({
                "archive": packed.archive.display().to_string(),
                "fingerprint": packed.key,
                "length": packed.length,
                "new": packed.is_new,
                "patches": packed.patches.iter().map(|made| json!({ "from": made.from, "length": made.length }))
                    .collect::<Vec<_>>(),
                "patches_left_out": packed.left_out.iter().map(|left| json!({ "from": left.from, "reason": left.reason }))
                    .collect::<Vec<_>>(),
                "release": plan.id,
                "sha256": packed.digest,
            }));
        } else if packed.is_new {
            say(&format!(
                "Published {}.\n  archive      {} ({} bytes)\n  sha256       {}\n  fingerprint  {}",
                plan.id,
                packed.archive.display(),
                packed.length,
                packed.digest,
                packed.key
            ));
            for made in &packed.patches {
                say(&format!("  patch        from {} ({} bytes)", made.from, made.length));
            }
            for left in &packed.left_out {
                say(&format!("  no patch     from {}: {}", left.from, left.reason));
            }
        } else {
            say(&format!("{} is published already, with the same content; nothing changed.", plan.id));
        }
        ExitCode::SUCCESS
    }
}

/// The key that signs, with a warning where others may read it.
pub(crate) fn signing_key(path: &Path) -> Result<SecretKey<Release>, KeyFileError> {
    let (key, exposed) = read_secret_key(path)?;
    if exposed {
        eprintln!("warning: others may read {0}; run: chmod 600 {0}", path.display());
    }
    Ok(key)
}

/// Patches from so many versions, which these keys may have signed.
pub(crate) fn bases(versions: u8, keys: &[PathBuf]) -> Result<Bases, KeyFileError> {
    let keys = match keys {
        [] => Vec::new(),
        keys => publish::read_keyring(keys)?.keys().cloned().collect(),
    };
    Ok(Bases { versions: usize::from(versions), keys })
}

/// The convention of reproducible builds, else now. `None`, which was said, where the variable holds nonsense.
pub(crate) fn publication_time() -> Option<jiff::Timestamp> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().ok(),
        Err(_) => Some(jiff::Timestamp::now().as_second()),
    };
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    if time.is_none() {
        eprintln!("error: SOURCE_DATE_EPOCH is not a number of seconds since 1970; unset or correct it");
    }
    time
}
