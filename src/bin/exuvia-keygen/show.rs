use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use exuvia::publish::{AnyKey, fail, read_any_key, say, say_json};
use serde_json::{Map, Value};

use crate::release_args::OptionalReleaseArgs;

/// Show what a key file holds: its kind and its fingerprint, never private material.
///
/// With --product, --version and --target also the context string of such a signature, and the
/// command that checks it with OpenSSL (3.5 or newer) instead of this program.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  \
    exuvia-keygen show keys/2026-a.pem --product exuvia --version 1.4.0 --target x86_64-unknown-linux-gnu")]
pub(crate) struct Show {
    /// A public or private key.
    key: PathBuf,
    /// The file that is to be checked by hand [default: the archive's usual name].
    #[arg(requires = "product")]
    file: Option<PathBuf>,
    #[command(flatten)]
    release: OptionalReleaseArgs,
}

impl Show {
    pub(crate) fn run(self, json: bool) -> ExitCode {
        let key = match read_any_key(&self.key) {
            Ok(key) => key,
            Err(error) => return fail(&error, json),
        };
        let kind = match key {
            AnyKey::Public(_) => "public",
            AnyKey::Private(_) => "private",
        };
        let mut facts = vec![("key", format!("ML-DSA-65, {kind}")), ("fingerprint", key.public().id().to_string())];
        if let Some(release) = self.release.given() {
            let public = match key {
                AnyKey::Public(_) => self.key.clone(),
                AnyKey::Private(_) => self.key.with_extension("pem"),
            };
            let file = self.file.unwrap_or_else(|| release.example_file().into());
            let context = release.context().to_string();
            facts.push(("check", openssl(&public, &file, &context)));
            facts.insert(2, ("context", context));
        }
        if json {
            let object: Map<_, _> =
                facts.into_iter().map(|(name, fact)| (name.to_owned(), Value::String(fact))).collect();
            say_json(&object);
        } else {
            for (name, fact) in facts {
                match name {
                    "check" => say(&format!("\nTo check a signature by hand, with OpenSSL 3.5 or newer:\n\n  {fact}")),
                    name => say(&format!("{name:<12} {fact}")),
                }
            }
        }
        ExitCode::SUCCESS
    }
}

fn openssl(key: &Path, file: &Path, context: &str) -> String {
    let signature = crate::sign::signature_path(file);
    format!(
        "openssl pkeyutl -verify -rawin -pubin -inkey {} -in {} -sigfile {} -pkeyopt context-string:{context}",
        quoted(key),
        quoted(file),
        quoted(&signature)
    )
}

/// As a POSIX shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
