//! Targets through delegated roles (sections 4.5 and 5.6.7 of the specification).

use exuvia::tuf::metadata::{
    DelegatedPaths, DelegatedRole, DelegationError, Delegations, Role, SuccinctRoles, Targets,
};
use exuvia::tuf::{MetadataError, UpdateError};

use crate::sim::{Client, Error, PAST, Sim, bump, expires, head, signer};

/// Delegator, role, patterns, terminating.
type Edge<'a> = (&'a str, &'a str, &'a [&'a str], bool);

const ALL: &[&str] = &["*"];

fn graph(edges: &[Edge<'_>]) -> Client {
    let mut sim = Sim::new();
    for (delegator, role, paths, terminating) in edges {
        sim.delegate(delegator, role, paths, *terminating, 60);
    }
    sim.publish();
    Client::of(sim)
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>) -> MetadataError {
    match outcome {
        Err(UpdateError::Metadata(error)) => error,
        other => panic!("no metadata was refused: {other:?}"),
    }
}

#[test]
fn t42_roles_are_asked_depth_first_in_their_order_each_once_and_no_further_than_terminating_ones() {
    let cases: &[(&[Edge<'_>], &[&str])] = &[
        (&[("targets", "A", ALL, false)], &["A"]),
        (&[("targets", "A", ALL, false), ("targets", "B", ALL, false)], &["A", "B"]),
        (&[("targets", "A", ALL, false), ("targets", "B", ALL, false), ("B", "C", ALL, false)], &["A", "B", "C"]),
        (
            &[
                ("targets", "A", ALL, false),
                ("targets", "B", ALL, false),
                ("A", "C", ALL, false),
                ("A", "D", ALL, false),
            ],
            &["A", "C", "D", "B"],
        ),
        // A terminating role ends the search for its siblings and for those of its ancestors.
        (
            &[
                ("targets", "A", ALL, false),
                ("targets", "B", ALL, false),
                ("A", "C", ALL, true),
                ("A", "D", ALL, false),
            ],
            &["A", "C"],
        ),
        (
            &[
                ("targets", "A", ALL, false),
                ("targets", "B", ALL, false),
                ("A", "C", ALL, true),
                ("C", "D", ALL, false),
            ],
            &["A", "C", "D"],
        ),
        (&[("targets", "A", ALL, false), ("targets", "B", ALL, true), ("targets", "C", ALL, false)], &["A", "B"]),
        // One that does not speak for the path ends nothing.
        (&[("targets", "A", &["*.py"], true), ("targets", "B", ALL, false), ("A", "C", ALL, false)], &["B"]),
        (
            &[
                ("targets", "A", ALL, false),
                ("targets", "B", ALL, false),
                ("A", "C", &["*.py"], false),
                ("C", "D", ALL, false),
            ],
            &["A", "B"],
        ),
        // Circles, and two ways to one role.
        (
            &[
                ("targets", "A", ALL, false),
                ("targets", "B", ALL, false),
                ("B", "C", ALL, false),
                ("C", "D", ALL, false),
                ("D", "B", ALL, false),
            ],
            &["A", "B", "C", "D"],
        ),
        (
            &[
                ("targets", "A", ALL, false),
                ("targets", "B", ALL, false),
                ("B", "C", ALL, false),
                ("A", "C", ALL, false),
            ],
            &["A", "C", "B"],
        ),
        (
            &[
                ("targets", "A", ALL, false),
                ("targets", "B", ALL, false),
                ("B", "C", ALL, false),
                ("A", "C", &["*.py"], false),
            ],
            &["A", "B", "C"],
        ),
    ];
    for (edges, asked) in cases {
        let client = graph(edges);
        assert_eq!(client.find("missing").unwrap(), None);
        assert_eq!(client.roles_asked(), *asked, "{edges:?}");
    }
}

#[test]
fn t42_nothing_is_fetched_behind_the_role_that_lists_the_target_and_nothing_twice() {
    let client = graph(&[("targets", "A", ALL, false), ("targets", "B", ALL, false), ("targets", "C", ALL, false)]);
    client.sim().add_artifact("C", "file", b"by C, whom nobody asks");
    client.sim().add_artifact("B", "file", b"by B");
    client.sim().publish();
    let (outcome, content) = client.fetch("file");
    outcome.unwrap();
    assert_eq!(content, b"by B");
    assert_eq!(client.roles_asked()[..2], ["A", "B"]);
    assert_eq!(client.find("file").unwrap().unwrap().length, 4);
    assert_eq!(client.requests(), ["2.root.json", "timestamp.json"], "the roles are stored");
}

#[test]
fn t42_the_number_of_roles_that_are_asked_is_bounded() {
    let names: Vec<String> = (0..40).map(|number| format!("r{number}")).collect();
    let mut sim = Sim::new();
    for (at, name) in names.iter().enumerate() {
        let delegator = if at == 0 { "targets" } else { &names[at - 1] };
        sim.delegate(delegator, name, ALL, false, 60);
    }
    sim.add_artifact("r31", "reached", b"");
    sim.add_artifact("r32", "too far", b"");
    sim.publish();
    let client = Client::of(sim);
    assert!(client.find("reached").unwrap().is_some());
    assert_eq!(client.roles_asked().len(), 32);
    assert!(matches!(refused(client.find("too far")), MetadataError::TooManyRoles { limit: 32, .. }));
}

#[test]
fn t43_every_role_on_the_way_must_speak_for_the_path() {
    let client = graph(&[
        ("targets", "A", &["*.doc", "*.md"], false),
        ("targets", "B", &["releases/*/*"], false),
        ("B", "C", &["releases/x/*"], false),
        ("B", "D", &["releases/y/*.zip"], false),
    ]);
    for (role, path) in [
        ("targets", "file"),
        ("A", "README.md"),
        ("C", "releases/x/x_v1"),
        ("D", "releases/y/y_v1.zip"),
        ("D", "releases/z/z_v1.zip"),
        ("C", "README.txt"),
        ("C", "other/x/1"),
    ] {
        client.sim().add_artifact(role, path, path.as_bytes());
    }
    client.sim().publish();
    let found: &[(&str, bool, &[&str])] = &[
        ("file", true, &[]),
        ("README.md", true, &["A"]),
        ("releases/x/x_v1", true, &["B", "C"]),
        ("releases/y/y_v1.zip", true, &["B", "D"]),
        // Listed by roles that may not speak for it.
        ("releases/z/z_v1.zip", false, &["B"]),
        ("README.txt", false, &[]),
        ("other/x/1", false, &[]),
    ];
    for (path, is_there, asked) in found {
        let fresh = client.beside();
        assert_eq!(fresh.find(path).unwrap().is_some(), *is_there, "{path}");
        assert_eq!(fresh.roles_asked(), *asked, "{path}");
    }
}

#[test]
fn t45_a_role_is_verified_for_each_delegation_under_which_it_is_met() {
    // A and B both delegate to C, and mean different keys.
    let mut sim = Sim::new();
    sim.delegate("targets", "A", &["a/*"], false, 60);
    sim.delegate("targets", "B", &["b/*"], false, 60);
    sim.delegate("A", "C", &["*/*"], false, 61);
    sim.delegate("B", "C", &["*/*"], false, 62);
    sim.signers.insert("C".into(), vec![61]);
    sim.add_artifact("C", "a/file", b"a");
    sim.add_artifact("C", "b/file", b"b");
    sim.publish();
    let client = Client::of(sim);
    assert!(client.find("a/file").unwrap().is_some());
    // Stored, and trusted by A. For B it is a file that nobody signed.
    let error = refused(client.find("b/file"));
    assert!(
        matches!(error, MetadataError::Delegation(DelegationError::Unsigned { ref role, .. }) if role == "C"),
        "{error}"
    );
    assert!(client.find("a/file").unwrap().is_some());
    // Within one update too.
    crate::sim::block_on(async {
        let mut updater = client.updater();
        let mut refreshed = updater.refresh(client.now.parse().unwrap()).await.unwrap();
        assert!(refreshed.find("a/file").await.unwrap().is_some());
        let asked = client.requests().len();
        assert!(matches!(refused(refreshed.find("b/file").await), MetadataError::Delegation(_)));
        assert_eq!(client.requests().len(), asked, "what is here is not asked for again");
        assert!(refreshed.find("a/file").await.unwrap().is_some());
    });
}

#[test]
fn t46_a_role_that_the_snapshot_does_not_name_is_neither_fetched_nor_trusted() {
    let client = graph(&[("targets", "A", ALL, false)]);
    client.sim().add_artifact("A", "file", b"");
    let stored = {
        let sim = client.sim();
        sim.signed("A", &sim.delegated["A"])
    };
    client.sim().snapshot.meta.remove("A.json");
    bump(&mut client.sim().snapshot);
    client.sim().bump_timestamp();
    client.write("A.json", &stored);
    assert!(matches!(refused(client.find("file")), MetadataError::NotInSnapshot(role) if role == "A"));
    assert!(client.roles_asked().is_empty());
}

#[test]
fn t47_a_delegated_role_is_judged_like_the_top_level_s() {
    type Spoil = fn(&mut Sim);
    type Expected = fn(&MetadataError) -> bool;
    let cases: [(&str, Spoil, Expected); 4] = [
        (
            "another content",
            |sim| sim.add_artifact("A", "file", b"other"),
            |error| matches!(error, MetadataError::Mismatch { role, .. } if role == "A"),
        ),
        (
            "version",
            |sim| {
                sim.states_digests = false;
                sim.publish();
                bump(sim.role_mut("A"));
            },
            |error| matches!(error, MetadataError::Version { .. }),
        ),
        (
            "signature",
            |sim| {
                sim.states_digests = false;
                sim.signers.insert("A".into(), vec![99]);
                sim.publish();
            },
            |error| matches!(error, MetadataError::Delegation(_)),
        ),
        (
            "expiry",
            |sim| {
                sim.role_mut("A").head.expires = expires(PAST);
                sim.publish();
            },
            |error| matches!(error, MetadataError::Expired { role, .. } if role == "A"),
        ),
    ];
    for (name, spoil, expected) in cases {
        let mut sim = Sim::new();
        sim.states_digests = true;
        sim.delegate("targets", "A", ALL, false, 60);
        sim.add_artifact("A", "file", b"");
        sim.publish();
        spoil(&mut sim);
        let client = Client::of(sim);
        let error = refused(client.find("file"));
        assert!(expected(&error), "{name}: {error}");
        assert_eq!(client.version("A"), 0, "{name}: nothing is stored");
    }
}

#[test]
fn t50_a_path_that_a_role_may_not_speak_for_is_passed_over_and_spoils_nothing() {
    let client = graph(&[("targets", "A", &["a/*"], false), ("targets", "B", ALL, false)]);
    for path in ["file", "a/file", "../../etc/passwd"] {
        client.sim().add_artifact("A", path, b"by A");
    }
    client.sim().add_artifact("B", "file", b"B's own");
    client.sim().publish();
    let (outcome, content) = client.fetch("a/file");
    outcome.unwrap();
    assert_eq!(content, b"by A");
    let (outcome, content) = client.fetch("file");
    outcome.unwrap();
    assert_eq!(content, b"B's own");
}

#[test]
fn t41_unusual_names_of_roles_stay_in_their_place_on_the_server_and_on_disk() {
    for (role, encoded) in [
        ("?", "%3F"),
        ("#", "%23"),
        ("/delegatedrole", "%2Fdelegatedrole"),
        ("../delegatedrole", "..%2Fdelegatedrole"),
        ("..", ".."),
        ("a b", "a%20b"),
        ("\u{e9}", "%C3%A9"),
        ("%2F", "%252F"),
        ("state/accepted", "state%2Faccepted"),
    ] {
        let client = graph(&[("targets", role, ALL, false)]);
        assert_eq!(client.find("missing").unwrap(), None);
        assert_eq!(*client.requests().last().unwrap(), format!("1.{encoded}.json"));
        assert!(client.file(&format!("{encoded}.json")).is_some(), "{role}");
        let mut names: Vec<_> = std::fs::read_dir(client.dir.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| {
            !["root.json", "timestamp.json", "snapshot.json", "targets.json", "root_history", "state"]
                .contains(&name.as_str())
        });
        assert_eq!(names, [format!("{encoded}.json")]);
    }
}

#[test]
fn t54_a_target_is_searched_in_its_bin_and_nowhere_else() {
    let mut sim = Sim::new();
    let public = signer(60).public();
    let bins = SuccinctRoles::new(Role::one_of([public.keyid()]), 3, "bin").unwrap();
    for name in bins.roles() {
        sim.delegated.insert(name.clone(), Targets::new(head()));
        sim.signers.insert(name, vec![60]);
    }
    let own = bins.role_for_target("file");
    let other = bins.roles().find(|name| *name != own).unwrap();
    sim.targets.delegations = Some(Delegations::to_bins([public], bins));
    sim.add_artifact(&own, "file", b"content");
    sim.add_artifact(&other, "file 2", b"in another's bin");
    sim.publish();
    let client = Client::of(sim);
    let (outcome, content) = client.fetch("file");
    outcome.unwrap();
    assert_eq!(content, b"content");
    assert_eq!(client.roles_asked()[0], own);
}

#[test]
fn t44_hash_prefixes_select_by_the_digest_of_the_path() {
    // SHA-256 of "test" begins with 9f86d0.
    for (prefixes, is_there) in
        [(&["9f"][..], true), (&["00", "9f86"], true), (&[""], true), (&["9F"], false), (&["86"], false), (&[], false)]
    {
        let mut sim = Sim::new();
        sim.delegate("targets", "A", &[], false, 60);
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        let paths = DelegatedPaths::HashPrefixes(prefixes.clone());
        *sim.targets.roles_mut().unwrap() =
            vec![DelegatedRole::new("A", Role::one_of([signer(60).public().keyid()]), paths)];
        sim.add_artifact("A", "test", b"");
        sim.publish();
        assert_eq!(Client::of(sim).find("test").unwrap().is_some(), is_there, "{prefixes:?}");
    }
}
