//! The same metadata before sigstore-tuf, which knows ML-DSA too, and everything else than bins. Its
//! cryptography is what it is given: the same libraries as ours, so that what is compared is what both
//! make of a file.

use ml_dsa::{MlDsa65, VerifyingKey};
use ring::digest;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::json;
use sigstore_crypto::{CryptoProvider, Error, HashContext, SigningScheme};
use sigstore_tuf::TrustedMetadataSet;
use sigstore_types::HashAlgorithm;

use super::mutations::{Change, Difference, Mutation, Other, files, last, sets};
use super::peer::Peer;
use super::{NOW, our_update};
use exuvia::tuf::metadata::KeyPolicy;

#[derive(Debug)]
struct Provider;

struct Hash(digest::Context);

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

impl CryptoProvider for Provider {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>, Error> {
        let algorithm = match algorithm {
            HashAlgorithm::Sha2256 => &digest::SHA256,
            HashAlgorithm::Sha2384 => &digest::SHA384,
            HashAlgorithm::Sha2512 => &digest::SHA512,
            other => return Err(Error::UnsupportedAlgorithm(format!("{other:?}"))),
        };
        Ok(Box::new(Hash(digest::Context::new(algorithm))))
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Result<(), Error> {
        let wrong = || Error::Verification("the signature does not match".to_owned());
        let algorithm: &'static dyn VerificationAlgorithm = match scheme {
            SigningScheme::Ed25519 => &ED25519,
            SigningScheme::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
            SigningScheme::RsaPssSha256 => &RSA_PSS_2048_8192_SHA256,
            SigningScheme::MlDsa65 => {
                let key = VerifyingKey::<MlDsa65>::decode(key.try_into().map_err(|_| wrong())?);
                let signature = ml_dsa::Signature::<MlDsa65>::try_from(signature).map_err(|_| wrong())?;
                return key.verify_with_context(data, b"", &signature).then_some(()).ok_or_else(wrong);
            }
            other => return Err(Error::UnsupportedAlgorithm(format!("{other:?}"))),
        };
        UnparsedPublicKey::new(algorithm, key).verify(data, signature).map_err(|_| wrong())
    }

    fn verify_prehashed(&self, scheme: SigningScheme, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), Error> {
        Err(Error::UnsupportedAlgorithm(format!("{scheme:?}, of a digest")))
    }
}

/// How many of the steps succeed, and what is wrong with the next one.
fn update(steps: &[(String, Vec<u8>)]) -> (usize, String) {
    // The first test of the process installs it.
    let _ = sigstore_crypto::install_default_provider(&Provider);
    let now = NOW.parse().unwrap();
    let mut set = match TrustedMetadataSet::from_root(&steps[0].1) {
        Ok(set) => set,
        Err(error) => return (0, error.to_string()),
    };
    for (done, (name, bytes)) in steps.iter().enumerate().skip(1) {
        let outcome = match name.as_str() {
            "root" => set.update_root(bytes),
            "timestamp" => set.check_root_expired(now).and_then(|()| set.update_timestamp(bytes, now)),
            "snapshot" => set.update_snapshot(bytes, now),
            "targets" => set.update_targets(bytes, now).map(drop),
            role => set.update_delegated_targets(bytes, role, "targets", now).map(drop),
        };
        if let Err(error) = outcome {
            return (done, error.to_string());
        }
    }
    (steps.len(), String::new())
}

fn sigstore() -> Other {
    Other { name: "sigstore-tuf", differences: DIFFERENCES, update: Box::new(update) }
}

fn is_key(mutation: &Mutation) -> bool {
    mutation.at.iter().any(|name| name == "keys")
}

