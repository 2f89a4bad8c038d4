//! What other systems stored: the samples pass or are refused as their names say.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use exuvia::recovery::{BackupyKey, RecoveryError, TrustList, decrypt_backupy, encrypt_backupy, import_stigmem};
use exuvia::sys::{Dir, OperatorFile};
use exuvia::types::ByteLimit;
use serde_json::Value;
use sha2::{Digest, Sha256};

const ROOM: ByteLimit = ByteLimit::mib(64);

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/recovery").join(name)
}

fn vectors() -> Value {
    serde_json::from_slice(&fs::read(sample("backupy/vectors.json")).unwrap()).unwrap()
}

fn key() -> BackupyKey {
    BackupyKey::from_bytes(std::array::from_fn(|n| u8::try_from(n).unwrap()))
}

fn sha(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The blocks `SHA256(label + i)`, one behind the other.
fn blocks(label: &str, length: usize) -> Vec<u8> {
    let block = |n: usize| Sha256::digest(format!("{label}{n}")).to_vec();
    (0..length.div_ceil(32)).flat_map(block).take(length).collect()
}

/// A good vector's plaintext and nonces.
fn good(vector: &Value) -> (Vec<u8>, Vec<[u8; 12]>) {
    let length = usize::try_from(vector["plaintext_len"].as_u64().unwrap()).unwrap();
    let plaintext = match (vector["plaintext_hex"].as_str(), vector["name"].as_str().unwrap()) {
        (Some(text), _) => hex::decode(text).unwrap(),
        (None, "v1-multichunk") => blocks("backupy-multichunk:", length),
        (None, _) => blocks("backupy-exact:", length),
    };
    assert_eq!(sha(&plaintext), vector["plaintext_sha256"].as_str().unwrap());
    let nonces = vector["nonces_hex"].as_array().unwrap().iter();
    (plaintext, nonces.map(|nonce| hex::decode(nonce.as_str().unwrap()).unwrap().try_into().unwrap()).collect())
}

fn decrypt(stream: &[u8], zstd: bool, limit: ByteLimit) -> Result<Vec<u8>, RecoveryError> {
    let folder = tempfile::tempdir().unwrap();
    let into = Dir::open(folder.path()).unwrap();
    match decrypt_backupy(&key(), None, stream, zstd, limit, (&into, "out")) {
        Ok(_) => Ok(fs::read(folder.path().join("out")).unwrap()),
        Err(error) => {
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{error}");
            Err(error)
        }
    }
}

#[test]
fn backupy_streams_are_read_and_written_byte_for_byte_as_the_original_does() {
    for vector in vectors()["vectors"].as_array().unwrap() {
        let (plaintext, nonces) = good(vector);
        let mut nonces = nonces.into_iter();
        let mut stream = Vec::new();
        encrypt_backupy(&key(), plaintext.as_slice(), &mut stream, &mut || Ok(nonces.next().unwrap())).unwrap();
        assert_eq!(nonces.next(), None);
        assert_eq!(sha(&stream), vector["stream_sha256"].as_str().unwrap(), "{}", vector["name"]);
        let file = sample(&format!("backupy/{}.enc", vector["name"].as_str().unwrap()));
        if file.exists() {
            assert_eq!(fs::read(file).unwrap(), stream);
        }
        assert_eq!(decrypt(&stream, false, ROOM).unwrap(), plaintext);
    }
    let sql = decrypt(&fs::read(sample("backupy/v1-zstd-sql.enc")).unwrap(), true, ROOM).unwrap();
    assert!(!sql.is_empty() && sql.is_ascii());
}

#[test]
fn damaged_backupy_streams_are_refused_and_what_the_format_cannot_tell_is_known() {
    for vector in vectors()["negative"].as_array().unwrap() {
        let outcome = decrypt(&hex::decode(vector["stream_hex"].as_str().unwrap()).unwrap(), false, ROOM);
        match vector["name"].as_str().unwrap() {
            "no-eof" | "half-header" | "truncated-body" => {
                assert!(matches!(outcome, Err(RecoveryError::Truncated)), "{vector}");
            }
            "trailing-garbage" => assert!(matches!(outcome, Err(RecoveryError::Trailing))),
            "size-27" | "size-max-plus-1" | "size-4GiB" => {
                assert!(matches!(outcome, Err(RecoveryError::FrameLength(_))), "{vector}");
            }
            "bitflip" => assert!(matches!(outcome, Err(RecoveryError::Frame(1)))),
            // The format does not bind a frame to its place: only the digest of the whole stream tells.
            _ => assert!(outcome.is_ok(), "{vector}"),
        }
    }
}

#[test]
fn a_backupy_stream_that_is_not_the_one_named_or_too_long_leaves_nothing() {
    let stream = fs::read(sample("backupy/v1-hello.enc")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let into = Dir::open(folder.path()).unwrap();
    let digest = |bytes: &[u8]| Some(sha(bytes).parse().unwrap());
    let with = |expected| decrypt_backupy(&key(), expected, stream.as_slice(), false, ROOM, (&into, "out"));
    assert!(matches!(with(digest(b"another")), Err(RecoveryError::OtherStream)));
    assert!(matches!(decrypt(&stream, false, ByteLimit::bytes(16)), Err(RecoveryError::TooLong(16))));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    with(digest(&stream)).unwrap();
    assert!(matches!(with(None), Err(RecoveryError::Exists(_))));

    // 64 MiB of zeros in a few KiB.
    let mut bomb = Vec::new();
    let packed = zstd::encode_all(&vec![0; 64 << 20][..], 3).unwrap();
    encrypt_backupy(&key(), packed.as_slice(), &mut bomb, &mut || Ok([7; 12])).unwrap();
    assert!(matches!(decrypt(&bomb, true, ByteLimit::mib(1)), Err(RecoveryError::TooLong(_))));
}

fn trust(keys: &[&str]) -> (tempfile::TempDir, TrustList) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, serde_json::to_vec(keys).unwrap()).unwrap();
    let list = TrustList::read(&file).unwrap();
    (folder, list)
}

