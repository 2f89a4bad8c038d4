//! Every member of every file, changed in every way, then signed again as it now is: whoever else reads
//! metadata is shown each, and must decide as we do, or as a list of differences explains.

use std::cell::RefCell;

use exuvia::tuf::metadata::{KeyPolicy, Signer};
use exuvia::tuf::{Json, Object, canonical};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{our_update, run};
use crate::sim::{Sim, bump, signer};

/// What is done to one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Remove,
    /// Any JSON text in its place.
    Set(&'static str),
    /// A neighbour of that name.
    Add(&'static str),
    /// The same name and value once more.
    Repeat,
}

#[derive(Clone, Debug)]
pub(super) struct Mutation {
    /// Which of the files.
    pub(super) step: usize,
    /// Names and numbers from the outside inwards.
    pub(super) at: Vec<String>,
    pub(super) change: Change,
}

/// Stands for text that the model of JSON cannot hold.
const MARK: &str = "@@";

pub(super) struct Files {
    pub(super) steps: Vec<(String, Json)>,
    /// Who signs each.
    pub(super) signers: Vec<Vec<u8>>,
    /// With which kind of key.
    pub(super) signer: fn(u8) -> Box<dyn Signer>,
}

pub(super) fn files() -> Files {
    let mut sim = Sim::new();
    sim.delegate("targets", "role", &["a/*"], false, 60);
    sim.add_artifact("targets", "file", b"content");
    sim.add_artifact("role", "a/file", b"content");
    sim.publish();
    bump(&mut sim.root);
    sim.root.add_key(signer(61).public(), exuvia::tuf::metadata::RoleType::Timestamp);
    sim.publish_root();
    let files = [
        ("bootstrap", sim.published_root(1)),
        ("root", sim.published_root(2)),
        ("timestamp", sim.signed("timestamp", &sim.timestamp)),
        ("snapshot", sim.signed("snapshot", &sim.snapshot)),
        ("targets", sim.signed("targets", &sim.targets)),
        ("role", sim.signed("role", &sim.delegated["role"])),
    ];
    let role = |name: &str| if name == "bootstrap" { "root".to_owned() } else { name.to_owned() };
    Files {
        signers: files.iter().map(|(name, _)| sim.signers[&role(name)].clone()).collect(),
        steps: files.into_iter().map(|(name, bytes)| (name.to_owned(), Json::parse(&bytes).unwrap())).collect(),
        signer: |number| Box::new(signer(number)),
    }
}

/// Every place in a value.
fn places(value: &Json, at: &[String], all: &mut Vec<Vec<String>>) {
    let mut enter = |name: String, value: &Json| {
        let at = [at, &[name]].concat();
        all.push(at.clone());
        places(value, &at, all);
    };
    match value {
        Json::Object(members) => members.iter().for_each(|(name, value)| enter(name.clone(), value)),
        Json::Array(items) => items.iter().enumerate().for_each(|(number, value)| enter(number.to_string(), value)),
        _ => {}
    }
}

fn apply(value: &mut Json, at: &[String], change: &Change) {
    let marked = |text: &str| match Json::parse(text.as_bytes()) {
        Ok(value) => value,
        Err(_) => Json::String(format!("{MARK}{text}{MARK}")),
    };
    let [name, rest @ ..] = at else { unreachable!("a place has a name") };
    match value {
        Json::Object(members) if rest.is_empty() => match change {
            Change::Remove => drop(members.remove(name)),
            Change::Set(text) => drop(members.insert(name.clone(), marked(text))),
            Change::Add(added) => drop(members.insert((*added).to_owned(), Json::from("added"))),
            Change::Repeat => {
                let again = members[name].clone();
                members.insert(format!("{name}{MARK}"), again);
            }
        },
        Json::Array(items) if rest.is_empty() => {
            let number: usize = name.parse().unwrap();
            match change {
                Change::Remove => drop(items.remove(number)),
                Change::Set(text) => items[number] = marked(text),
                Change::Add(added) => items.push(Json::from(*added)),
                Change::Repeat => items.push(items[number].clone()),
            }
        }
        Json::Object(members) => apply(members.get_mut(name).unwrap(), rest, change),
        Json::Array(items) => apply(&mut items[name.parse::<usize>().unwrap()], rest, change),
        _ => unreachable!("a place was found by going there"),
    }
}

/// What python reads where a name stands twice: the second one, which says the same.
fn without_repeats(value: &Json) -> Json {
    match value {
        Json::Object(members) => {
            let members = members.iter().filter(|(name, _)| !name.ends_with(MARK));
            Json::Object(members.map(|(name, value)| (name.clone(), without_repeats(value))).collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(without_repeats).collect()),
        other => other.clone(),
    }
}

/// The file, with whatever the model of JSON cannot hold in its place.
fn written(value: &Json) -> Vec<u8> {
    let text = String::from_utf8(canonical(value)).unwrap();
    // The only control character of these files, and the marks.
    let text = text.replace('\n', "\\n").replace(&format!("\"{MARK}"), "");
    text.replace(&format!("{MARK}\":"), "\":").replace(&format!("{MARK}\""), "").into_bytes()
}

impl Files {
    pub(super) fn signatures(&self, step: usize, payload: &[u8]) -> Json {
        let sign = |number: &u8| {
            let made = (self.signer)(*number).sign(payload).unwrap();
            let members = [("keyid".to_owned(), Json::String(made.keyid)), ("sig".to_owned(), Json::String(made.sig))];
            Json::Object(Object::from(members))
        };
        Json::Array(self.signers[step].iter().map(sign).collect())
    }

    fn mutated(&self, mutation: &Mutation) -> Vec<(String, Vec<u8>)> {
        let mut steps = self.steps.clone();
        let file = &mut steps[mutation.step].1;
        apply(file, &mutation.at, &mutation.change);
        if mutation.at[0] != "signatures"
            && let Json::Object(members) = file
            && let Some(signed) = members.get("signed")
        {
            let payload = canonical(&without_repeats(signed));
            members.insert("signatures".to_owned(), self.signatures(mutation.step, &payload));
        }
        steps.iter().map(|(name, value)| (name.clone(), written(value))).collect()
    }

    fn all_places(&self) -> Vec<(usize, Vec<String>)> {
        let mut all = Vec::new();
        for (step, (_, value)) in self.steps.iter().enumerate() {
            let mut places_here = Vec::new();
            places(value, &[], &mut places_here);
            all.extend(places_here.into_iter().map(|at| (step, at)));
        }
        all
    }
}

const TEXTS: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "2",
    "-1",
    "1.0",
    "1e0",
    "18446744073709551615",
    "18446744073709551616",
    "\"\"",
    "\"x\"",
    "\"1\"",
    "\"sha256\"",
    "[]",
    "[\"x\"]",
    "[1]",
    "{}",
    "{\"x\":1}",
    "\"2030-1-1T0:0:0Z\"",
    "\"1.0\"",
    "\"2.0.0\"",
    "[null]",
];

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => Just(Change::Remove),
        8 => proptest::sample::select(&TEXTS[..]).prop_map(Change::Set),
        1 => Just(Change::Add("extra")),
        1 => Just(Change::Repeat),
    ]
}

