//! Repositories as `exuvia-release repo` makes them: who signs what, and what other clients make of it.

use std::fs;

use exuvia::publish;
use exuvia::publish::repo::{ClientError, Desk, Folder, Place, RepoError, Rollout};
use exuvia::tuf::metadata::RoleType;
use exuvia::tuf::{MetadataError, UpdateError};
use exuvia::types::Channel;

use crate::shop::{Shop, roles, v};

#[test]
fn one_engineer_publishes_in_one_step() {
    let shop = Shop::open();
    shop.offers(&[]);
    let settled = shop.add(&mut shop.desk(), "1.4.0", &["alice", "online"]).unwrap();
    assert_eq!(roles(&settled), [RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp]);
    assert!(settled.waiting.is_empty());
    shop.offers(&["1.4.0"]);
    shop.desk().withdraw(&[v("1.4.0")], &shop.by(&["alice", "online"])).unwrap();
    shop.offers(&[]);
    assert_eq!(shop.files("staged"), Vec::<String>::new());
    let again = shop.init(&shop.init_of(&["alice"], &["alice"]), &["alice", "online"]);
    assert!(matches!(again, Err(RepoError::AlreadyThere(_))));
    // What is refused makes no folder.
    let other = Shop::new();
    let make = |by: &[&str]| {
        let open = || Ok(Box::new(Folder::open_or_make(&other.path("repo"))?) as Box<dyn Place>);
        Desk::init(open, &other.init_of(&["alice"], &["alice"]), &other.by(by), other.now).map(drop)
    };
    assert!(matches!(make(&["mallory"]), Err(RepoError::UnknownKey { .. })));
    assert!(!other.path("repo").exists());
}

#[test]
fn nothing_is_published_before_enough_engineers_have_signed() {
    let shop = Shop::new();
    let settled = shop.init(&shop.init_of(&["alice", "bob"], &["alice", "bob"]), &["alice"]).unwrap();
    assert!(settled.published.is_empty());
    let waits: Vec<_> = settled.waiting.iter().map(|it| (it.role, it.missing, it.may_sign.len())).collect();
    assert_eq!(waits, [(RoleType::Root, 1, 1), (RoleType::Targets, 1, 1)]);
    assert_eq!(shop.files("public/metadata"), Vec::<String>::new());
    assert_eq!(shop.files("staged"), ["root.json", "targets.json"]);

    let sign = |name: &str| {
        let mut desk = shop.desk();
        let engineer = &shop.by(&[name])[0];
        desk.waits_for(engineer).and_then(|roles| desk.sign_drafts(engineer, &roles))
    };
    // Each once, and nobody else.
    assert!(matches!(sign("alice"), Err(RepoError::SignedAlready { role: RoleType::Root, .. })));
    assert!(matches!(sign("mallory"), Err(RepoError::UnknownKey { .. })));
    assert!(matches!(sign("online"), Err(RepoError::NothingToSign(_))));
    assert_eq!(shop.files("public/metadata"), Vec::<String>::new());
    let settled = sign("bob").unwrap();
    assert!(settled.published.is_empty());
    let waits: Vec<_> = settled.waiting.iter().map(|it| it.role).collect();
    assert_eq!(waits, [RoleType::Snapshot, RoleType::Timestamp]);
    let settled = shop.desk().refresh(&shop.by(&["online"])).unwrap();
    assert_eq!(settled.published.len(), 4);
    shop.offers(&[]);

    // A release needs both of them, and root keys are not asked for.
    let settled = shop.add(&mut shop.desk(), "1.4.0", &["alice", "online"]).unwrap();
    assert!(settled.published.is_empty());
    shop.offers(&[]);
    sign("bob").unwrap();
    shop.desk().refresh(&shop.by(&["online"])).unwrap();
    shop.offers(&["1.4.0"]);
}

