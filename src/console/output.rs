use std::io::{self, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::exit::ToolError;

/// A progress bar over bytes, on standard error. Silent where that is not a terminal.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that ends at `total` bytes.
    #[must_use]
    pub fn new(label: &'static str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{msg:>9} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            .expect("the template is well formed")
            .progress_chars("=> ");
        bar.set_style(style);
        bar.set_message(label);
        Self(bar)
    }

    /// A counter of bytes, where nobody knows the total.
    #[must_use]
    pub fn counting(label: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(ProgressStyle::with_template("{msg:>9} {bytes} {bytes_per_sec}").expect("well formed"));
        bar.set_message(label);
        Self(bar)
    }

    /// So many bytes further.
    pub fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Takes the bar away while something else is printed.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Prints a line for people. A reader that went away is no failure.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints one JSON object on one line, for scripts.
pub fn say_json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => say(&text),
        Err(error) => eprintln!("error: cannot write JSON: {error}"),
    }
}

/// Reports what ended the program: a sentence on standard error and, where scripts read along, an
/// object on standard output.
pub fn fail(error: &dyn ToolError, json: bool) -> ExitCode {
    eprintln!("error: {error}");
    if json {
        say_json(&serde_json::json!({
            "error": error.to_string(),
            "exit": error.exit() as u8,
            "kind": error.kind(),
        }));
    }
    error.exit().into()
}