/// One way in which we differ on purpose.
pub(super) struct Difference {
    pub(super) why: &'static str,
    /// Whether we are the stricter ones.
    pub(super) stricter: bool,
    pub(super) applies: fn(&Mutation) -> bool,
    /// One that shows it.
    pub(super) example: (usize, &'static str, Change),
}

pub(super) fn last(mutation: &Mutation) -> &str {
    mutation.at.last().unwrap()
}

pub(super) fn sets(mutation: &Mutation, texts: &[&str]) -> bool {
    matches!(mutation.change, Change::Set(text) if texts.contains(&text))
}

/// A place written with dots; a member's own dots are found by trying, and `#0` is an object's first one.
fn place(value: &Json, text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let ends = text.match_indices('.').map(|(at, _)| at).chain([text.len()]);
    for end in ends {
        let (name, rest) = (&text[..end], text.get(end + 1..).unwrap_or_default());
        let first = match value {
            Json::Object(members) if name == "#0" => members.keys().next().map(String::as_str),
            _ => None,
        };
        let name = first.unwrap_or(name);
        let inner = match value {
            Json::Object(members) => members.get(name),
            Json::Array(items) => name.parse::<usize>().ok().and_then(|number| items.get(number)),
            _ => None,
        };
        match inner {
            Some(inner) => return [vec![name.to_owned()], place(inner, rest)].concat(),
            None if rest.is_empty() => return vec![name.to_owned()],
            None => {}
        }
    }
    unreachable!()
}

/// How many of the steps succeed, and what is wrong with the next one.
type Update = Box<dyn FnMut(&[(String, Vec<u8>)]) -> (usize, String)>;

/// Somebody else who reads metadata.
pub(super) struct Other {
    pub(super) name: &'static str,
    pub(super) differences: &'static [Difference],
    pub(super) update: Update,
}

impl Other {
    fn compared(&mut self, files: &Files, mutation: &Mutation) -> ((usize, String), (usize, String)) {
        let steps = files.mutated(mutation);
        let (done, why) = our_update(&steps, KeyPolicy::AnyCompiledIn);
        ((done, why.map(|why| why.to_string()).unwrap_or_default()), (self.update)(&steps))
    }