#[test]
fn what_is_signed_is_shown_and_what_was_changed_since_does_not_count() {
    let shop = Shop::new();
    shop.init(&shop.init_of(&["alice"], &["alice", "bob"]), &["alice", "bob", "online"]).unwrap();
    shop.add(&mut shop.desk(), "1.4.0", &["alice"]).unwrap();
    let review = shop.desk().review().unwrap();
    assert_eq!((review.len(), review[0].role, review[0].published), (1, RoleType::Targets, Some(1)));
    let lines: Vec<_> = review[0].changes.iter().map(ToString::to_string).collect();
    let says = |text: &str| lines.iter().any(|line| line.contains(text));
    assert!(says("~ version: 1 -> 2") && says("custom.exuvia.channel: \"stable\"") && says(".sig\"].length: 3309"));

    // Another change joins the draft: alice's signature over the first does not count for both.
    let edited = shop.desk().rollout(&v("1.4.0"), &Rollout::Halt, &shop.by(&["bob", "online"])).unwrap();
    assert!(edited.joined && edited.settled.published.is_empty());
    assert_eq!(edited.settled.waiting[0].missing, 2, "bob has not seen the rest of it either");
    // And so it is with a file that somebody edited.
    let draft = shop.path("repo/staged/targets.json");
    let bob = &shop.by(&["bob"])[0];
    shop.desk().sign_drafts(bob, &[RoleType::Targets]).unwrap();
    let text = fs::read_to_string(&draft).unwrap().replace("\"halted\":true", "\"halted\":false");
    fs::write(&draft, text).unwrap();
    assert_eq!(shop.desk().waits_for(bob).unwrap(), [RoleType::Targets], "what bob signed is another draft");
    // Given up, it leaves nothing behind.
    Desk::discard(shop.place(), RoleType::Targets, shop.now).unwrap();
    assert_eq!(shop.files("staged"), Vec::<String>::new());
    assert_eq!(shop.files("public/targets/exuvia/1.4.0"), Vec::<String>::new());
    shop.offers(&[]);
}

#[test]
fn a_release_goes_from_channel_to_channel_and_its_rollout_starts_halts_and_resumes() {
    let shop = Shop::open();
    let both = ["alice", "online"];
    shop.add(&mut shop.desk(), "1.4.0", &both).unwrap();
    let release = || shop.desk().status().unwrap().releases[0].clone();
    shop.desk().promote(&v("1.4.0"), Channel::Beta, &shop.by(&both)).unwrap();
    assert_eq!(release().channel, Channel::Beta);
    let waves = "1%@0h,100%@24h".parse::<publish::repo::Waves>().unwrap().0;
    let start = "2030-06-02T00:00:00Z".parse().unwrap();
    shop.desk().rollout(&v("1.4.0"), &Rollout::Start(start, waves.clone()), &shop.by(&both)).unwrap();
    shop.desk().rollout(&v("1.4.0"), &Rollout::Halt, &shop.by(&both)).unwrap();
    assert!(release().rollout.unwrap().is_halted());
    let edited = shop.desk().rollout(&v("1.4.0"), &Rollout::Resume, &shop.by(&both)).unwrap();
    assert!(edited.changed);
    let rollout = release().rollout.unwrap();
    assert_eq!((rollout.is_halted(), rollout.start(), rollout.waves()), (false, start, &waves[..]));
    let edited = shop.desk().rollout(&v("1.4.0"), &Rollout::Resume, &shop.by(&both)).unwrap();
    assert!(!edited.changed && edited.settled.published.is_empty());
    assert!(matches!(shop.desk().promote(&v("9.0.0"), Channel::Beta, &shop.by(&both)), Err(RepoError::NoRelease(_))));
    shop.offers(&["1.4.0"]);
}

#[test]
fn a_version_stays_what_it_was_even_after_it_was_withdrawn() {
    let shop = Shop::open();
    let both = ["alice", "online"];
    shop.add(&mut shop.desk(), "1.4.0", &both).unwrap();
    shop.desk().withdraw(&[v("1.4.0")], &shop.by(&both)).unwrap();
    shop.pack("other", "1.4.0", "something else");
    let before = shop.files("public/metadata");
    let refused = shop.add_packed(&mut shop.desk(), "other", "1.4.0", &both);
    assert!(matches!(refused, Err(RepoError::PublishedOtherwise(_))));
    assert_eq!(shop.files("public/metadata"), before);
    assert_eq!(shop.files("staged"), Vec::<String>::new());
    // The same archive may come back.
    shop.add_packed(&mut shop.desk(), "site", "1.4.0", &both).unwrap();
    shop.offers(&["1.4.0"]);
}

