//! Releases that are signed, and bad: the version before serves on, the verdict says why, and the
//! bad one is not tried again.

use std::fs;

use serde_json::Value;

use crate::support::{Host, Node, SignedAs, host::digest, wait_for};

/// What a node of 1.0.0 makes of a bad 1.1.0. Then it goes on to a good 1.2.0.
struct Refused {
    host: Host,
    node: Node,
    attempt: Value,
}

#[track_caller]
fn offered(fault: &str) -> Refused {
    let host = Host::new();
    let node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    host.releases().publish_bad("1.1.0", fault);
    let attempt = node.wait_for_outcome("1.1.0");
    Refused { host, node, attempt }
}

impl Refused {
    #[track_caller]
    fn says(self, outcome: &str, words: &[&str]) -> Self {
        let reason = self.attempt["reason"].as_str().unwrap();
        assert_eq!(self.attempt["outcome"], outcome, "{:#?}", self.attempt);
        for word in words {
            assert!(reason.contains(word), "{word:?} is not in {reason:?}");
        }
        self
    }

    /// The history keeps the end of what the candidate wrote.
    #[track_caller]
    fn wrote(self, words: &str) -> Self {
        let output = self.attempt["output"].as_str().unwrap_or_default();
        assert!(output.contains(words), "{words:?} is not in {output:?}");
        self
    }

    /// 1.0.0 is what serves and what is committed; later polls leave 1.1.0 alone, but take a 1.2.0.
    #[track_caller]
    fn and_the_node_goes_on(self) {
        let Self { host, node, .. } = self;
        node.wait_until_it_runs("1.0.0");
        assert!(node.serves());
        host.assert_committed("1.0.0");
        node.wait_for_polls(2);
        let history = node.history();
        assert_eq!(history.len(), 1, "tried once: {history:#?}");
        let listed = node.cli(&["history"]).exits(0).says("veto  1.1.0 is not tried again");
        assert!(listed.stdout.lines().count() == 2, "{listed:#?}");
        host.assert_clean(&["1.0.0"], &[&node]);

        host.releases().publish("1.2.0");
        node.wait_until_it_runs("1.2.0");
        host.assert_committed("1.2.0");
        host.assert_clean(&["1.0.0", "1.2.0"], &[&node]);
    }
}

// At the probe: nothing is started, and the worker that serves is not disturbed.

#[test]
fn a_candidate_that_fails_to_describe_itself_is_refused() {
    offered("describe-fails")
        .says("refused", &["describe itself", "exit code 127", "this library is missing"])
        .and_the_node_goes_on();
}

#[test]
fn a_candidate_that_describes_nothing_is_refused() {
    offered("describes-nothing").says("refused", &["no description"]).and_the_node_goes_on();
}

#[test]
fn a_candidate_that_says_it_is_another_version_is_refused() {
    offered("claims 9.9.9").says("refused", &["signed as", "1.1.0", "says that it is", "9.9.9"]).and_the_node_goes_on();
}

#[test]
fn a_candidate_that_hangs_when_it_is_asked_who_it_is_is_refused() {
    offered("describe-hangs").says("refused", &["did not answer within 5 s"]).and_the_node_goes_on();
}

#[test]
fn a_candidate_whose_launcher_fails_its_rehearsal_is_refused() {
    offered("rehearse-fails")
        .says("refused", &["rehearse its start", "exit code 1", "no launcher was linked in"])
        .and_the_node_goes_on();
}

#[test]
fn a_candidate_that_cannot_be_executed_is_refused() {
    let host = Host::new();
    let node = host.start("one");
    let text = host.path("text");
    fs::write(&text, "neither a program nor a script\n").unwrap();
    host.releases().publish_binary(&SignedAs::release("1.1.0"), &text);
    let attempt = node.wait_for_outcome("1.1.0");
    Refused { host, node, attempt }.says("refused", &["cannot be executed here"]).and_the_node_goes_on();
}

// As a worker, beside the version that serves.

#[test]
fn a_candidate_whose_worker_exits_is_rolled_back() {
    offered("exits 3")
        .says("rolled-back", &["exited: ", "exit code 3 while starting"])
        .wrote("the database is of another century")
        .and_the_node_goes_on();
}

#[test]
fn a_candidate_whose_worker_exits_with_success_is_rolled_back() {
    offered("exits 0").says("rolled-back", &["exited: ", "exit code 0 while starting"]).and_the_node_goes_on();
}

#[test]
fn a_candidate_that_aborts_is_rolled_back() {
    offered("aborts").says("rolled-back", &["exited: ", "signal 6 (SIGABRT)"]).and_the_node_goes_on();
}

#[test]
fn a_candidate_that_segfaults_is_rolled_back() {
    offered("segfaults").says("rolled-back", &["exited: ", "signal 11 (SIGSEGV)"]).and_the_node_goes_on();
}

#[test]
fn of_a_chatty_candidate_the_end_is_kept() {
    let refused = offered("chatters").says("rolled-back", &["exited: "]);
    let output = refused.attempt["output"].as_str().unwrap();
    assert!(output.trim_end().ends_with("the last line of a long complaint"), "{output:?}");
    assert!(output.len() <= 8 << 10);
    refused.and_the_node_goes_on();
}

#[test]
fn a_candidate_that_is_never_ready_is_rolled_back_and_the_worker_that_serves_stays() {
    let host = Host::new();
    let node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    let worker = node.worker_pids();
    host.releases().publish_bad("1.1.0", "never-ready");
    let attempt = node.wait_for_outcome("1.1.0");
    assert_eq!(node.worker_pids(), worker);
    Refused { host, node, attempt }
        .says("rolled-back", &["not-ready: ", "within 5s"])
        .wrote("still warming up")
        .and_the_node_goes_on();
}

