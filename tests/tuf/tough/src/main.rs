//! What tough makes of metadata: one request a line (JSON) on standard input, one answer a line, as
//! `tests/tuf/peer.py` does for python-tuf. It judges by the time of this machine.

use std::collections::VecDeque;
use std::io::BufRead;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tough::{Bytes, RepositoryLoader, Transport, TransportError, TransportErrorKind, TransportStream, async_trait};
use url::Url;

/// The files of one update: roots in their order, the others by their role, whichever version is asked for.
#[derive(Debug)]
struct Files {
    roots: VecDeque<Vec<u8>>,
    others: Vec<(String, Vec<u8>)>,
    served: usize,
}

#[derive(Clone, Debug)]
struct Memory(Arc<Mutex<Files>>);

#[async_trait]
impl Transport for Memory {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let name = url.path().rsplit('/').next().unwrap_or_default();
        let role = name.strip_suffix(".json").unwrap_or(name);
        let role = role.rsplit('.').next().unwrap_or(role);
        let mut files = self.0.lock().unwrap();
        let found = match role {
            "root" => files.roots.pop_front(),
            role => files.others.iter().find(|(name, _)| name == role).map(|(_, bytes)| bytes.clone()),
        };
        let found = found.ok_or_else(|| TransportError::new(TransportErrorKind::FileNotFound, url.as_str()))?;
        files.served += 1;
        Ok(Box::pin(futures::stream::iter([Ok(Bytes::from(found))])))
    }
}

/// Runs one update, and counts the steps that succeeded: the first root is one, and so is each file that
/// was asked for, except the one at which it ended.
async fn update(request: &Value) -> Value {
    let steps: Vec<(String, Vec<u8>)> = request["steps"].as_array().unwrap().iter().map(step).collect();
    let roots = steps.iter().filter(|(name, _)| name == "root").map(|(_, bytes)| bytes.clone()).collect();
    let others = steps.iter().filter(|(name, _)| name != "root").cloned().collect();
    let files = Memory(Arc::new(Mutex::new(Files { roots, others, served: 0 })));
    let base = Url::parse("memory:///files/").unwrap();
    let loader = RepositoryLoader::new(&steps[0].1, base.clone(), base).transport(files.clone());
    let outcome = loader.load().await;
    let served = files.0.lock().unwrap().served;
    match outcome {
        Ok(_) => json!({ "done": served + 1, "why": null }),
        Err(error) => {
            let mut why = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                why += &format!(": {inner}");
                source = inner.source();
            }
            json!({ "done": served, "why": why })
        }
    }
}

fn step(step: &Value) -> (String, Vec<u8>) {
    (step[0].as_str().unwrap().to_owned(), hex::decode(step[1].as_str().unwrap()).unwrap())
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
        // It overflows at the greatest version of a root that there is.
        let answer = catch_unwind(AssertUnwindSafe(|| runtime.block_on(update(&request))));
        println!("{}", answer.unwrap_or_else(|_| json!({ "done": 0, "why": "it panicked" })));
    }
}