fn is_within(mutation: &Mutation, name: &str) -> bool {
    mutation.at.get(1).is_some_and(|known| known == name)
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        why: "a name that stands twice: it takes the last, others the first; nobody can say what was signed",
        stricter: true,
        applies: |it| it.change == Change::Repeat,
        example: (2, "signed.version", Change::Repeat),
    },
    Difference {
        why: "it looks at a key's scheme alone; here type and scheme must go together",
        stricter: true,
        applies: |it| is_key(it) && last(it) == "keytype",
        example: (0, "signed.keys.key-1.keytype", Change::Set("\"x\"")),
    },
    Difference {
        why: "a key that cannot be read makes it refuse the file that lists it; here it is kept and never counts",
        stricter: false,
        applies: is_key,
        example: (1, "signed.keys.key-61.keyval", Change::Set("{}")),
    },
    Difference {
        why: "it does not take null for a flag that is missing",
        stricter: false,
        applies: |it| last(it) == "consistent_snapshot" && sets(it, &["null"]),
        example: (1, "signed.consistent_snapshot", Change::Set("null")),
    },
    Difference {
        why: "a role that the root leaves out is noticed when its turn comes, and otherwise never",
        stricter: true,
        applies: |it| is_within(it, "roles") && it.change == Change::Remove,
        example: (0, "signed.roles.targets", Change::Remove),
    },
    Difference {
        why: "a version or threshold of 0 is a number to it, with which it gets no further later, or does",
        stricter: true,
        applies: |it| sets(it, &["0"]),
        example: (2, "signed.version", Change::Set("0")),
    },
    Difference {
        why: "it takes a version of the specification of one part",
        stricter: true,
        applies: |it| last(it) == "spec_version",
        example: (2, "signed.spec_version", Change::Set("\"1\"")),
    },
    Difference {
        why: "a timestamp that names no snapshot is one to it, until there is a snapshot to judge",
        stricter: true,
        applies: |it| it.step == 2 && is_within(it, "meta"),
        example: (2, "signed.meta.snapshot.json", Change::Remove),
    },
    Difference {
        why: "what a timestamp says of other files than the snapshot must look alike to it; nobody needs it",
        stricter: false,
        applies: |it| it.step == 2 && it.at.len() == 3 && is_within(it, "meta"),
        example: (2, "signed.meta.snapshot.json", Change::Add("extra")),
    },
    Difference {
        why: "it knows no bins, so that roles may be missing; nor must a role have a name, say its paths or whether it ends a search",
        stricter: true,
        applies: |it| is_within(it, "delegations") && !is_key(it),
        example: (4, "signed.delegations.roles.0.terminating", Change::Remove),
    },
    Difference {
        why: "it reads a target without a digest, and refuses it when it is fetched",
        stricter: true,
        applies: |it| it.at.iter().any(|name| name == "hashes"),
        example: (4, "signed.targets.file.hashes", Change::Set("{}")),
    },
];

#[test]
fn whatever_is_changed_sigstore_tuf_accepts_or_refuses_alike() {
    sigstore().decides_alike(&files(), 500);
}

#[test]
#[ignore = "half a minute: the same as above, with every change in every place"]
fn every_change_in_every_place_sigstore_tuf_accepts_or_refuses_alike() {
    sigstore().decides_alike_everywhere(&files());
}

#[test]
fn every_listed_difference_from_sigstore_tuf_is_one() {
    sigstore().differs_as_listed(&files());
}

#[test]
fn repositories_of_every_kind_of_key_are_trusted_by_sigstore_tuf_and_by_us() {
    let mut peer = Peer::start();
    for kind in ["ml-dsa", "ed25519", "ecdsa", "rsa"] {
        let made = peer.ask(&json!({ "verb": "make", "kind": kind, "expires": "2031-01-01T00:00:00+00:00" })).unwrap();
        // Bins are nothing that it knows.
        let steps: Vec<_> = ["bootstrap", "root", "timestamp", "snapshot", "targets"]
            .map(|name| (name.to_owned(), hex::decode(made["files"][name].as_str().unwrap()).unwrap()))
            .into();
        assert_eq!(our_update(&steps, KeyPolicy::AnyCompiledIn).0, steps.len());
        let (done, why) = update(&steps);
        assert_eq!(done, steps.len(), "{kind}: {why}");
    }
}