    /// A difference that is not on the list.
    fn unexplained_by(&mut self, files: &Files, mutation: &Mutation) -> Option<String> {
        let ((ours, our_reason), (theirs, their_reason)) = self.compared(files, mutation);
        let explains = |it: &Difference| it.stricter == (ours < theirs) && (it.applies)(mutation);
        if ours == theirs || self.differences.iter().any(explains) {
            return None;
        }
        Some(format!("{mutation:?}\n  we: {ours} {our_reason}\n  {}: {theirs} {their_reason}", self.name))
    }

    /// The files as they are, and then so many of them changed at random.
    pub(super) fn decides_alike(mut self, files: &Files, cases: u32) {
        let all = files.all_places();
        assert!(all.len() > 150, "{} places", all.len());
        let untouched: Vec<_> = files.steps.iter().map(|(name, value)| (name.clone(), written(value))).collect();
        assert_eq!(our_update(&untouched, KeyPolicy::AnyCompiledIn).0, untouched.len());
        let (done, why) = (self.update)(&untouched);
        assert_eq!(done, untouched.len(), "{}: {why}", self.name);
        let (other, unexplained) = (RefCell::new(self), RefCell::new(Vec::new()));
        run(cases, &(any::<Index>(), change()), |(index, change)| {
            let (step, at) = all[index.index(all.len())].clone();
            let mutation = Mutation { step, at, change };
            unexplained.borrow_mut().extend(other.borrow_mut().unexplained_by(files, &mutation));
        });
        assert_none(&unexplained.into_inner());
    }

    /// Every change in every place.
    pub(super) fn decides_alike_everywhere(mut self, files: &Files) {
        let changes = TEXTS.map(Change::Set).into_iter();
        let changes: Vec<_> = changes.chain([Change::Remove, Change::Add("extra"), Change::Repeat]).collect();
        let mut unexplained = Vec::new();
        for (step, at) in files.all_places() {
            for change in &changes {
                let mutation = Mutation { step, at: at.clone(), change: change.clone() };
                unexplained.extend(self.unexplained_by(files, &mutation));
            }
        }
        assert_none(&unexplained);
    }

    /// What the list says is true of its examples.
    pub(super) fn differs_as_listed(mut self, files: &Files) {
        let mut wrong = Vec::new();
        for difference in self.differences {
            let (step, text, change) = difference.example.clone();
            let mutation = Mutation { step, at: place(&files.steps[step].1, text), change };
            let (ours, theirs) = self.compared(files, &mutation);
            if !(difference.applies)(&mutation) || ours.0 == theirs.0 || difference.stricter != (ours.0 < theirs.0) {
                wrong.push(format!("{}\n  {mutation:?}\n  we: {ours:?}\n  {}: {theirs:?}", difference.why, self.name));
            }
        }
        assert!(wrong.is_empty(), "no such difference:\n{}", wrong.join("\n"));
    }
}

fn assert_none(unexplained: &[String]) {
    assert!(unexplained.is_empty(), "differences that nobody explained:\n{}", unexplained.join("\n"));
}