#[test]
fn an_archive_that_nodes_would_refuse_is_not_added() {
    let shop = Shop::open();
    shop.pack("site", "1.4.0", "good");
    let archive = shop.path("site/1.4.0/exuvia-x86_64-unknown-linux-gnu.tar.zst");
    let mut bytes = fs::read(&archive).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&archive, bytes).unwrap();
    let refused = shop.add_packed(&mut shop.desk(), "site", "1.4.0", &["alice", "online"]);
    assert!(matches!(refused, Err(RepoError::Archive { .. })), "{refused:?}");
    assert_eq!(shop.files("public/targets"), Vec::<String>::new());
    assert_eq!(shop.files("staged"), Vec::<String>::new());
}

#[test]
fn the_timer_renews_what_is_due_and_writes_nothing_else() {
    let mut shop = Shop::open();
    let online = shop.by(&["online"]);
    assert!(shop.desk().refresh(&online).unwrap().published.is_empty());
    shop.now = "2030-06-02T13:00:00Z".parse().unwrap();
    assert_eq!(roles(&shop.desk().refresh(&online).unwrap()), [RoleType::Timestamp]);
    // Everything has expired: clients stand still, and the timer brings them back.
    shop.now = "2030-08-01T00:00:00Z".parse().unwrap();
    let expired =
        |outcome| matches!(outcome, Err(ClientError::Update(UpdateError::Metadata(MetadataError::Expired { .. }))));
    assert!(expired(shop.client()));
    assert_eq!(roles(&shop.desk().refresh(&online).unwrap()), [RoleType::Snapshot, RoleType::Timestamp]);
    shop.offers(&[]);
    // Targets need people.
    shop.now = "2031-01-01T00:00:00Z".parse().unwrap();
    shop.desk().refresh(&online).unwrap();
    assert!(expired(shop.client()));
    shop.desk().renew_targets(&shop.by(&["alice", "online"])).unwrap();
    shop.offers(&[]);
}

#[test]
fn every_role_can_be_rotated_and_the_first_root_still_leads_to_the_newest() {
    let shop = Shop::open();
    shop.add(&mut shop.desk(), "1.4.0", &["alice", "online"]).unwrap();
    // The retiring key signs a last time: then the new root comes last, and nobody is refused in between.
    let settled = shop.rotate(RoleType::Timestamp, &["spare"], &["online"], &["alice", "online", "spare"]).unwrap();
    assert_eq!(roles(&settled), [RoleType::Timestamp, RoleType::Root]);
    shop.offers(&["1.4.0"]);
    // The key is gone: the new root comes first.
    let settled = shop.rotate(RoleType::Snapshot, &["spare"], &["online"], &["alice", "spare"]).unwrap();
    assert_eq!(roles(&settled), [RoleType::Snapshot, RoleType::Root, RoleType::Timestamp]);
    shop.offers(&["1.4.0"]);
    // Root and targets go from alice to bob. Bob alone is not enough for the root, nor is alice.
    let settled = shop.rotate(RoleType::Root, &["bob"], &["alice"], &["bob"]).unwrap();
    assert!(settled.published.is_empty() && settled.waiting[0].role == RoleType::Root);
    assert_eq!(shop.files("staged"), ["root.json"]);
    shop.offers(&["1.4.0"]);
    let settled = shop.desk().sign_drafts(&shop.by(&["alice"])[0], &[RoleType::Root]).unwrap();
    assert_eq!(roles(&settled), [RoleType::Root]);
    let settled = shop.rotate(RoleType::Targets, &["bob"], &["alice"], &["bob", "spare"]).unwrap();
    assert_eq!(settled.published.len(), 4, "{settled:?}");
    shop.offers(&["1.4.0"]);
    assert!(matches!(shop.add(&mut shop.desk(), "1.5.0", &["alice"]), Err(RepoError::UnknownKey { .. })));
    shop.add(&mut shop.desk(), "1.5.0", &["bob", "spare"]).unwrap();
    shop.offers(&["1.4.0", "1.5.0"]);
    assert!(matches!(
        shop.rotate(RoleType::Root, &[], &["bob"], &["bob"]),
        Err(RepoError::Threshold { role: RoleType::Root, threshold: 1, keys: 0 })
    ));
    assert!(matches!(shop.rotate(RoleType::Root, &[], &["carol"], &["bob"]), Err(RepoError::NoSuchKey { .. })));
    assert_eq!(shop.files("staged"), Vec::<String>::new());
}

