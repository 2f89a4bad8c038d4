use std::fs;
use std::path::Path;

use exuvia::snapshot::{FormatError, SnapshotError, Whose};
use rusqlite::Connection;

use crate::forge::{Parts, header, stored, tar_of, zstd};
use crate::nodes::{Node, verify};

/// What becomes of a file when it is verified and unpacked; what was refused left nothing.
fn outcome(node: &Node, file: &Path) -> Result<(), SnapshotError> {
    let out = tempfile::tempdir().unwrap();
    let into = exuvia::sys::Dir::open(out.path()).unwrap();
    let outcome = node.verify(file).and_then(|mut verified| {
        verified.unpack(&into, &[node.keys.identity()], &|role| (role.to_string(), 0o600), &mut |_, _| {})
    });
    let left = fs::read_dir(out.path()).unwrap().count();
    assert_eq!(left > 0, outcome.is_ok(), "{outcome:?}");
    outcome
}

#[track_caller]
fn is_malformed(outcome: Result<(), SnapshotError>, wanted: impl Fn(&FormatError) -> bool) {
    match outcome {
        Err(SnapshotError::Malformed { reason, .. }) if wanted(&reason) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn s1_every_byte_of_a_snapshot_flipped_in_turn_is_refused() {
    let node = Node::with_state('a');
    let whole = fs::read(node.take().unwrap().path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flipped");
    let mut changed = whole.clone();
    for at in 0..whole.len() {
        changed[at] ^= 1 << (at % 8);
        fs::write(&file, &changed).unwrap();
        assert!(node.verify(&file).is_err(), "byte {at}");
        changed[at] = whole[at];
    }
    fs::write(&file, &changed).unwrap();
    outcome(&node, &file).unwrap();
}

#[test]
fn s1_a_snapshot_that_is_cut_or_goes_on_is_refused() {
    let node = Node::with_state('a');
    let whole = fs::read(node.take().unwrap().path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut");
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        fs::write(&file, &whole[..length]).unwrap();
        is_malformed(outcome(&node, &file), |reason| matches!(reason, FormatError::Truncated));
    }
    for more in [&b"\0"[..], b"x", &[0; 512]] {
        fs::write(&file, [&whole, more].concat()).unwrap();
        is_malformed(outcome(&node, &file), |reason| matches!(reason, FormatError::Trailing));
    }
}

#[test]
fn s1_a_key_that_nobody_trusts_signs_nothing_whatever_the_manifest_says() {
    let (node, stranger) = (Node::with_state('a'), Node::with_state('a'));
    let taken = stranger.take().unwrap();
    assert!(matches!(outcome(&node, &taken.path), Err(SnapshotError::NotSigned { .. })));
}

#[test]
fn s1_a_snapshot_of_another_node_is_refused_and_named_where_its_key_is_trusted() {
    let (node, other) = (Node::with_state('a'), Node::with_state('b'));
    let taken = other.take().unwrap();
    let claimed = Some(other.id.clone());
    assert!(matches!(outcome(&node, &taken.path), Err(SnapshotError::NotSigned { claim, .. }) if claim == claimed));
    let trusted = other.keys.trusted();
    let mine = verify(&taken.path, &trusted, Whose::Node(&node.product, &node.id));
    assert!(matches!(mine, Err(SnapshotError::OtherNode { found, .. }) if found == other.id));
    assert!(verify(&taken.path, &trusted, Whose::AnyNode).is_ok());
    // Whose it may be is one question, and who signed it another.
    assert!(matches!(verify(&taken.path, &node.keys.trusted(), Whose::AnyNode), Err(SnapshotError::NotSigned { .. })));
}

#[test]
fn s1_manifest_and_payload_of_two_good_snapshots_do_not_mix() {
    let node = Node::with_state('a');
    let first = Parts::read(&node.take().unwrap().path);
    node.open_state().execute("INSERT INTO t VALUES ('more')", []).unwrap();
    let second = Parts::read(&node.take().unwrap().path);
    let folder = tempfile::tempdir().unwrap();
    let payload = Parts { payload: second.payload.clone(), ..first.clone() };
    is_malformed(outcome(&node, &payload.write(folder.path())), |reason| matches!(reason, FormatError::OtherPayload));
    let manifest = Parts { manifest: second.manifest, ..first.clone() };
    assert!(matches!(outcome(&node, &manifest.write(folder.path())), Err(SnapshotError::NotSigned { .. })));
    let signature = Parts { signature: second.signature, ..first };
    assert!(matches!(outcome(&node, &signature.write(folder.path())), Err(SnapshotError::NotSigned { .. })));
}

#[test]
fn s1_files_that_are_undeclared_missing_exchanged_or_out_of_order_are_refused() {
    let node = Node::with_state('a');
    let good = Parts::read(&node.take().unwrap().path);
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (&b"one"[..], &b"two"[..]);
    let files = || Some(vec![stored("one", one), stored("two", two)]);
    let made = |entries: &[(&str, &[u8])]| {
        let parts = good.clone().with_payload(&node, zstd(&tar_of(entries)), files());
        outcome(&node, &parts.write(folder.path()))
    };
    made(&[("one", one), ("two", two)]).unwrap();
    let payload = |reason: &FormatError| matches!(reason, FormatError::Payload);
    is_malformed(made(&[("one", one)]), payload);
    is_malformed(made(&[("two", two), ("one", one)]), payload);
    is_malformed(made(&[("one", one), ("../two", two)]), payload);
    is_malformed(made(&[("one", one), ("one", one)]), payload);
    is_malformed(made(&[("one", one), ("two", two), ("three", b"")]), |reason| matches!(reason, FormatError::Padding));
    is_malformed(made(&[("one", two), ("two", one)]), |reason| matches!(reason, FormatError::OtherFile(_)));
}

#[test]
fn s1_a_manifest_that_is_not_closed_and_canonical_is_refused_although_it_is_signed() {
    let node = Node::with_state('a');
    let good = Parts::read(&node.take().unwrap().path);
    let folder = tempfile::tempdir().unwrap();
    let text = String::from_utf8(good.manifest.clone()).unwrap();
    let signed = |text: String| {
        let mut parts = Parts { manifest: text.into_bytes(), ..good.clone() };
        parts.sign(&node);
        outcome(&node, &parts.write(folder.path()))
    };
    signed(text.clone()).unwrap();
    let manifest = |reason: &FormatError| matches!(reason, FormatError::Manifest(_));
    is_malformed(signed(text.replacen('{', "{\"extra\":1,", 1)), manifest);
    is_malformed(signed(text.replacen("\"sequence\":1,", "", 1)), manifest);
    is_malformed(signed(text.replacen("\"sequence\":1,", "\"sequence\":1,\"sequence\":1,", 1)), manifest);
    is_malformed(signed(text.replacen("state.db", "../state.db", 1)), manifest);
    is_malformed(signed(text.replacen("state.db", "ledger.db", 1)), manifest);
    is_malformed(signed(format!("{text} ")), |reason| matches!(reason, FormatError::NotCanonical));
    is_malformed(signed(text.replacen("snapshot-v1", "snapshot-v2", 1)), |reason| {
        matches!(reason, FormatError::OtherFormat)
    });
}

#[test]
fn s1_lengths_of_4_gib_and_more_reserve_nothing() {
    let node = Node::with_state('a');
    let good = Parts::read(&node.take().unwrap().path);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("long");
    for length in [1 << 32, 1 << 40, 1 << 62] {
        for (at, name) in [(0, "manifest.json"), (0, "manifest.sig")] {
            let mut bytes = good.bytes();
            bytes[at..at + 512].copy_from_slice(&header(name, length));
            fs::write(&file, bytes).unwrap();
            assert!(matches!(outcome(&node, &file), Err(SnapshotError::Malformed { .. })));
        }
        let mut bytes = good.bytes();
        let at = bytes.len() - 1024 - good.payload.len().next_multiple_of(512) - 512;
        bytes[at..at + 512].copy_from_slice(&header(&good.payload_name, length));
        fs::write(&file, bytes).unwrap();
        is_malformed(outcome(&node, &file), |reason| {
            matches!(reason, FormatError::OtherPayload | FormatError::TooLong(_))
        });
    }
    // Signed, and a lie all the same: what is not there is not written.
    let mut long = stored("state.db", b"short");
    long.length = 1 << 40;
    let parts = good.clone().with_payload(&node, zstd(&tar_of(&[("state.db", b"short")])), Some(vec![long.clone()]));
    assert!(matches!(
        outcome(&node, &parts.write(folder.path())),
        Err(SnapshotError::Space { .. } | SnapshotError::Malformed { .. })
    ));
    long.length = (1 << 40) + 1;
    let parts = good.with_payload(&node, Vec::new(), Some(vec![long]));
    is_malformed(outcome(&node, &parts.write(folder.path())), |reason| matches!(reason, FormatError::TooLong(_)));
}

#[test]
fn s1_a_decompression_bomb_ends_at_the_signed_length() {
    let node = Node::with_state('a');
    let good = Parts::read(&node.take().unwrap().path);
    let folder = tempfile::tempdir().unwrap();
    let mut tar = tar_of(&[("state.db", b"small")]);
    tar.resize(128 << 20, 0);
    let bomb = zstd(&tar);
    assert!(bomb.len() < 64 << 10);
    let parts = good.clone().with_payload(&node, bomb, Some(vec![stored("state.db", b"small")]));
    let began = std::time::Instant::now();
    is_malformed(outcome(&node, &parts.write(folder.path())), |reason| matches!(reason, FormatError::Trailing));
    assert!(began.elapsed().as_secs() < 5);

    // A frame that asks for a window of 64 MiB.
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(26).unwrap();
    std::io::Write::write_all(&mut encoder, &tar).unwrap();
    let parts = good.clone().with_payload(&node, encoder.finish().unwrap(), Some(vec![stored("state.db", b"small")]));
    is_malformed(outcome(&node, &parts.write(folder.path())), |reason| matches!(reason, FormatError::Compression(_)));

    // A second frame behind the first.
    let small = zstd(&tar_of(&[("state.db", b"small")]));
    let parts = good.with_payload(&node, [&small[..], &small].concat(), Some(vec![stored("state.db", b"small")]));
    is_malformed(outcome(&node, &parts.write(folder.path())), |reason| matches!(reason, FormatError::Trailing));
}

#[test]
fn s1_pieces_of_a_sealed_payload_that_are_moved_dropped_or_repeated_are_refused_even_when_signed() {
    const CHUNK: usize = (64 << 10) + 16;
    let node = Node::with_state('a');
    // What does not compress fills several pieces.
    node.open_state().execute("INSERT INTO t VALUES (hex(randomblob(300000)))", []).unwrap();
    let good = Parts::read(&node.take_for(&[node.keys.recipient()]).unwrap().path);
    let folder = tempfile::tempdir().unwrap();
    // The header ends with a line that begins with `---`, and a nonce of 16 bytes.
    let mac = good.payload.windows(5).position(|bytes| bytes == b"\n--- ").unwrap() + 1;
    let body = mac + good.payload[mac..].iter().position(|byte| *byte == b'\n').unwrap() + 1 + 16;
    let (head, body) = good.payload.split_at(body);
    let chunks: Vec<_> = body.chunks(CHUNK).collect();
    assert!(chunks.len() >= 4);
    let mut orders: Vec<Vec<usize>> = vec![(0..chunks.len()).collect(); 4];
    orders[0].swap(0, 1);
    orders[1].remove(1);
    orders[2].insert(1, 0);
    orders[3].pop();
    for order in orders {
        let payload = [head, &order.iter().map(|at| chunks[*at]).collect::<Vec<_>>().concat()].concat();
        let unsigned = Parts { payload: payload.clone(), ..good.clone() };
        is_malformed(outcome(&node, &unsigned.write(folder.path())), |reason| {
            matches!(reason, FormatError::OtherPayload)
        });
        let signed = good.clone().with_payload(&node, payload, None);
        is_malformed(outcome(&node, &signed.write(folder.path())), |reason| {
            matches!(reason, FormatError::Compression(_) | FormatError::Truncated)
        });
    }
}

#[test]
fn s1_a_log_that_lies_beside_the_database_is_not_played_into_the_restored_one() {
    let node = Node::with_state('a');
    let taken = node.take().unwrap();
    // A log of the same database, of a later time, as a kill leaves it.
    let writer = node.open_state();
    writer.execute("INSERT INTO t VALUES ('later')", []).unwrap();
    let wal = node.data.path().join("state.db-wal");
    let log = fs::read(&wal).unwrap();
    assert!(!log.is_empty());
    drop(writer);
    fs::write(&wal, &log).unwrap();
    let restored = node.restore(&taken).unwrap();
    assert!(!wal.exists());
    assert_eq!(fs::read(restored.aside.unwrap().join("state.db-wal")).unwrap(), log);
    assert_eq!(node.rows(), ["first"]);
}

#[test]
fn s1_a_file_under_anothers_name_or_another_than_the_record_names_is_refused() {
    let node = Node::with_state('a');
    let (first, second) = (node.take().unwrap(), node.take().unwrap());
    fs::copy(&first.path, &second.path).unwrap();
    let keys = node.keys.trusted();
    let check = |id, digest| {
        let whose = Whose::Node(&node.product, &node.id);
        let expected = exuvia::snapshot::Expectations { keys: &keys, whose, id, digest };
        node.snapshots.find(&second.id).unwrap().verify(&expected, &mut |_, _| {}).map(drop)
    };
    assert!(
        matches!(check(Some(&second.id), None), Err(SnapshotError::OtherSnapshot { found, .. }) if found == first.id)
    );
    assert!(matches!(check(None, Some(second.digest)), Err(SnapshotError::OtherContent(_))));
    check(Some(&first.id), Some(first.digest)).unwrap();
}

#[test]
fn s1_what_a_snapshot_was_restored_over_is_never_deleted() {
    let node = Node::with_state('a');
    let taken = node.take().unwrap();
    let mut aside = Vec::new();
    for text in ["one", "two"] {
        node.open_state().execute("INSERT INTO t VALUES (?1)", [text]).unwrap();
        aside.push(node.restore(&taken).unwrap().aside.unwrap());
    }
    for (folder, text) in aside.iter().zip(["one", "two"]) {
        let db = Connection::open(folder.join("state.db")).unwrap();
        let rows: i64 = db.query_row("SELECT count(*) FROM t WHERE text = ?1", [text], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
    }
}