fn import(file: &Path, trusted: &TrustList) -> Result<Vec<u8>, RecoveryError> {
    let folder = tempfile::tempdir().unwrap();
    let into = Dir::open(folder.path()).unwrap();
    match import_stigmem(OperatorFile::open(file, ROOM).unwrap(), trusted, ROOM, (&into, "out.db")) {
        Ok(imported) => {
            let bytes = fs::read(folder.path().join("out.db")).unwrap();
            assert_eq!(sha(&bytes), imported.database.to_string());
            let db = rusqlite::Connection::open(folder.path().join("out.db")).unwrap();
            let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
            assert_eq!(check, "ok");
            Ok(bytes)
        }
        Err(error) => {
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{error}");
            Err(error)
        }
    }
}

#[test]
fn stigmem_snapshots_pass_or_are_refused_as_their_names_say() {
    let trusted = TrustList::read(&sample("stigmem/trusted-keys.json")).unwrap();
    let of = |name: &str| import(&sample(&format!("stigmem/{name}.tar.gz")), &trusted);
    for name in ["good-fixedkey", "good-unicode-nodeid"] {
        assert!(of(name).is_ok(), "{name}: {:?}", of(name).err());
    }
    // Whole and signed, each by its own node: a manifest does not vouch for its own key.
    for name in ["real-nodekey", "real-nodekey-2"] {
        assert!(matches!(of(name), Err(RecoveryError::NotTrusted)), "{name}");
    }
    let (_kept, own) = trust(&["Jipvku_1xnrH4VMwC5ZU1VSEJqchZHbUo0p-WHM6NSs"]);
    import(&sample("stigmem/real-nodekey.tar.gz"), &own).unwrap();

    assert!(matches!(of("bad-cursor-tampered"), Err(RecoveryError::OtherFile(_))));
    assert!(matches!(of("bad-db-tampered"), Err(RecoveryError::OtherFile(_))));
    assert!(matches!(of("bad-db-is-symlink"), Err(RecoveryError::Entry(_))));
    assert!(matches!(of("bad-declared-missing"), Err(RecoveryError::Manifest(_))));
    assert!(matches!(of("bad-no-db"), Err(RecoveryError::Missing(_))));
    assert!(matches!(of("bad-no-manifest"), Err(RecoveryError::NotStigmem(_))));
    assert!(matches!(of("bad-signature"), Err(RecoveryError::Signature)));
    assert!(matches!(of("bad-symlink"), Err(RecoveryError::Entry(_))));
    assert!(matches!(of("bad-traversal"), Err(RecoveryError::Entry(_))));
    assert!(matches!(of("bad-version2-signed"), Err(RecoveryError::Version(2))));
    assert!(matches!(of("not-gzip"), Err(RecoveryError::Compression(_) | RecoveryError::Truncated)));
    assert!(matches!(of("truncated"), Err(RecoveryError::Truncated | RecoveryError::Compression(_))));
}

