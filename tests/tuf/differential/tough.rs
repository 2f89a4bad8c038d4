//! The same metadata before tough, with Ed25519 keys, because it knows no others of ours. It is a program
//! of its own, which `scripts/compare-with-tough` builds: it comes with a C library that exuvia does
//! without, and takes minutes.

use std::process::Command;

use exuvia::tuf::metadata::{Signature, Signer, SignerError};
use exuvia::tuf::{Json, canonical};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::PYTHON_NOW;
use super::mutations::{Change, Difference, Files, Mutation, Other, files, last, sets};
use super::peer::Peer;

struct Ed25519(u8);

impl Ed25519 {
    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[self.0; 32]).unwrap()
    }

    fn key(&self) -> Json {
        let public = hex::encode(self.pair().public_key());
        let text = format!("{{\"keytype\":\"ed25519\",\"keyval\":{{\"public\":\"{public}\"}},\"scheme\":\"ed25519\"}}");
        Json::parse(text.as_bytes()).unwrap()
    }

    /// The digest of the key, as tough wants it.
    fn keyid(&self) -> String {
        hex::encode(digest(&SHA256, &canonical(&self.key())))
    }
}

impl Signer for Ed25519 {
    fn sign(&self, payload: &[u8]) -> Result<Signature, SignerError> {
        Ok(Signature::new(self.keyid(), self.pair().sign(payload).as_ref()))
    }
}

fn number(keyid: &str) -> Option<u8> {
    keyid.strip_prefix("key-")?.parse().ok()
}

/// With other keys in the place of each.
fn with_ed25519(value: &Json) -> Json {
    match value {
        Json::String(text) => Json::String(number(text).map_or(text.clone(), |number| Ed25519(number).keyid())),
        Json::Array(items) => Json::Array(items.iter().map(with_ed25519).collect()),
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| match number(name) {
                Some(number) => (Ed25519(number).keyid(), Ed25519(number).key()),
                None => (name.clone(), with_ed25519(value)),
            });
            Json::Object(members.collect())
        }
        other => other.clone(),
    }
}

fn ed25519_files() -> Files {
    let mut files = files();
    files.signer = |number| Box::new(Ed25519(number));
    for step in 0..files.steps.len() {
        let Json::Object(mut members) = with_ed25519(&files.steps[step].1) else { unreachable!() };
        let payload = canonical(&members["signed"]);
        members.insert("signatures".to_owned(), files.signatures(step, &payload));
        files.steps[step].1 = Json::Object(members);
    }
    files
}

fn tough() -> Other {
    let program = std::env::var_os("EXUVIA_TOUGH").expect("scripts/compare-with-tough sets EXUVIA_TOUGH");
    let mut peer = Peer::of(Command::new(program));
    Other { name: "tough", differences: DIFFERENCES, update: Box::new(move |steps| peer.update(steps, PYTHON_NOW)) }
}

fn is_key(mutation: &Mutation) -> bool {
    mutation.at.iter().any(|name| name == "keys")
}

fn is_within(mutation: &Mutation, name: &str) -> bool {
    mutation.at.get(1).is_some_and(|known| known == name)
}

fn is_below(mutation: &Mutation, name: &str) -> bool {
    mutation.at.iter().any(|known| known == name)
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        why: "a name that stands twice: it takes the last, others the first; nobody can say what was signed",
        stricter: true,
        applies: |it| it.change == Change::Repeat,
        example: (4, "signed.targets.file", Change::Repeat),
    },
    Difference {
        why: "a key of another kind, unreadable, or not named by its own digest makes it refuse the file; here it is kept, a keyid is a name, and one that cannot be used never counts",
        stricter: false,
        applies: |it| is_key(it) || is_below(it, "keyids"),
        example: (1, "signed.keys.#0.keyval", Change::Set("{}")),
    },
    Difference {
        why: "it must be told about consistent snapshots",
        stricter: false,
        applies: |it| last(it) == "consistent_snapshot",
        example: (1, "signed.consistent_snapshot", Change::Remove),
    },
    Difference {
        why: "it reads SHA-256 alone, and a digest that is no hexadecimal number spoils the file; here that target has none that matches",
        stricter: false,
        applies: |it| is_below(it, "hashes"),
        example: (4, "signed.targets.file.hashes.sha256", Change::Set("\"x\"")),
    },
    Difference {
        why: "what a timestamp says of other files than the snapshot must look alike to it; nobody needs it",
        stricter: false,
        applies: |it| it.step == 2 && it.at.len() == 3 && is_within(it, "meta"),
        example: (2, "signed.meta.snapshot.json", Change::Add("extra")),
    },
    Difference {
        why: "it misses the targets while it reads the snapshot, and not when their turn comes",
        stricter: false,
        applies: |it| it.step == 3 && is_within(it, "meta"),
        example: (3, "signed.meta.targets.json", Change::Remove),
    },
    Difference {
        why: "it writes a file anew before it verifies it, and loses a null on the way; here it is kept, and verifies",
        stricter: false,
        applies: |it| sets(it, &["null"]),
        example: (4, "signed.delegations", Change::Set("null")),
    },
    Difference {
        why: "for the same reason it loses what it does not know about a delegated role",
        stricter: false,
        applies: |it| is_within(it, "delegations") && matches!(it.change, Change::Add(_)),
        example: (4, "signed.delegations.roles.0.terminating", Change::Add("extra")),
    },
    Difference {
        why: "a role that lists a path which is not its own makes it refuse the repository; here that path is passed over",
        stricter: false,
        applies: |it| is_below(it, "paths"),
        example: (4, "signed.delegations.roles.0.paths", Change::Set("[]")),
    },
    Difference {
        why: "it adds 1 to the greatest version there is, and panics",
        stricter: false,
        applies: |it| sets(it, &["18446744073709551615"]) && it.step == 0,
        example: (0, "signed.version", Change::Set("18446744073709551615")),
    },
    Difference {
        why: "it does not look at the version of the specification, not even at the first number",
        stricter: true,
        applies: |it| last(it) == "spec_version",
        example: (2, "signed.spec_version", Change::Set("\"2.0.0\"")),
    },
    Difference {
        why: "a role that the root leaves out is noticed when its turn comes, and otherwise never",
        stricter: true,
        applies: |it| is_within(it, "roles") && it.change == Change::Remove,
        example: (0, "signed.roles.targets", Change::Remove),
    },
    Difference {
        why: "a delegated role need not have a name",
        stricter: true,
        applies: |it| is_within(it, "delegations") && last(it) == "name",
        example: (4, "signed.delegations.roles.0.name", Change::Set("\"\"")),
    },
];

#[test]
#[ignore = "scripts/compare-with-tough builds what it needs"]
fn every_change_in_every_place_tough_accepts_or_refuses_alike() {
    tough().decides_alike_everywhere(&ed25519_files());
}

#[test]
#[ignore = "scripts/compare-with-tough builds what it needs"]
fn every_listed_difference_from_tough_is_one() {
    tough().differs_as_listed(&ed25519_files());
}