#[test]
fn two_publishers_at_once_take_turns() {
    let shop = Shop::open();
    let versions = ["1.1.0", "1.2.0"];
    for version in versions {
        shop.pack("site", version, version);
    }
    std::thread::scope(|scope| {
        for version in versions {
            let shop = &shop;
            scope.spawn(move || shop.add_packed(&mut shop.desk(), "site", version, &["alice", "online"]).unwrap());
        }
    });
    shop.offers(&versions);
}

#[test]
fn what_was_tampered_with_is_not_built_upon_and_what_another_publisher_wrote_is_not_replaced() {
    let shop = Shop::open();
    // What somebody without keys writes is not built upon.
    let path = shop.path("repo/public/metadata/1.targets.json");
    let good = fs::read(&path).unwrap();
    let text = String::from_utf8(good.clone()).unwrap().replace("\"targets\":{}", "\"targets\":{ }");
    fs::write(&path, text.replace("2030-", "2039-")).unwrap();
    let refused = Desk::open(shop.place(), shop.now);
    assert!(matches!(refused, Err(RepoError::Published { .. })), "{refused:?}");
    fs::write(&path, good).unwrap();
    // A file of the next version that another publisher wrote elsewhere is not replaced.
    let taken = shop.path("repo/public/metadata/2.targets.json");
    fs::write(&taken, "{}").unwrap();
    assert!(matches!(shop.add(&mut shop.desk(), "1.4.0", &["alice", "online"]), Err(RepoError::Taken(_))));
    shop.offers(&[]);
    fs::remove_file(&taken).unwrap();
    drop(shop.desk());
    shop.offers(&["1.4.0"]);
}

type Refusal = fn(&RepoError) -> bool;

#[test]
fn a_draft_that_cannot_be_read_or_is_too_old_can_be_given_up_and_nothing_else_can_be_done() {
    let shop = Shop::open();
    let both = ["alice", "online"];
    shop.add(&mut shop.desk(), "1.4.0", &["alice"]).unwrap();
    let old = fs::read(shop.path("repo/staged/targets.json")).unwrap();
    shop.desk().refresh(&shop.by(&["online"])).unwrap();
    shop.add(&mut shop.desk(), "1.5.0", &both).unwrap();
    let refused: [(&[u8], Refusal); 2] = [
        (b"x", |error| matches!(error, RepoError::Format { .. })),
        // The first edition of the other draft: changed, so that it is not what was published.
        (&old, |error| matches!(error, RepoError::Stale { role: RoleType::Targets, draft: 2, published: 3 })),
    ];
    for (bytes, is_refused) in refused {
        let mut bytes = bytes.to_vec();
        bytes.push(b'\n');
        fs::write(shop.path("repo/staged/targets.json"), bytes).unwrap();
        let error = Desk::open(shop.place(), shop.now).map(drop).unwrap_err();
        assert!(is_refused(&error), "{error}");
        shop.offers(&["1.4.0", "1.5.0"]);
        Desk::discard(shop.place(), RoleType::Targets, shop.now).unwrap();
        assert_eq!(shop.files("staged"), Vec::<String>::new());
        drop(shop.desk());
    }
}

#[cfg(feature = "tuf-interop")]
#[test]
fn python_tuf_reads_what_exuvia_release_publishes() {
    use crate::differential::peer::Peer;
    let shop = Shop::new();
    shop.init(&shop.init_of(&["alice", "bob"], &["alice", "bob"]), &["alice", "bob", "online"]).unwrap();
    shop.add(&mut shop.desk(), "1.4.0", &["alice", "bob", "online"]).unwrap();
    shop.rotate(RoleType::Timestamp, &["spare"], &["online"], &["alice", "bob", "spare", "online"]).unwrap();
    shop.rotate(RoleType::Root, &["spare"], &["alice"], &["alice", "bob", "spare"]).unwrap();
    let file = |name: &str| fs::read(shop.path("repo/public/metadata").join(name)).unwrap();
    let steps: Vec<_> = [
        ("bootstrap", "1.root.json"),
        ("root", "2.root.json"),
        ("root", "3.root.json"),
        ("timestamp", "timestamp.json"),
        ("snapshot", "2.snapshot.json"),
        ("targets", "2.targets.json"),
    ]
    .map(|(step, name)| (step.to_owned(), file(name)))
    .into();
    let (done, why) = Peer::start().update(&steps, "2030-06-01T00:00:00+00:00");
    assert_eq!(done, steps.len(), "{why}");
    shop.offers(&["1.4.0"]);
}
