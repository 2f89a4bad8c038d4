use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// Another implementation, in a process that answers questions until it is dropped.
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// python-tuf.
    pub fn start() -> Self {
        let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
        let python = std::env::var_os("EXUVIA_PYTHON").map_or(default, PathBuf::from);
        assert!(python.exists(), "there is no {}: run scripts/setup-python first", python.display());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tuf/peer.py");
        let mut command = Command::new(python);
        command.args(["-B", script]);
        Self::of(command)
    }

    /// A program that speaks as `peer.py` does.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the peer starts");
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// The answer, or what python says is wrong.
    pub fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{request}").unwrap();
        input.flush().unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the peer has gone: run scripts/setup-python, then look above");
        let answer: Value = serde_json::from_str(&line).unwrap();
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap().to_owned()),
            None => Ok(answer),
        }
    }

    pub fn bytes(&mut self, request: &Value, field: &str) -> Result<Vec<u8>, String> {
        self.ask(request).map(|answer| hex::decode(answer[field].as_str().unwrap()).unwrap())
    }

    /// How many of the steps succeed, and what is wrong with the next one.
    pub fn update(&mut self, steps: &[(String, Vec<u8>)], now: &str) -> (usize, String) {
        let steps: Vec<_> = steps.iter().map(|(name, bytes)| json!([name, hex::encode(bytes)])).collect();
        let answer = self.ask(&json!({ "verb": "update", "steps": steps, "now": now })).unwrap();
        let done = usize::try_from(answer["done"].as_u64().unwrap()).unwrap();
        (done, answer["why"].as_str().unwrap_or_default().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Without input it ends by itself.
        self.input.take();
        let _ = self.child.wait();
    }
}
