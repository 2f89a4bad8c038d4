//! Programs that tests put somewhere and then execute.

use std::path::Path;
use std::process::Command;

/// Copies a program by another process: a file that this one has open for writing when another thread
/// starts something is open there, too, for a moment, and cannot be executed (ETXTBSY).
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("--").args([from, to]).status().expect("cp runs");
    assert!(copied.success(), "cp {} {}", from.display(), to.display());
}
