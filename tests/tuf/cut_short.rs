//! Publishers that are cut short, and readers meanwhile.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use exuvia::publish::repo::{Desk, Folder, Hold, Place, PlaceError, RepoError, Rotation, Settled, Stored};
use exuvia::sys::SysError;
use exuvia::tuf::metadata::RoleType;
use exuvia::types::ByteLimit;

use crate::shop::{Shop, client_at, v};

/// A place whose power fails after so many changes.
#[derive(Debug)]
pub struct Failing {
    pub inner: Folder,
    pub left: Arc<AtomicUsize>,
}

impl Failing {
    fn step(&self) -> Result<(), PlaceError> {
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => Err(SysError::read_of("power", std::io::ErrorKind::BrokenPipe.into()).into()),
        }
    }
}

impl Place for Failing {
    fn shown(&self) -> String {
        self.inner.shown()
    }

    fn read(&self, path: &str, limit: ByteLimit) -> Result<Option<Vec<u8>>, PlaceError> {
        self.inner.read(path, limit)
    }

    fn copy(&self, path: &str, limit: ByteLimit, into: &mut dyn Write) -> Result<bool, PlaceError> {
        self.inner.copy(path, limit, into)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        self.step()?;
        self.inner.write(path, bytes)
    }

    fn write_from(&self, path: &str, content: &mut dyn Read, length: u64) -> Result<(), PlaceError> {
        self.step()?;
        self.inner.write_from(path, content, length)
    }

    fn remove(&self, path: &str) -> Result<(), PlaceError> {
        self.step()?;
        self.inner.remove(path)
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, PlaceError> {
        self.inner.names(folder)
    }

    fn files(&self, folder: &str) -> Result<Vec<Stored>, PlaceError> {
        self.inner.files(folder)
    }

    fn sweep(&self, folder: &str) -> Result<usize, PlaceError> {
        self.inner.sweep(folder)
    }

    fn remove_folder(&self, folder: &str) -> Result<(), PlaceError> {
        self.step()?;
        self.inner.remove_folder(folder)
    }

    fn lock(&self) -> Result<Option<Box<dyn Hold>>, PlaceError> {
        self.inner.lock()
    }
}

/// A place whose right to change it is somebody else's by the time it is looked at again.
#[derive(Debug)]
pub struct Overtaken(pub Folder);

#[derive(Debug)]
struct Lost(Box<dyn Hold>);

impl Hold for Lost {
    fn is_still_ours(&self) -> Result<bool, PlaceError> {
        Ok(false)
    }

    fn time(&self) -> Result<jiff::Timestamp, PlaceError> {
        self.0.time()
    }
}

impl Place for Overtaken {
    fn shown(&self) -> String {
        self.0.shown()
    }

    fn read(&self, path: &str, limit: ByteLimit) -> Result<Option<Vec<u8>>, PlaceError> {
        self.0.read(path, limit)
    }

    fn copy(&self, path: &str, limit: ByteLimit, into: &mut dyn Write) -> Result<bool, PlaceError> {
        self.0.copy(path, limit, into)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        self.0.write(path, bytes)
    }

    fn write_from(&self, path: &str, content: &mut dyn Read, length: u64) -> Result<(), PlaceError> {
        self.0.write_from(path, content, length)
    }

