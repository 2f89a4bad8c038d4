use std::path::PathBuf;

use clap::{Args, ValueEnum};
use exuvia::console::{ToolError, say, say_json};
use exuvia::recovery::{BackupyKey, decrypt_backupy};
use exuvia::sys::{Dir, OperatorFile};
use exuvia::types::{ByteLimit, Sha256Digest};

/// Which encrypted format a file has.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// The Backupy chunk stream, version 1
    BackupyV1,
}

/// Decrypt what another system encrypted, into a new file
#[derive(Args)]
pub(crate) struct Decrypt {
    /// The format of the file
    #[arg(long, value_enum)]
    format: Format,
    /// The key: 32 bytes, raw or as 64 hexadecimal digits
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// SHA-256 of the whole encrypted file. Without it, nobody can tell whether parts were moved or dropped
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256Digest>,
    /// Decompress what is inside
    #[arg(long)]
    zstd: bool,
    /// The encrypted file
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// The file to write, which must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write no more than this
    #[arg(long, value_name = "SIZE", default_value = "64GiB")]
    max_size: ByteLimit,
}

impl Decrypt {
    pub(crate) fn run(self, json: bool) -> Result<(), Box<dyn ToolError>> {
        let Format::BackupyV1 = self.format;
        let key = BackupyKey::read(&self.key_file)?;
        let (dir, name) = Dir::parent_of_operator_file(&self.out)?;
        let input = OperatorFile::open(&self.input, ByteLimit::bytes(1 << 62))?;
        let done = decrypt_backupy(&key, self.sha256, input.file, self.zstd, self.max_size, (&dir, &name))?;
        let complete = self.sha256.is_some();
        if json {
            say_json(&serde_json::json!({
                "out": self.out, "length": done.length, "stream_sha256": done.stream,
                "order_and_completeness": if complete { "verified" } else { "not verified" },
            }));
            return Ok(());
        }
        if !complete {
            eprintln!(
                "warning: every frame is authentic, but this format does not protect their order and number: \
                 parts may be missing, repeated or moved. Compare {} with what the backup's owner noted, or give --sha256",
                done.stream
            );
        }
        say(&format!("{}: {} bytes", self.out.display(), done.length));
        Ok(())
    }
}
