//! The same metadata, changed, before python-tuf.

use super::PYTHON_NOW;
use super::mutations::{Change, Difference, Mutation, Other, files, last, sets};
use super::peer::Peer;

fn python() -> Other {
    let mut peer = Peer::start();
    Other {
        name: "python-tuf",
        differences: DIFFERENCES,
        update: Box::new(move |steps| peer.update(steps, PYTHON_NOW)),
    }
}

fn is_key(mutation: &Mutation) -> bool {
    mutation.at.iter().any(|name| name == "keys")
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        why: "a name that stands twice: python takes the last, others the first; nobody can say what was signed",
        stricter: true,
        applies: |it| it.change == Change::Repeat,
        example: (2, "signed.version", Change::Repeat),
    },
    Difference {
        why: "python counts true as 1, wherever an integer is wanted",
        stricter: true,
        applies: |it| sets(it, &["true"]),
        example: (1, "signed.roles.targets.threshold", Change::Set("true")),
    },
    Difference {
        why: "python does not look at the type of every member, and takes what behaves alike: a text for a list of texts, anything for true or false",
        stricter: true,
        applies: |it| matches!(it.change, Change::Set(_)) && !sets(it, &["null"]),
        example: (1, "signed.consistent_snapshot", Change::Set("\"x\"")),
    },
    Difference {
        why: "python's integers have no greatest one; versions and lengths here end at 2^64 - 1",
        stricter: true,
        applies: |it| sets(it, &["18446744073709551616"]),
        example: (4, "signed.targets.file.length", Change::Set("18446744073709551616")),
    },
    Difference {
        why: "numbers that are no integers are refused also where nobody signs them",
        stricter: true,
        applies: |it| sets(it, &["1.0", "1e0"]),
        example: (2, "signatures.0.extra", Change::Set("1.0")),
    },
    Difference {
        why: "python takes null for a missing list, number or flag",
        stricter: true,
        applies: |it| sets(it, &["null"]),
        example: (4, "signed.delegations.roles.0.terminating", Change::Set("null")),
    },
    Difference {
        why: "python writes a file anew before it verifies it, and loses a null on the way; here it is kept, and verifies",
        stricter: false,
        applies: |it| sets(it, &["null"]),
        example: (3, "signed.meta.targets.json.length", Change::Set("null")),
    },
    Difference {
        why: "for the same reason python loses what a timestamp says about other files than the snapshot",
        stricter: false,
        applies: |it| it.step == 2 && it.at.len() == 3 && it.at[1] == "meta",
        example: (2, "signed.meta.snapshot.json", Change::Add("other.json")),
    },
    Difference {
        why: "a key that cannot be used makes python refuse the file that lists it; here it is kept and never counts",
        stricter: false,
        applies: is_key,
        example: (1, "signed.keys.key-61.keytype", Change::Set("\"x\"")),
    },
    Difference {
        why: "python cannot verify a file that a role's own keys signed when that role lists a keyid that is no text",
        stricter: true,
        applies: |it| it.at.iter().any(|name| name == "keyids") && last(it) != "keyids",
        example: (1, "signed.roles.timestamp.keyids.1", Change::Set("1")),
    },
];

#[test]
fn whatever_is_changed_in_whichever_place_is_accepted_or_refused_alike() {
    python().decides_alike(&files(), 1500);
}

#[test]
#[ignore = "minutes: the same as above, with every change in every place"]
fn every_change_in_every_place_is_accepted_or_refused_alike() {
    python().decides_alike_everywhere(&files());
}

#[test]
fn every_listed_difference_is_one() {
    python().differs_as_listed(&files());
}
