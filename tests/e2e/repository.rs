//! A repository of release metadata on a web server: the simulator that the client's own tests use, with
//! real archives among its targets.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use exuvia::tuf::metadata::{Expires, MetaFile, RoleType};
use exuvia::tuf::{Answer, ReleaseDescription, RemoteFile, Repository as _};
use exuvia::types::{ArchiveFormat, Channel, ReleaseId, RolloutPolicy, Target, Wave};
use jiff::Timestamp;

use crate::http_server::{Server, raw, reply};
use crate::sim::{Fault, Remote, Sim, block_on, bump};
use crate::support::builds;
use crate::support::releases::{SignedAs, packed};

/// A repository that the pinned root of test builds vouches for.
pub struct Repository {
    sim: Arc<Mutex<Sim>>,
    server: Server,
}

/// A moment so far from now.
pub fn from_now(seconds: i64) -> Timestamp {
    let second = Timestamp::now().as_second() + seconds;
    Timestamp::from_second(second).unwrap()
}

impl Repository {
    /// With nothing in it, valid for days.
    pub fn new() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), Sim::new())
    }

    fn at(addr: SocketAddr, mut sim: Sim) -> Self {
        let later = Expires::at(from_now(3 * 86_400));
        for head in [&mut sim.root.head, &mut sim.timestamp.head, &mut sim.snapshot.head, &mut sim.targets.head] {
            head.expires = later;
        }
        // The first root comes with the program.
        sim.next_root();
        sim.publish();
        let sim = Arc::new(Mutex::new(sim));
        let server = serve(addr, sim.clone());
        Self { sim, server }
    }

    /// To be edited. What is changed counts from [`Sim::publish`] on.
    pub fn sim(&self) -> MutexGuard<'_, Sim> {
        self.sim.lock().unwrap()
    }

    /// Another server with the same content now, going its own way from here.
    pub fn copy(&self) -> Self {
        let sim = Arc::new(Mutex::new(self.sim().clone()));
        let server = serve(SocketAddr::from(([127, 0, 0, 1], 0)), sim.clone());
        Self { sim, server }
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn metadata(&self) -> String {
        self.server.url("/metadata/")
    }

    /// The setting for it.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.metadata())
    }

    /// Publishes the real build of that version.
    pub fn publish(&self, version: &'static str) {
        self.publish_with(version, |_| ());
    }

    /// As [`Self::publish`], described in this way.
    pub fn publish_with(&self, version: &'static str, describe: impl FnOnce(&mut ReleaseDescription)) {
        let archive = packed(&SignedAs::release(version), &builds::exuvia(version));
        let mut signature = archive.as_os_str().to_owned();
        signature.push(".sig");
        self.add(version, &fs::read(&archive).unwrap(), &fs::read(signature).unwrap(), describe);
    }

    /// Puts these bytes among the targets as a release, and publishes that.
    pub fn add(&self, version: &str, archive: &[u8], signature: &[u8], describe: impl FnOnce(&mut ReleaseDescription)) {
        let mut described = ReleaseDescription::new(id(version), Channel::Stable);
        describe(&mut described);
        let path = path(version);
        let mut sim = self.sim();
        sim.add_artifact("targets", &path, archive);
        sim.add_artifact("targets", &format!("{path}.sig"), signature);
        let mut target = sim.targets.target(&path).unwrap().clone();
        described.attach(&mut target);
        sim.targets.insert(target);
        publish(&mut sim);
    }

    /// As [`Self::publish`], with something wrong before anybody can see it.
    pub fn publish_spoilt(&self, version: &'static str, spoil: impl FnOnce(&mut Sim)) {
        let copy = self.copy();
        copy.publish(version);
        let mut sim = copy.sim().clone();
        spoil(&mut sim);
        *self.sim() = sim;
    }

    /// What is asked for when its archive is.
    pub fn address(&self, version: &str) -> String {
        self.sim().targets.target(&path(version)).unwrap().prefixed_path()
    }

    /// Describes a release that is there anew.
    pub fn describe(&self, version: &str, describe: impl FnOnce(&mut ReleaseDescription)) {
        let mut sim = self.sim();
        let mut target = sim.targets.target(&path(version)).unwrap().clone();
        let (mut described, _) = ReleaseDescription::of(&target).unwrap().unwrap();
        describe(&mut described);
        described.attach(&mut target);
        sim.targets.insert(target);
        publish(&mut sim);
    }

    /// Takes a release off the list.
    pub fn withdraw(&self, version: &str) {
        let mut sim = self.sim();
        sim.targets.remove(&path(version)).unwrap();
        publish(&mut sim);
    }

    /// Sets when a role's next edition expires, and publishes it.
    pub fn expire(&self, kind: RoleType, at: Timestamp) {
        let mut sim = self.sim();
        let expires = Expires::at(at);
        match kind {
            RoleType::Root => {
                sim.root.head.expires = expires;
                return sim.next_root();
            }
            RoleType::Timestamp => sim.timestamp.head.expires = expires,
            RoleType::Snapshot => sim.snapshot.head.expires = expires,
            RoleType::Targets => sim.targets.head.expires = expires,
        }
        publish(&mut sim);
    }
}

fn publish(sim: &mut Sim) {
    bump(&mut sim.targets);
    sim.publish();
}

/// The release of that version for this target.
pub fn id(version: &str) -> ReleaseId {
    ReleaseId { product: "exuvia".parse().unwrap(), version: version.parse().unwrap(), target: Target::of_this_build() }
}

/// Where its archive is among the targets.
pub fn path(version: &str) -> String {
    ReleaseDescription::path(&id(version), ArchiveFormat::TarZst)
}

/// A rollout that began, or begins, so many seconds from now.
pub fn rollout(begins_in: i64, halted: bool, waves: &[(u32, u16)]) -> RolloutPolicy {
    let waves = waves.iter().map(|(after, permille)| Wave { after: *after, permille: *permille }).collect();
    RolloutPolicy::new(from_now(begins_in), waves).unwrap().with_halted(halted)
}

fn serve(addr: SocketAddr, sim: Arc<Mutex<Sim>>) -> Server {
    Server::start_at(addr, move |request, stream| {
        let file = match (request.path.strip_prefix("/metadata/"), request.path.strip_prefix("/targets/")) {
            (Some(name), _) => RemoteFile::Metadata(name),
            (_, Some(path)) => RemoteFile::Target(path),
            _ => return reply(stream, 400, &[], b"another address"),
        };
        let (RemoteFile::Metadata(name) | RemoteFile::Target(name)) = file;
        let fault = sim.lock().unwrap().faults.get(name).cloned();
        match fault {
            Some(Fault::Fail) => return,
            Some(Fault::Endless) => {
                raw(stream, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                while raw(stream, &[b' '; 4096]) {}
                return;
            }
            _ => {}
        }
        let mut body = Vec::new();
        match block_on(Remote(sim.clone()).fetch(file, &mut body)) {
            Ok(Answer::Whole) => reply(stream, 200, &[], &body),
            Ok(Answer::Absent) => reply(stream, 404, &[], b"no such file"),
            Err(_) => {
                raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
                raw(stream, &body);
            }
        }
    })
}

/// What a snapshot or a timestamp says about a file of that version.
pub fn meta(version: u64) -> MetaFile {
    MetaFile::of(crate::sim::version(version))
}
