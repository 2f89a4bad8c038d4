use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use exuvia::publish::deltaglider::{Aim, Fate, Import as Plan, Outcome, Shelf, import};
use exuvia::publish::{Bar, Exit, ToolError, fail, say, say_json};
use exuvia::types::{Product, Target};
use serde_json::{Value, json};

use crate::pack::{Format, bases, publication_time, signing_key};

/// Publish again, signed, the releases that DeltaGlider kept.
///
/// Reads a bucket of DeltaGlider, or a copy of one in a folder, recovers each release from its delta, holds it
/// against the SHA-256 and the length that its metadata state, takes the program out of its archive, and packs that as
/// `pack` does: the result is the same, byte for byte. What is published already is left as it is. Nothing is
/// written to the bucket.
///
/// A release is an object whose name is PRODUCT-VERSION.tar or PRODUCT-VERSION-TARGET.tar, also with .tar.gz, .tgz or
/// .tar.zst. Others are named and skipped. An object that cannot be recovered is named with the reason; the
/// others are imported all the same, and the run ends with an exit code other than 0.
///
/// Nothing in such a bucket is signed: who could write there chose what you are about to sign.
#[derive(Args)]
#[command(after_long_help = "EXAMPLES\n  \
    See what can be recovered, and publish nothing:\n    \
    exuvia-release import-deltaglider s3://releases/node --product node \\\n        \
    --target x86_64-unknown-linux-gnu --program node/bin/node --dry-run\n  \
    Publish it:\n    \
    exuvia-release import-deltaglider s3://releases/node --product node \\\n        \
    --target x86_64-unknown-linux-gnu --program node/bin/node --key keys/2026-a.key --out site\n\n\
    A FOLDER\n  \
    holds the objects under their names, and beside each its metadata in NAME.meta.json, as\n  \
    `aws s3api head-object` prints them: {\"Metadata\": {\"dg-file-sha256\": …}}\n\n\
    ENVIRONMENT\n  \
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL\n  \
    TMPDIR             where private copies lie: room for four of the longest archives\n  \
    SOURCE_DATE_EPOCH  seconds since 1970 to state as the time of publication, instead of now")]
pub(crate) struct Import {
    /// The folder, or `s3://BUCKET/PREFIX`.
    #[arg(value_name = "FROM")]
    from: String,
    /// The product, as objects' names begin with it: 1 to 32 of a-z, 0-9 and '-'.
    #[arg(long, value_name = "NAME")]
    product: Product,
    /// The exact target triple of objects whose name says none. Those of other targets are skipped.
    #[arg(long, value_name = "TRIPLE")]
    target: Target,
    /// The path of the program in each archive. What lies beside it is named, and not published.
    /// [default: the product's name, at the archive's root]
    #[arg(long, value_name = "PATH")]
    program: Option<String>,
    /// The private release key.
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    key: Option<PathBuf>,
    /// The published tree. It is made where it is missing.
    #[arg(long, value_name = "FOLDER", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Recover and check everything, and publish nothing.
    #[arg(long)]
    dry_run: bool,
    /// How the new archives are compressed.
    #[arg(long, value_enum, default_value = "zst")]
    format: Format,
    /// How hard: 1 to 22 for zst, 1 to 9 for gz [default: 19 and 9].
    #[arg(long, value_name = "N")]
    level: Option<u32>,
    /// Make patches from how many of the versions before each. One that would not be smaller than half of
    /// the archive is left out.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=9))]
    patches: u8,
    /// A public key that may have signed those versions, beside the one that signs. May be repeated.
    #[arg(long, value_name = "FILE")]
    base_key: Vec<PathBuf>,
    /// Where the tree will be served [default: addresses relative to the listing].
    #[arg(long, value_name = "URL")]
    base_url: Option<url::Url>,
}

