use std::path::{Path, PathBuf};

use clap::Args;
use exuvia::console::{ToolError, say, say_json};
use exuvia::recovery::{Imported, TrustList, import_stigmem, verify_stigmem};
use exuvia::sys::{Dir, OperatorFile};
use exuvia::types::ByteLimit;

/// Check a stigmem snapshot, and write its database as a new file
#[derive(Args)]
pub(crate) struct Import {
    /// The snapshot (.tar.gz)
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The keys that may have signed it: a JSON array of base64url Ed25519 keys
    #[arg(long, value_name = "FILE")]
    trusted_keys: PathBuf,
    /// The database to write, which must not be there yet
    #[arg(long, value_name = "DB")]
    out: PathBuf,
    /// Accept no longer database
    #[arg(long, value_name = "SIZE", default_value = "64GiB")]
    max_size: ByteLimit,
}

/// The longest snapshot that is opened: 64 GiB.
const LONGEST: ByteLimit = ByteLimit::mib(64 << 10);

type Outcome = Result<(), Box<dyn ToolError>>;

impl Import {
    pub(crate) fn run(self, json: bool) -> Outcome {
        let trusted = TrustList::read(&self.trusted_keys)?;
        let (dir, name) = Dir::parent_of_operator_file(&self.out)?;
        let file = OperatorFile::open(&self.from, LONGEST)?;
        let imported = import_stigmem(file, &trusted, self.max_size, (&dir, &name))?;
        tell(&imported, Some(&self.out), json);
        Ok(())
    }
}

pub(crate) fn verify(file: &Path, trusted_keys: &Path, json: bool) -> Outcome {
    let trusted = TrustList::read(trusted_keys)?;
    let imported = verify_stigmem(OperatorFile::open(file, LONGEST)?, &trusted, LONGEST)?;
    tell(&imported, None, json);
    Ok(())
}

fn tell(imported: &Imported, out: Option<&Path>, json: bool) {
    let Imported { node_id, created_at, database, length, migrations } = imported;
    if json {
        return say_json(&serde_json::json!({
            "verified": true, "node_id": node_id, "created_at": created_at, "sha256": database, "length": length,
            "migrations": migrations, "out": out,
        }));
    }
    // Both texts are somebody else's: control characters stay visible.
    let (node, time) = (node_id.escape_debug(), created_at.escape_debug());
    say(&format!(
        "verifies: node {node}, taken {time}, {length} bytes, {} migrations, sha256:{database}",
        migrations.len()
    ));
    if let Some(out) = out {
        say(&out.display().to_string());
    }
}
