use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use exuvia::publish::{fail, new_key_pair, say, say_json};
use serde_json::json;

/// Make a key pair: NAME.key (private, readable by its owner alone) and NAME.pem (public).
///
/// Neither file ever replaces another. The private key is a PKCS#8 seed without a password: whoever
/// reads it can sign for your fleet. Keep it on a machine or medium that you trust with that.
#[derive(Args)]
pub(crate) struct New {
    /// Where to write: a prefix (keys/2026-a makes keys/2026-a.key and keys/2026-a.pem), or a folder.
    #[arg(long, value_name = "PREFIX|FOLDER")]
    out: PathBuf,
}

impl New {
    pub(crate) fn run(self, json: bool) -> ExitCode {
        let made = match new_key_pair(&self.out) {
            Ok(made) => made,
            Err(error) => return fail(&error, json),
        };
        let (private, public) = (made.private.display(), made.public.display());
        if json {
            say_json(&json!({
                "fingerprint": made.id,
                "private": private.to_string(),
                "public": public.to_string(),
            }));
        } else {
            say(&format!(
                "Made a release key.\n  \
                 private      {private}\n  \
                 public       {public}\n  \
                 fingerprint  {id}\n\n\
                 Next:\n  \
                 1. Keep a copy of {private} where neither fire nor thieves reach it. It has no password.\n  \
                 2. Put {public} into the folder of pinned keys that your build names with EXUVIA_KEYS_DIR. A build\n     \
                 needs two keys at least, so that the next one is known before this one retires.\n  \
                 3. Sign with: exuvia-keygen sign --key {private} --product … --version … --target … FILE",
                id = made.id
            ));
        }
        ExitCode::SUCCESS
    }
}
