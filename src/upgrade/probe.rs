use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::describe::SelfDescription;
use crate::config::{ConfigFile, HANDED_FILES, hand_files};
use crate::install::Binary;
use crate::launcher::Dialect;
use crate::sys::{Exit, Program, Ran, blames_host, run_bounded};
use crate::types::{Overlap, ReleaseId, StateEpochs};

/// Why a candidate is not even tried.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The system refuses to execute it.
    #[error("it cannot be executed here: {source}{}", hint(.source))]
    Execute {
        /// What the system says.
        source: io::Error,
    },
    /// It ended otherwise than with success.
    #[error("asked to {task}, it ended with {exit}{}", said(output))]
    Ended {
        /// What it was asked.
        task: &'static str,
        /// How it ended.
        exit: Exit,
        /// The end of what it wrote.
        output: String,
    },
    /// It did not end.
    #[error("asked to {task}, it did not answer within {}", span(*patience))]
    Hangs {
        /// What it was asked.
        task: &'static str,
        /// The time it had.
        patience: Duration,
    },
    /// It says nothing that can be read.
    #[error("asked to describe itself, it answered no description: {0}")]
    Unreadable(serde_json::Error),
    /// The launcher that runs and this candidate would not understand each other.
    #[error(
        "it speaks launcher protocol {theirs}, and the version that runs speaks {ours}; go by a release in between that \
         speaks both"
    )]
    Protocol {
        /// What the running version understands.
        ours: Dialect,
        /// What the candidate understands.
        theirs: Dialect,
    },
    /// It is something else than its signature says.
    #[error("it was signed as {signed}, and says that it is {found}")]
    SomethingElse {
        /// What the signature says.
        signed: Box<ReleaseId>,
        /// What the program says.
        found: Box<ReleaseId>,
    },
}

fn said(output: &str) -> String {
    if output.is_empty() { ", and wrote nothing".to_owned() } else { format!(": {output}") }
}

impl ProbeError {
    /// Whether this host, and not the candidate, is why it was not executed: a mount that forbids it, or
    /// nothing left to execute it with.
    #[must_use]
    pub fn blames_host(&self) -> bool {
        matches!(self, Self::Execute { source } if blames_host(source))
    }

    /// Whether somebody else ended it: an operator, a stop, or a kernel without memory.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        matches!(self, Self::Ended { exit: Exit::Signal(2 | 9 | 15), .. })
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; look whether the install folder is mounted noexec (`doctor`)",
        _ => "",
    }
}

fn span(span: Duration) -> String {
    format!("{} s", span.as_secs_f32())
}

const OUTPUT_LIMIT: u64 = 64 * 1024;
/// Marks what a probed candidate starts, so that it ends with it.
const MARKER: &str = "EXUVIA_INTERNAL_PROBE";

/// What a candidate says of itself that matters for its trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probed {
    /// Whether it may run beside another version.
    pub(super) overlap: Overlap,
    /// The epochs of the job's state that it understands.
    pub(super) state: Option<StateEpochs>,
}

/// Asks the candidate, from its own place, who it is, and has it rehearse a launcher's start.
pub(super) fn probe(
    binary: &Binary,
    id: &ReleaseId,
    options: &[OsString],
    files: Option<&[ConfigFile]>,
    patience: Duration,
) -> Result<Probed, ProbeError> {
    let probed = describe(binary, id, patience)?;
    let rehearsal: Vec<OsString> = options.iter().cloned().chain(["rehearse".into()]).collect();
    let handed = files.map(hand_files).transpose().map_err(|source| ProbeError::Execute { source })?;
    ask(binary, "rehearse its start", &rehearsal, handed, patience)?;
    Ok(probed)
}

/// Asks the candidate who it is, and whether it and the launcher that runs understand each other.
pub(super) fn describe(binary: &Binary, id: &ReleaseId, patience: Duration) -> Result<Probed, ProbeError> {
    let ran = ask(binary, "describe itself", &["self-describe".into(), "--json".into()], None, patience)?;
    let description: SelfDescription = serde_json::from_slice(&ran.stdout).map_err(ProbeError::Unreadable)?;
    if !description.is(id) {
        let SelfDescription { product, version, target, .. } = description;
        let found = Box::new(ReleaseId { product, version, target });
        return Err(ProbeError::SomethingElse { signed: Box::new(id.clone()), found });
    }
    let theirs = description.dialect();
    if !Dialect::OURS.understands(theirs) {
        return Err(ProbeError::Protocol { ours: Dialect::OURS, theirs });
    }
    Ok(Probed { overlap: description.overlap, state: description.state })
}

fn ask(
    binary: &Binary,
    task: &'static str,
    args: &[OsString],
    files: Option<OwnedFd>,
    patience: Duration,
) -> Result<Ran, ProbeError> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| ProbeError::Execute { source: io::Error::other(error) })?;
    let mut env = vec![(MARKER, OsString::from(hex::encode(random)))];
    env.extend(files.is_some().then(|| (HANDED_FILES, "1".into())));
    let program = Program {
        handle: binary.file(),
        name: binary.path().as_os_str(),
        args,
        env: &env,
        hidden_env: &["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"],
    };
    let ran = run_bounded(&program, MARKER, files, patience, OUTPUT_LIMIT);
    let ran = ran.map_err(|source| ProbeError::Execute { source })?;
    match ran.exit {
        Some(Exit::Code(0)) => Ok(ran),
        Some(exit) => {
            let text = String::from_utf8_lossy(&ran.stderr);
            let output = text.trim().chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
            Err(ProbeError::Ended { task, exit, output })
        }
        None => Err(ProbeError::Hangs { task, patience }),
    }
}