// On probation, when it serves instead of the version before.

#[test]
fn a_candidate_that_dies_on_probation_is_rolled_back() {
    offered("dies 300")
        .says("rolled-back", &["exited: ", "exit code 1 while on probation"])
        .wrote("it was too much")
        .and_the_node_goes_on();
}

#[test]
fn a_candidate_that_panics_on_probation_is_rolled_back() {
    offered("panics 300")
        .says("rolled-back", &["exited: ", "while on probation"])
        .wrote("nobody expected this")
        .and_the_node_goes_on();
}

#[test]
fn a_candidate_whose_job_returns_is_rolled_back() {
    offered("returns 300").says("rolled-back", &["exited: ", "while on probation"]).and_the_node_goes_on();
}

#[test]
fn a_candidate_that_starves_its_watchdog_is_rolled_back() {
    offered("starves 300").says("rolled-back", &["watchdog: "]).wrote("thinks very hard").and_the_node_goes_on();
}

#[test]
fn a_candidate_that_freezes_is_rolled_back() {
    offered("freezes 300").says("rolled-back", &["watchdog: "]).and_the_node_goes_on();
}

#[test]
fn what_a_candidate_left_behind_is_killed_with_it() {
    // `and_the_node_goes_on` finds no process that is not the node's.
    offered("leaves-a-stray 300").says("rolled-back", &["exited: "]).and_the_node_goes_on();
}

#[test]
fn a_candidate_that_is_killed_again_and_again_is_out_of_tries() {
    offered("killed 300").says("rolled-back", &["tries-exhausted: ", "signal 9"]).and_the_node_goes_on();
}

#[test]
fn a_worker_that_will_not_leave_is_made_to() {
    let host = Host::new();
    let mut node = host.start("one");
    host.releases().publish_bad("1.1.0", "will-not-leave");
    node.wait_until_it_runs("1.1.0");
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
    host.assert_committed("1.2.0");
    host.assert_clean(&["1.1.0", "1.2.0"], &[&node]);

    node.cli_when_idle(&["rollback"]).exits(0);
    node.wait_until_it_runs("1.1.0");
    assert!(node.stop().success(), "a stop does not wait for it for ever");
}

// As a launcher.

#[test]
fn a_candidate_whose_launcher_dies_is_out_after_its_tries_and_never_committed() {
    let host = Host::new();
    let mut node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    host.releases().publish_bad("1.1.0", "launcher-exits");
    for _ in 0..3 {
        // What a service manager does: it starts the committed binary again.
        assert_eq!(node.wait_until_it_ends().code(), Some(1));
        host.assert_committed("1.0.0");
        assert_eq!(node.record().unwrap()["running"]["version"], "1.0.0");
        node.start();
        node.wait_until_it_serves();
    }
    let attempt = node.wait_for_outcome("1.1.0");
    Refused { host, node, attempt }
        .says("rolled-back", &["tries-exhausted: ", "cut short 3 times"])
        .and_the_node_goes_on();
}

#[test]
fn a_launcher_that_hangs_commits_nothing() {
    let host = Host::new();
    let mut node = host.start("one");
    node.wait_until_it_runs("1.0.0");
    host.releases().publish_bad("1.1.0", "launcher-hangs");
    let handed = || node.record().filter(|record| record["trial"]["progress"] == "handoff");
    wait_for(|| node.log(), handed);
    std::thread::sleep(std::time::Duration::from_secs(1));
    host.assert_committed("1.0.0");
    assert!(node.serves(), "the worker serves, whatever becomes of its launcher");

    node.kill_launcher();
    host.releases().withdraw("1.1.0");
    node.start();
    node.wait_until_it_serves();
    host.assert_committed("1.0.0");
    node.wait_for_polls(2);
    host.releases().publish("1.2.0");
    node.wait_until_it_runs("1.2.0");
    host.assert_clean(&["1.0.0", "1.2.0"], &[&node]);
}

// And told to an operator who waits for it.

#[test]
fn an_operator_is_told_that_a_candidate_was_rolled_back() {
    let mut host = Host::new();
    let node = host.start_quiet("one");
    let before = digest(&host.binary());
    host.releases().publish_bad("1.1.0", "dies 300");
    node.cli(&["upgrade"]).exits(7).says("1.1.0 did not prove itself").says("Still running 1.0.0");
    node.wait_until_it_runs("1.0.0");
    let told = node.cli(&["upgrade"]).exits(5).says("--lift-veto");
    assert!(told.stderr.contains("exited"), "{told:#?}");
    node.cli(&["upgrade", "--version", "1.1.0", "--lift-veto"]).exits(7);
    node.wait_until_it_runs("1.0.0");
    assert_eq!(node.history().len(), 2);
    node.cli(&["history", "1"]).exits(0).says("it was too much");
    assert_eq!(digest(&host.binary()), before);
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn an_operator_is_told_that_a_candidate_was_refused() {
    let mut host = Host::new();
    let node = host.start_quiet("one");
    host.releases().publish_bad("1.1.0", "claims 9.9.9");
    node.cli(&["upgrade"]).exits(4).says("says that it is");
    node.wait_until_it_runs("1.0.0");
    host.assert_clean(&["1.0.0"], &[&node]);
}

#[test]
fn a_verdict_that_no_worker_has_heard_yet_counts_already() {
    let Refused { host, mut node, .. } = offered("exits 3").says("rolled-back", &["exited: "]);
    assert!(node.stop().success());
    // The launcher's own record of the verdict is what remains.
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        fs::remove_file(host.path("data/one").join(file)).ok();
    }
    node.cli(&["upgrade"]).exits(5).says("1.1.0");
    assert_eq!(node.history().len(), 1, "the failed trial, and no other: {:#?}", node.history());
}