    fn remove(&self, path: &str) -> Result<(), PlaceError> {
        self.0.remove(path)
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, PlaceError> {
        self.0.names(folder)
    }

    fn files(&self, folder: &str) -> Result<Vec<Stored>, PlaceError> {
        self.0.files(folder)
    }

    fn sweep(&self, folder: &str) -> Result<usize, PlaceError> {
        self.0.sweep(folder)
    }

    fn remove_folder(&self, folder: &str) -> Result<(), PlaceError> {
        self.0.remove_folder(folder)
    }

    fn lock(&self) -> Result<Option<Box<dyn Hold>>, PlaceError> {
        Ok(self.0.lock()?.map(|hold| Box::new(Lost(hold)) as Box<dyn Hold>))
    }
}

pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Plays a change with the power failing after each of its steps. After each, readers see what was before or
/// what comes after it, and the same change (or a refresh) completes it.
fn cut_short_everywhere(
    shop: &Shop,
    after: &[&str],
    change: impl Fn(&mut Desk) -> Result<Settled, RepoError>,
) -> usize {
    let before = shop.client().unwrap();
    copy_tree(&shop.path("repo"), &shop.path("saved"));
    for steps in 0.. {
        assert!(steps < 60, "it never ends");
        fs::remove_dir_all(shop.path("repo")).unwrap();
        copy_tree(&shop.path("saved"), &shop.path("repo"));
        let left = Arc::new(AtomicUsize::new(steps));
        let place = Failing { inner: Folder::open(&shop.path("repo")).unwrap(), left: left.clone() };
        let outcome = Desk::open(Box::new(place), shop.now).and_then(|mut desk| change(&mut desk));
        let seen = shop.client().unwrap_or_else(|error| panic!("after {steps} steps: {error}"));
        assert!(seen == before || seen == after, "after {steps} steps: {seen:?}");
        if outcome.is_ok() {
            assert_eq!(seen, after);
            fs::remove_dir_all(shop.path("saved")).unwrap();
            return steps;
        }
        // The next run finishes what was begun, or does it again.
        match change(&mut shop.desk()) {
            Ok(_) | Err(RepoError::NoRelease(_)) => {}
            Err(error) => panic!("after {steps} steps: {error}"),
        }
        if shop.client().unwrap() != after {
            // The draft was staged, and what joins it is signed by those who look at it.
            let mut desk = shop.desk();
            let alice = &shop.by(&["alice"])[0];
            if let Ok(roles) = desk.waits_for(alice) {
                desk.sign_drafts(alice, &roles).unwrap();
            }
            desk.refresh(&shop.by(&["online"])).unwrap();
        }
        shop.offers(after);
        assert_eq!(shop.files("staged"), Vec::<String>::new(), "after {steps} steps");
    }
    unreachable!()
}

#[test]
fn a_publisher_that_is_cut_short_at_any_step_leaves_readers_the_state_before_or_the_one_after() {
    let shop = Shop::open();
    let both = || shop.by(&["alice", "online"]);
    shop.pack("site", "1.4.0", "1.4.0");
    let steps =
        cut_short_everywhere(&shop, &["1.4.0"], |desk| shop.add_packed(desk, "site", "1.4.0", &["alice", "online"]));
    assert!(steps >= 8, "two files, three editions staged and published: {steps}");
    cut_short_everywhere(&shop, &[], |desk| Ok(desk.withdraw(&[v("1.4.0")], &both())?.settled));
}

#[test]
fn a_rotation_that_is_cut_short_at_any_step_refuses_no_reader_when_the_old_key_signs_too() {
    let shop = Shop::open();
    let rotation = || Rotation { add: shop.keys(&["spare"]), remove: vec!["online".to_owned()], threshold: None };
    copy_tree(&shop.path("repo"), &shop.path("saved"));
    for steps in 0..40 {
        fs::remove_dir_all(shop.path("repo")).unwrap();
        copy_tree(&shop.path("saved"), &shop.path("repo"));
        let place =
            Failing { inner: Folder::open(&shop.path("repo")).unwrap(), left: Arc::new(AtomicUsize::new(steps)) };
        let by = shop.by(&["alice", "online", "spare"]);
        let outcome = Desk::open(Box::new(place), shop.now)
            .and_then(|mut desk| desk.rotate(RoleType::Timestamp, &rotation(), &by));
        shop.offers(&[]);
        if outcome.is_ok() {
            assert!(steps >= 4);
            return;
        }
        // Whatever was staged is complete, or is signed by those who look at it.
        let mut desk = shop.desk();
        let alice = &by[0];
        if let Ok(roles) = desk.waits_for(alice) {
            desk.sign_drafts(alice, &roles).unwrap();
        }
        match desk.refresh(&shop.by(&["online", "spare"])) {
            // Before anything was staged, nobody knows the new key.
            Ok(_) | Err(RepoError::UnknownKey { .. }) => {}
            Err(error) => panic!("after {steps} steps: {error}"),
        }
        shop.offers(&[]);
    }
    panic!("it never ends");
}

#[test]
fn a_root_that_the_retiring_key_does_not_sign_is_completed_by_the_next_run() {
    let shop = Shop::open();
    copy_tree(&shop.path("repo"), &shop.path("saved"));
    let rotation = || Rotation { add: shop.keys(&["spare"]), remove: vec!["online".to_owned()], threshold: None };
    let mut refused = 0;
    for steps in 0..40 {
        fs::remove_dir_all(shop.path("repo")).unwrap();
        copy_tree(&shop.path("saved"), &shop.path("repo"));
        let place =
            Failing { inner: Folder::open(&shop.path("repo")).unwrap(), left: Arc::new(AtomicUsize::new(steps)) };
        let by = shop.by(&["alice", "spare"]);
        let outcome = Desk::open(Box::new(place), shop.now)
            .and_then(|mut desk| desk.rotate(RoleType::Timestamp, &rotation(), &by));
        refused += usize::from(shop.client().is_err());
        if outcome.is_ok() {
            assert_eq!(refused, 1, "between the new root and its timestamp, and nowhere else");
            return;
        }
        // To open it is enough: the drafts have all that they need.
        drop(shop.desk());
        shop.offers(&[]);
    }
    panic!("it never ends");
}

#[test]
fn who_reads_all_the_time_sees_whole_states_alone() {
    let shop = Shop::open();
    let is_done = AtomicBool::new(false);
    let (repo, now) = (shop.path("repo"), shop.now);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = Vec::new();
            while !is_done.load(Ordering::SeqCst) {
                // A reader that was overtaken while it fetched is no reader of half a release: its files stay.
                let versions = client_at(&repo, now).unwrap();
                if seen.last() != Some(&versions) {
                    seen.push(versions);
                }
            }
            seen
        });
        for version in ["1.1.0", "1.2.0", "1.3.0"] {
            shop.add(&mut shop.desk(), version, &["alice", "online"]).unwrap();
            shop.rotate(RoleType::Root, &[], &[], &["alice"]).unwrap();
        }
        is_done.store(true, Ordering::SeqCst);
        let seen = reader.join().unwrap();
        let all = ["1.1.0", "1.2.0", "1.3.0"];
        assert!(seen.iter().all(|versions| all.starts_with(&versions.iter().map(String::as_str).collect::<Vec<_>>())));
    });
    shop.offers(&["1.1.0", "1.2.0", "1.3.0"]);
}
