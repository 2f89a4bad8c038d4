use std::fs;
use std::io::Cursor;

use exuvia::crypto::{Context, Keyring, Release, SecretKey, VerifyError};
use exuvia::types::ReleaseId;

fn read(name: &str) -> String {
    fs::read_to_string(format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn keyring(names: &[&str]) -> Keyring<Release> {
    let pems: Vec<_> = names.iter().map(|name| read(name)).collect();
    Keyring::from_pems(pems.iter().map(String::as_str)).unwrap()
}

#[test]
fn k1_a_release_signed_with_the_next_key_is_accepted_and_a_strangers_is_not() {
    let id = ReleaseId {
        product: "exuvia".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        target: "x86_64-unknown-linux-gnu".parse().unwrap(),
    };
    let context = Context::archive(&id);
    let sign = |name: &str| {
        let key = SecretKey::<Release>::from_pem(&read(name)).unwrap();
        (key.public().id(), key.sign(&context, &mut &b"archive"[..]).unwrap())
    };
    let (now, next) = ("release/a.pem", "release/b.pem");
    let fleet = keyring(&[now, next]);
    for name in ["a.key", "b.key"] {
        let (id, signature) = sign(name);
        let by = fleet.verify(&context, &mut Cursor::new(b"archive"), &signature).unwrap();
        assert_eq!(by.id(), id, "{name}");
    }
    let refused = |keys: &Keyring<Release>, name| {
        let outcome = keys.verify(&context, &mut Cursor::new(b"archive"), &sign(name).1);
        assert!(matches!(outcome, Err(VerifyError::NotSigned { .. })), "{name}");
    };
    refused(&fleet, "stranger.key");
    // A key that a later build no longer pins.
    refused(&keyring(&[next, "stranger.pem"]), "a.key");
}
