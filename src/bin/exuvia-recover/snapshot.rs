use std::path::PathBuf;

use clap::{Args, ValueEnum};
use exuvia::console::{Bar, ToolError, say, say_json};
use exuvia::snapshot::{
    Expectations, Identity, UntrustedSnapshot, VerifiedSnapshot, Whose, read_identities, read_trusted_keys,
};
use exuvia::sys::{Loose, PrivateDir};
use exuvia::types::{NodeId, Product};

/// What a snapshot says of itself; nothing of it is verified
#[derive(Args)]
pub(crate) struct Inspect {
    /// The snapshot
    file: PathBuf,
}

/// Which format a file has.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A snapshot of this program
    Exuvia,
    /// A stigmem snapshot, version 1
    StigmemV1,
}

/// Check a snapshot: signature, lengths, digests. Ends with 4 when it does not hold
#[derive(Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    which: Which,
    /// The format of the file
    #[arg(long, value_enum, default_value = "exuvia")]
    format: Format,
}

/// Check a snapshot, open its seal and unpack it into a new folder
#[derive(Args)]
pub(crate) struct Open {
    #[command(flatten)]
    which: Which,
    /// What opens the seal: a file that `age-keygen` made, or the node's trust/snapshot.identity. May be repeated
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// The new folder (0700), which must not be there yet
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

#[derive(Args)]
struct Which {
    /// The snapshot
    file: PathBuf,
    /// The keys that may have signed it: PEM texts, one behind the other; a node keeps its own in trust/snapshot.pem
    #[arg(long, value_name = "FILE")]
    trusted_keys: PathBuf,
    /// The node that it must be of [default: any that a trusted key signs for]
    #[arg(long, value_name = "ID")]
    node_id: Option<NodeId>,
    /// The product of that node
    #[arg(long, value_name = "NAME", default_value = "exuvia")]
    product: Product,
}

type Outcome = Result<(), Box<dyn ToolError>>;

impl Inspect {
    pub(crate) fn run(self, json: bool) -> Outcome {
        let manifest = UntrustedSnapshot::open(&self.file)?.claims()?;
        if json {
            say_json(&serde_json::json!({ "verified": false, "manifest": manifest }));
        } else {
            say(&format!("{} says of itself, unverified:\n{manifest}", self.file.display()));
        }
        Ok(())
    }
}

impl Which {
    fn verify(&self) -> Result<VerifiedSnapshot, Box<dyn ToolError>> {
        let keys = read_trusted_keys(&self.trusted_keys)?;
        let whose = self.node_id.as_ref().map_or(Whose::AnyNode, |node| Whose::Node(&self.product, node));
        let expected = Expectations { keys: &keys, whose, id: None, digest: None };
        let snapshot = UntrustedSnapshot::open(&self.file)?;
        let bar = Bar::new("check", snapshot.length());
        Ok(snapshot.verify(&expected, &mut |_, bytes| bar.advance(bytes))?)
    }
}

impl Verify {
    pub(crate) fn run(self, json: bool) -> Outcome {
        if self.format == Format::StigmemV1 {
            return crate::foreign::verify(&self.which.file, &self.which.trusted_keys, json);
        }
        let verified = self.which.verify()?;
        if json {
            say_json(&serde_json::json!({
                "verified": true, "key": verified.key(), "sha256": verified.digest(), "manifest": verified.manifest(),
            }));
        } else {
            let manifest = verified.manifest();
            say(&format!("{} verifies: signed by {}\n{manifest}", self.which.file.display(), verified.key()));
        }
        Ok(())
    }
}

impl Open {
    pub(crate) fn run(self, json: bool) -> Outcome {
        let mut verified = self.which.verify()?;
        let mut identities: Vec<Identity> = Vec::new();
        for file in &self.identity {
            identities.extend(read_identities(file)?);
        }
        let identities: Vec<_> = identities.iter().collect();
        let out = PrivateDir::create_new(&self.out, Loose::RefuseWritable)?;
        let bar = Bar::new("unpack", verified.manifest().bytes());
        let plain = |role: &exuvia::snapshot::Role| (role.to_string(), 0o600);
        if let Err(error) = verified.unpack(&out, &identities, &plain, &mut |_, bytes| bar.advance(bytes)) {
            out.remove_itself()?;
            return Err(error.into());
        }
        drop(bar);
        let files: Vec<_> = verified.manifest().files.iter().map(|file| self.out.join(file.role.as_str())).collect();
        if json {
            say_json(&serde_json::json!({ "verified": true, "key": verified.key(), "files": files }));
        } else {
            for file in files {
                say(&file.display().to_string());
            }
        }
        Ok(())
    }
}