#[test]
fn a_stigmem_snapshot_is_imported_beside_no_log_and_over_no_file() {
    let trusted = TrustList::read(&sample("stigmem/trusted-keys.json")).unwrap();
    for planted in ["out.db", "out.db-wal", "out.db-shm"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(planted), "planted").unwrap();
        let into = Dir::open(folder.path()).unwrap();
        let file = OperatorFile::open(&sample("stigmem/good-fixedkey.tar.gz"), ROOM).unwrap();
        let outcome = import_stigmem(file, &trusted, ROOM, (&into, "out.db"));
        assert!(matches!(outcome, Err(RecoveryError::Exists(_))), "{planted}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(folder.path().join(planted)).unwrap(), b"planted");
    }
}

/// Gzip'd tars of a trusted manifest and something that makes a reader work without end.
#[test]
fn a_stigmem_bomb_ends_at_the_limit() {
    let trusted = TrustList::read(&sample("stigmem/trusted-keys.json")).unwrap();
    let good = fs::File::open(sample("stigmem/good-fixedkey.tar.gz")).unwrap();
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(good), &mut tar).unwrap();
    let mut archive = tar::Archive::new(tar.as_slice());
    let second = archive.entries().unwrap().nth(1).unwrap().unwrap().raw_header_position();
    tar.truncate(usize::try_from(second).unwrap());
    for kind in [tar::EntryType::XHeader, tar::EntryType::Regular] {
        let mut header = tar::Header::new_ustar();
        header.set_path("artifacts/stigmem.db").unwrap();
        header.set_size(1 << 32);
        header.set_entry_type(kind);
        header.set_cksum();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bomb.tar.gz");
        let mut gz = flate2::write::GzEncoder::new(fs::File::create(&file).unwrap(), flate2::Compression::fast());
        gz.write_all(&tar).unwrap();
        gz.write_all(header.as_bytes()).unwrap();
        gz.write_all(&vec![0; 16 << 20]).unwrap();
        gz.finish().unwrap();
        assert!(matches!(import(&file, &trusted), Err(RecoveryError::TooLong(_))), "{kind:?}");
    }
}

fn recover(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_exuvia-recover")).args(args).output().unwrap()
}

#[test]
fn the_program_decrypts_and_imports_and_says_what_a_format_cannot_promise() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("key"), hex::encode(std::array::from_fn::<u8, 32, _>(|n| u8::try_from(n).unwrap()))).unwrap();
    let input = sample("backupy/v1-hello.enc").display().to_string();
    let words =
        ["decrypt", "--format", "backupy-v1", "--key-file", &path("key"), "--in", &input, "--out", &path("out")];
    let output = recover(&words);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not protect their order"), "{output:?}");
    assert_eq!(fs::read(path("out")).unwrap(), b"hello backupy v1\n");
    assert_eq!(recover(&words).status.code(), Some(9));

    let (from, keys) = (sample("stigmem/good-fixedkey.tar.gz"), sample("stigmem/trusted-keys.json"));
    let (from, keys) = (from.display().to_string(), keys.display().to_string());
    let output = recover(&["import-stigmem", "--from", &from, "--trusted-keys", &keys, "--out", &path("db")]);
    assert!(output.status.success(), "{output:?}");
    let output = recover(&["verify", "--format", "stigmem-v1", "--trusted-keys", &keys, &from]);
    assert!(output.status.success(), "{output:?}");
    let bad = sample("stigmem/bad-signature.tar.gz").display().to_string();
    let output = recover(&["import-stigmem", "--from", &bad, "--trusted-keys", &keys, "--out", &path("bad")]);
    assert_eq!(output.status.code(), Some(4));
    assert!(!Path::new(&path("bad")).exists());
}