impl Import {
    pub(crate) fn run(self, json: bool) -> ExitCode {
        let Some(published_at) = publication_time() else { return Exit::Usage.into() };
        let program = self.program.as_deref().unwrap_or(self.product.as_str());
        let plan = Plan {
            program: program.strip_prefix("./").unwrap_or(program).to_owned(),
            product: self.product,
            target: self.target,
            format: self.format.into(),
            level: self.level,
            base_url: self.base_url,
            published_at,
        };
        let desk = match (&self.key, &self.out) {
            (Some(key), Some(out)) if !self.dry_run => match (signing_key(key), bases(self.patches, &self.base_key)) {
                (Ok(key), Ok(bases)) => Some((key, bases, out)),
                (Err(error), _) | (_, Err(error)) => return fail(&error, json),
            },
            _ => None,
        };
        let aim = desk.as_ref().map_or(Aim::Try, |(key, bases, out)| Aim::Publish { key, bases, out });
        let place = match Shelf::open(&self.from) {
            Ok(place) => place,
            Err(error) => return fail(&error, json),
        };
        let bar = Bar::counting("importing");
        let mut told = |outcome: &Outcome| {
            if !json {
                bar.suspend(|| say_of(outcome));
            }
        };
        let outcomes = match import(&plan, aim, &place, &mut |n| bar.advance(n), &mut told) {
            Ok(outcomes) => outcomes,
            Err(error) => return fail(&error, json),
        };
        drop(bar);
        end(&outcomes, self.dry_run, json)
    }
}

/// One object, in words. Names and what lay beside are somebody else's: control characters stay visible.
fn say_of(Outcome { object, release, beside, fate }: &Outcome) {
    let object = object.escape_debug();
    let id = release.as_ref().map(ToString::to_string).unwrap_or_default();
    match fate {
        Fate::Recoverable => say(&format!("can be   {id}, from {object}")),
        Fate::Published(packed) if packed.is_new => {
            say(&format!("new      {id}, from {object}: {} ({} bytes)", packed.archive.display(), packed.length));
            for made in &packed.patches {
                say(&format!("         with a patch from {} ({} bytes)", made.from, made.length));
            }
        }
        Fate::Published(_) => say(&format!("same     {id}, from {object}: it is published already")),
        Fate::Skipped(reason) => say(&format!("skipped  {object}: {reason}")),
        Fate::Lost(reason) => say(&format!("LOST     {object}: {reason}")),
    }
    if let [one, rest @ ..] = beside.as_slice() {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        say(&format!("         without {one}{more}, which lay beside the program"));
    }
}

fn as_json(Outcome { object, release, beside, fate }: &Outcome) -> Value {
    let (fate, more) = match fate {
        Fate::Recoverable => ("recoverable", json!({})),
        Fate::Published(packed) => (
            if packed.is_new { "published" } else { "unchanged" },
            json!({
                "archive": packed.archive.display().to_string(), "fingerprint": packed.key, "length": packed.length,
                "sha256": packed.digest,
                "patches": packed.patches.iter().map(|made| json!({ "from": made.from, "length": made.length }))
                    .collect::<Vec<_>>(),
            }),
        ),
        Fate::Skipped(reason) => ("skipped", json!({ "reason": reason.to_string() })),
        Fate::Lost(reason) => ("lost", json!({ "reason": reason.to_string(), "kind": reason.kind() })),
    };
    let mut value = json!({ "object": object, "release": release, "beside": beside, "fate": fate });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn end(outcomes: &[Outcome], dry_run: bool, json: bool) -> ExitCode {
    let lost: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match &outcome.fate {
            Fate::Lost(reason) => Some(reason),
            _ => None,
        })
        .collect();
    if json {
        let objects: Vec<_> = outcomes.iter().map(as_json).collect();
        say_json(&json!({ "dry_run": dry_run, "lost": lost.len(), "objects": objects }));
    } else if outcomes.is_empty() {
        say("There is no object there; nothing was done.");
    }
    let Some(first) = lost.first() else { return ExitCode::SUCCESS };
    let rest = if dry_run { "Nothing was published" } else { "What could be recovered is published" };
    eprintln!(
        "error: {} of {} objects could not be imported; each is named with its reason. {rest}.",
        lost.len(),
        outcomes.len()
    );
    // What was tampered with or damaged weighs more than what may work the next time.
    let refused = lost.iter().any(|reason| reason.exit() == Exit::Verification);
    if refused { Exit::Verification.into() } else { first.exit().into() }
}
