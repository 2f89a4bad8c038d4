//! Keys as PEM texts: what is accepted is written back as the same key, and no private key passes for a
//! public one.
#![no_main]

use exuvia::crypto::{Keyring, PublicKey, Release, SecretKey, Signature};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signature) = Signature::from_bytes(bytes) {
        assert_eq!(signature.as_bytes().as_slice(), bytes);
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    let public = PublicKey::<Release>::from_pem(text);
    if let Ok(key) = &public {
        let pem = key.to_pem();
        let again = PublicKey::<Release>::from_pem(&pem).expect("what was written can be read");
        assert_eq!((again.id(), again.to_pem()), (key.id(), pem.clone()));
        let ring = Keyring::<Release>::from_pems([text]).expect("one key");
        assert!(ring.find(key.id()).is_some());
        assert!(Keyring::<Release>::from_pems([text, &pem]).is_err(), "the same key twice is no spare key");
    }
    if let Ok(key) = SecretKey::<Release>::from_pem(text) {
        assert!(public.is_err(), "a private key passed for a public one");
        let again = SecretKey::<Release>::from_pem(&key.to_pem()).expect("what was written can be read");
        assert_eq!(again.public().id(), key.public().id());
    }
});
