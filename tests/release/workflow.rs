//! The release workflow gives no job more than it needs, and the key to one job alone.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{files, read, yaml};

const SIGNING: &str = "sign";

fn workflow() -> Value {
    yaml::parse(&read(".github/workflows/release.yml"))
}

fn jobs(workflow: &Value) -> &Map<String, Value> {
    workflow["jobs"].as_object().unwrap()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().unwrap()
}

/// Every job on which this one waits, at whatever distance.
fn waits_for(jobs: &Map<String, Value>, job: &str) -> Vec<String> {
    let needs = match &jobs[job]["needs"] {
        Value::String(name) => vec![name.clone()],
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        _ => Vec::new(),
    };
    needs.iter().flat_map(|name| [vec![name.clone()], waits_for(jobs, name)].concat()).collect()
}

#[test]
fn every_action_is_pinned_by_its_full_commit_with_its_version_beside_it() {
    let mut seen = 0;
    let mut versions = BTreeMap::new();
    for file in files(".github/workflows", "yml") {
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            let Some((_, used)) = line.split_once("uses:") else { continue };
            let (action, version) = used.trim().split_once(" # ").unwrap_or_else(|| panic!("no version: {line}"));
            let (name, commit) = action.split_once('@').unwrap_or_else(|| panic!("not pinned: {line}"));
            let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            assert!(commit.len() == 40 && commit.chars().all(hex), "not pinned by its commit: {line}");
            assert!(name.starts_with("actions/"), "an action by somebody else sees what is released: {line}");
            let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
            let number: Vec<_> = version.strip_prefix('v').unwrap_or("").split('.').collect();
            assert!(number.len() == 3 && number.iter().all(|part| plain(part)), "no exact version: {line}");
            let before = versions.insert(name.to_owned(), action.to_owned());
            assert!(before.is_none_or(|before| before == action), "{name} is pinned to two commits");
            seen += 1;
        }
    }
    assert!(seen > 5, "the workflow's actions were not found");
}

#[test]
fn only_tags_of_versions_start_it() {
    assert_eq!(workflow()["on"], json!({ "push": { "tags": ["v*"] } }));
}

#[test]
fn no_job_may_do_more_than_read_except_the_one_that_publishes() {
    let workflow = workflow();
    assert_eq!(workflow["permissions"], json!({}));
    for (name, job) in jobs(&workflow) {
        let expected = if name == "publish" { "write" } else { "read" };
        assert_eq!(job["permissions"], json!({ "contents": expected }), "{name}");
        assert!(job["timeout-minutes"].is_string(), "{name} may hang");
        for step in steps(job) {
            if step["uses"].as_str().is_some_and(|action| action.starts_with("actions/checkout@")) {
                assert_eq!(step["with"]["persist-credentials"], "false", "{name} leaves its token behind");
            }
        }
    }
}

#[test]
fn the_signing_job_alone_sees_a_secret_and_waits_behind_an_environment() {
    let workflow = workflow();
    let mut outside = workflow.clone();
    let signing = outside["jobs"].as_object_mut().unwrap().remove(SIGNING).unwrap();
    assert!(!outside.to_string().contains("secrets"), "a secret outside the signing job");
    assert_eq!(signing["environment"], "release-signing");
    let others = jobs(&workflow).iter().filter(|(name, _)| *name != SIGNING);
    assert!(others.clone().all(|(_, job)| job["environment"].is_null()));

    let seeing: Vec<_> = steps(&signing).iter().filter(|step| step.to_string().contains("secrets")).collect();
    let [step] = seeing[..] else { panic!("one step sees the key, not {}", seeing.len()) };
    let script = step["run"].as_str().unwrap();
    assert_eq!(step["env"]["RELEASE_KEY"], "${{ secrets.RELEASE_KEY }}");
    let order =
        ["umask 077", "mktemp -d /dev/shm/", "trap 'rm -rf \"$desk\"' EXIT", "> \"$desk/release.key\"", "chmod 600"];
    let places: Vec<_> = order.iter().map(|part| script.find(part).unwrap_or_else(|| panic!("no {part}"))).collect();
    assert!(places.is_sorted(), "the key lies somewhere before it is protected");
    // Neither the source nor the network: only what was built, and what is signed.
    let actions: Vec<_> = steps(&signing).iter().filter_map(|step| step["uses"].as_str()).collect();
    assert!(actions.iter().all(|action| action.contains("-artifact@")), "{actions:?}");
    for word in ["curl", "wget", "git ", "cargo", "set -x"] {
        assert!(!script.contains(word), "the signing job uses {word}");
    }
}

#[test]
fn it_is_published_after_it_was_built_twice_signed_and_verified() {
    let workflow = workflow();
    let jobs = jobs(&workflow);
    for (job, waits) in
        [("verify-build", "build"), (SIGNING, "verify-build"), ("verify", SIGNING), ("publish", "verify")]
    {
        assert!(waits_for(jobs, job).contains(&waits.to_owned()), "{job} does not wait for {waits}");
    }
    for (name, job) in jobs {
        assert!(job["if"].is_null() && job["continue-on-error"].is_null(), "{name} goes on after a failure");
        for step in steps(job) {
            assert!(step["if"].is_null() && step["continue-on-error"].is_null(), "a step of {name} does");
        }
    }
    assert_eq!(jobs["build"]["strategy"], jobs["verify-build"]["strategy"]);

    let verify = jobs["verify"]["steps"].to_string();
    assert!(verify.contains("exuvia-release -- verify") && verify.contains("context-string:$context"));
    let publish = steps(&jobs["publish"]).last().unwrap()["run"].as_str().unwrap();
    let order = ["= \\\"$VERIFIED\\\"", "--draft --verify-tag", "gh release upload", "--draft=false"];
    let places = order.map(|part| publish.find(&part.replace('\\', "")).unwrap_or_else(|| panic!("no {part}")));
    assert!(places.is_sorted(), "{publish}");
}

#[test]
fn no_expression_is_pasted_into_a_script() {
    // A tag's name is its pusher's text: it reaches scripts as a variable only.
    for (name, job) in jobs(&workflow()) {
        for script in steps(job).iter().filter_map(|step| step["run"].as_str()) {
            assert!(!script.contains("${{"), "{name}: {script}");
        }
    }
}
