use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use exuvia::publish::{Bar, fail, read_secret_key, say, say_json, sign_file};
use serde_json::json;

use crate::release_args::ReleaseArgs;

/// Sign a file for one product, version and target. Writes FILE.sig: 3,309 raw bytes.
///
/// The file is read once, in pieces, whatever its length. Two signatures of the same file differ,
/// because signing is randomised; both are good.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-keygen sign --key keys/2026-a.key --product exuvia --version 1.4.0 \\\n    \
    --target x86_64-unknown-linux-gnu exuvia-x86_64-unknown-linux-gnu.tar.zst")]
pub(crate) struct Sign {
    /// The private key, as made by `exuvia-keygen new`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    release: ReleaseArgs,
    /// The file to sign.
    file: PathBuf,
    /// Where to write the signature [default: FILE.sig].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `FILE.sig` for `FILE`.
pub(crate) fn signature_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

/// A bar for a pass over `file`; a file that cannot be examined is reported by the pass itself.
pub(crate) fn bar_for(label: &'static str, file: &Path, passes: u64) -> Bar {
    Bar::new(label, exuvia::publish::length_of(file).unwrap_or(0) * passes)
}

impl Sign {
    pub(crate) fn run(self, json: bool) -> ExitCode {
        let (key, exposed) = match read_secret_key(&self.key) {
            Ok(read) => read,
            Err(error) => return fail(&error, json),
        };
        if exposed {
            eprintln!("warning: others may read {0}; run: chmod 600 {0}", self.key.display());
        }
        let context = self.release.context();
        let out = self.out.unwrap_or_else(|| signature_path(&self.file));
        let bar = bar_for("signing", &self.file, 1);
        let outcome = sign_file(&key, &context, &self.file, &out, &mut |n| bar.advance(n));
        drop(bar);
        let signed = match outcome {
            Ok(signed) => signed,
            Err(error) => return fail(&error, json),
        };
        if json {
            say_json(&json!({
                "context": context.to_string(),
                "file": self.file.display().to_string(),
                "fingerprint": signed.key,
                "length": signed.length,
                "signature": out.display().to_string(),
            }));
        } else {
            say(&format!(
                "Signed {} ({} bytes).\n  signature    {}\n  context      {context}\n  fingerprint  {}",
                self.file.display(),
                signed.length,
                out.display(),
                signed.key
            ));
        }
        ExitCode::SUCCESS
    }
}
