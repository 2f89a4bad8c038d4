use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use exuvia::publish::{fail, read_keyring, say, say_json, verify_file};
use serde_json::json;

use crate::release_args::ReleaseArgs;
use crate::sign::{bar_for, signature_path};

/// Verify a file against its signature. Ends with 4 when no named key signed exactly this.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-keygen verify --key keys/2026-a.pem --product exuvia --version 1.4.0 \\\n    \
    --target x86_64-unknown-linux-gnu exuvia-x86_64-unknown-linux-gnu.tar.zst")]
pub(crate) struct Verify {
    /// A public key to accept. Repeat it for more than one; any of them suffices.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    #[command(flatten)]
    release: ReleaseArgs,
    /// The file to verify.
    file: PathBuf,
    /// Its signature [default: FILE.sig].
    #[arg(long, value_name = "FILE")]
    sig: Option<PathBuf>,
}

impl Verify {
    pub(crate) fn run(self, json: bool) -> ExitCode {
        let keys = match read_keyring(&self.key) {
            Ok(keys) => keys,
            Err(error) => return fail(&error, json),
        };
        let context = self.release.context();
        let signature = self.sig.unwrap_or_else(|| signature_path(&self.file));
        let bar = bar_for("verifying", &self.file, self.key.len() as u64);
        let outcome = verify_file(&keys, &context, &self.file, &signature, &mut |n| bar.advance(n));
        drop(bar);
        let verified = match outcome {
            Ok(verified) => verified,
            Err(error) => return fail(&error, json),
        };
        if json {
            say_json(&json!({
                "context": context.to_string(),
                "file": self.file.display().to_string(),
                "fingerprint": verified.key,
                "length": verified.length,
                "verified": true,
            }));
        } else {
            say(&format!("{} verifies: signed as {context} by {}.", self.file.display(), verified.key));
        }
        ExitCode::SUCCESS
    }
}
