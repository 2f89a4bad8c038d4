//! A process that a launcher has beside its workers, for a short time: started from what is known to be good,
//! heard, and ended with whatever it started.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::worker::Tail;
use crate::sys::{ChildPid, Exit, OutputPipe, Piece, kill_marked};

#[derive(Debug)]
pub(super) struct Beside {
    pid: ChildPid,
    marker: String,
    output: Option<OutputPipe>,
    tail: Tail,
    exit: Option<Exit>,
}

/// Pieces of output that are read at a time: more would keep the launcher from its work.
const PIECES: usize = 16;

impl Beside {
    /// Starts it: `spawn` gets the variable by which it and its children are known, and where its output goes.
    pub(super) fn start(
        mark: &'static str,
        spawn: impl FnOnce((&'static str, OsString), &OwnedFd) -> io::Result<ChildPid>,
    ) -> io::Result<Self> {
        let (output, theirs) = OutputPipe::new()?;
        let mut random = [0; 12];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let id = hex::encode(random);
        let pid = spawn((mark, OsString::from(&id)), &theirs)?;
        Ok(Self { pid, marker: format!("{mark}={id}"), output: Some(output), tail: Tail::default(), exit: None })
    }

    /// Its pid, for as long as it is not reaped.
    pub(super) fn pid(&self) -> Option<ChildPid> {
        self.exit.is_none().then_some(self.pid)
    }

    /// What it writes.
    pub(super) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// How it ended, if it did.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// A child was reaped: whether it was this one.
    pub(super) fn note_exit(&mut self, pid: ChildPid, exit: Exit) -> bool {
        let own = self.pid == pid && self.exit.is_none();
        if own {
            self.exit = Some(exit);
        }
        own
    }

    /// Reads what it wrote since, as much as is read at a time.
    pub(super) fn read(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        let mut piece = [0; 4096];
        for _ in 0..PIECES {
            let Some(output) = &self.output else { break };
            match output.read_now(&mut piece) {
                Piece::Bytes(n) => {
                    self.tail.push(&piece[..n]);
                    read.extend_from_slice(&piece[..n]);
                }
                Piece::Nothing => break,
                Piece::End => self.output = None,
            }
        }
        read
    }

    /// The last line that it wrote, for a sentence.
    pub(super) fn last_words(&self) -> String {
        let text = self.tail.text();
        let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let plain: String = line.trim().chars().filter(|c| !c.is_control()).take(300).collect();
        if plain.is_empty() { plain } else { format!(": {plain}") }
    }

    /// Ends it with all that it started. `children` are this launcher's own.
    pub(super) fn end(self, children: &[ChildPid]) {
        if self.exit.is_none() {
            self.pid.kill_group();
        }
        let _ = kill_marked(&self.marker, children);
    }
}
