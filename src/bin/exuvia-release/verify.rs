use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use exuvia::publish::{Bar, Exit, check_tree, fail, read_keyring, say, say_json};
use exuvia::types::Product;
use serde_json::json;

/// Check a published tree as a node would, and say everything that is wrong with it.
///
/// Reads the listing, finds each archive by its exact name, verifies its signatures, extracts it
/// into a temporary folder under a node's rules, applies each patch, and compares SHA256SUMS. The tree is not changed.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  exuvia-release verify site --key keys/2026-a.pem --key keys/2026-b.pem")]
pub(crate) struct Verify {
    /// The published tree: the folder that holds releases.json.
    tree: PathBuf,
    /// A public key to accept. Repeat it for more than one; any of them suffices.
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// A product that the tree publishes, where its listing does not say so. May be repeated.
    #[arg(long, value_name = "NAME")]
    product: Vec<Product>,
}

impl Verify {
    pub(crate) fn run(self, json: bool) -> ExitCode {
        let keys = match read_keyring(&self.key) {
            Ok(keys) => keys,
            Err(error) => return fail(&error, json),
        };
        let bar = Bar::counting("checking");
        let outcome = check_tree(&self.tree, &keys, &self.product, &mut |n| bar.advance(n));
        drop(bar);
        let report = match outcome {
            Ok(report) => report,
            Err(error) => return fail(&error, json),
        };
        if json {
            let good: Vec<_> = report
                .good
                .iter()
                .map(|good| {
                    json!({
                        "binary_sha256": good.binary,
                        "fingerprint": good.key,
                        "length": good.length,
                        "patches_from": good.patches,
                        "release": good.id,
                    })
                })
                .collect();
            let problems: Vec<_> = report
                .problems
                .iter()
                .map(|problem| json!({ "at": problem.at, "reason": problem.reason.to_string() }))
                .collect();
            say_json(&json!({ "good": good, "ignored": report.ignored, "problems": problems }));
        } else {
            for good in &report.good {
                say(&format!("good     {}, signed by {}", good.id, good.key));
                for from in &good.patches {
                    say(&format!("good     {}, by a patch from {from}", good.id));
                }
            }
            for ignored in &report.ignored {
                say(&format!("ignored  {ignored}"));
            }
            for problem in &report.problems {
                say(&format!("WRONG    {problem}"));
            }
        }
        if report.problems.is_empty() {
            return ExitCode::SUCCESS;
        }
        eprintln!(
            "error: {} problem(s) in {}. Do not serve this tree: repair it, or publish a new version.",
            report.problems.len(),
            self.tree.display()
        );
        Exit::Verification.into()
    }
}
