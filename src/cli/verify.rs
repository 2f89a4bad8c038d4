use std::path::PathBuf;
use std::process::ExitCode;

use super::args::{Cli, Verify};
use super::error::CliError;
use super::session::{for_operator, trusted};
use crate::console::{Bar, say, say_json};
use crate::crypto::{Context, Signature, VerifyError};
use crate::node::{App, Failure, FailureKind};
use crate::sys::{OperatorFile, SysError};
use crate::types::{ReleaseId, Target};

/// Checks a file against this program's own keys.
pub(super) fn verify(app: &App, cli: &Cli, args: &Verify) -> Result<ExitCode, CliError> {
    let settings = for_operator(app, cli)?;
    let target = args.target.clone().unwrap_or_else(Target::of_this_build);
    let id = ReleaseId { product: app.product()?, version: args.version.clone(), target };
    let sig = args.sig.clone().unwrap_or_else(|| {
        let mut path = args.file.clone().into_os_string();
        path.push(".sig");
        PathBuf::from(path)
    });
    let not_signed = || CliError::NotSigned { file: args.file.display().to_string(), release: id.to_string() };
    let bytes = OperatorFile::read(&sig, Signature::FILE_LIMIT)?;
    let signature = Signature::from_bytes(&bytes).map_err(|error| {
        let message =
            format!("{} is not a signature: {error}. Do not use the archive; fetch both again", sig.display());
        CliError::Node(Failure { kind: FailureKind::Verification, reason: "signature".to_owned(), message })
    })?;
    let context = Context::archive(&id);
    for key in trusted(app, &settings)?.keys() {
        let archive = OperatorFile::open(&args.file, settings.limits.archive)?;
        let bar = Bar::new("verify", archive.length);
        let mut reader = Counted { inner: archive.file, bar: &bar };
        match key.verify(&context, &mut reader, &signature) {
            Ok(()) => {
                drop(bar);
                if cli.json {
                    say_json(&serde_json::json!({ "verified": true, "key": key.id(), "context": context.to_string() }));
                } else {
                    say(&format!("{} is {id}, signed by {}", args.file.display(), key.id()));
                }
                return Ok(ExitCode::SUCCESS);
            }
            Err(VerifyError::NotSigned { .. }) => {}
            Err(VerifyError::Read(error)) => return Err(SysError::read_of(&args.file, error).into()),
        }
    }
    Err(not_signed())
}

struct Counted<'a> {
    inner: std::fs::File,
    bar: &'a Bar,
}

impl std::io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.bar.advance(n as u64);
        Ok(n)
    }
}
