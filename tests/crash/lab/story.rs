//! What is interrupted, and how it goes on.

use std::fmt;
use std::fs::{self, File};
use std::str::FromStr;

use nix::libc;

use super::point::Point;
use super::power::{PowerCuts, Remains};
use super::stage::{NEW, OLD, Stage};
use super::trace::{Blow, Traced, Witness};
use crate::support::PATIENCE;

/// What goes on while the blow falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Story {
    /// A node starts for the first time, upgrades itself, and is stopped.
    Upgrade,
    /// The same, with a release whose worker does not start.
    BadRelease,
    /// A node upgrades itself to a release that migrates the job's state.
    Migrate,
    /// The same, with a release that fails after that.
    BadMigration,
    /// An operator prepares an upgrade where no node runs; then the node starts.
    Prepare,
    /// An operator has a node that does not run go back; then it starts.
    GoBack,
    /// An operator pins a version where no node ever ran; lifts that; then the node starts.
    Pin,
}

/// How it ended, all being well: what is not well is a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The node runs the new version.
    Upgraded,
    /// The node runs the old version, and does not try the new one again by itself.
    Vetoed,
    /// The node runs the old version again, as its operator wanted.
    WentBack,
    /// The point was not reached in this run: nothing was interrupted.
    NotReached,
}

const STORIES: [(Story, &str); 7] = [
    (Story::Upgrade, "upgrade"),
    (Story::BadRelease, "bad-release"),
    (Story::Migrate, "migrate"),
    (Story::BadMigration, "bad-migration"),
    (Story::Prepare, "prepare"),
    (Story::GoBack, "go-back"),
    (Story::Pin, "pin"),
];

/// Everything is killed at once, right after a call.
pub const POWER_OFF: Blow = Blow::Kill { whole: true, after: true };

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STORIES.iter().find(|(story, _)| story == self).expect("each has its name").1)
    }
}

impl FromStr for Story {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = STORIES.iter().find(|(_, name)| *name == text).map(|(story, _)| *story);
        named.ok_or_else(|| format!("the stories are {}", STORIES.map(|(_, name)| name).join(", ")))
    }
}

impl Story {
    /// Every story.
    pub const ALL: [Self; 7] =
        [Self::Upgrade, Self::BadRelease, Self::Migrate, Self::BadMigration, Self::Prepare, Self::GoBack, Self::Pin];

    /// What it comes to when nothing interrupts it, and whatever kill or power cut does.
    pub fn end(self) -> End {
        match self {
            Self::Upgrade | Self::Migrate | Self::Prepare | Self::Pin => End::Upgraded,
            Self::BadRelease | Self::BadMigration => End::Vetoed,
            Self::GoBack => End::WentBack,
        }
    }

    /// Whether that is a good end for an interruption.
    pub fn allows(self, blow: Option<Blow>, end: End) -> bool {
        match end {
            // Where the order was not on disk yet, there is nothing to obey.
            End::Upgraded => self.end() != End::Vetoed,
            // A release on probation that meets a failing disk may be taken for a bad one.
            End::Vetoed => self.end() == End::Vetoed || matches!(blow, Some(Blow::Fail(_) | Blow::Full)),
            end => end == self.end(),
        }
    }

    /// Whether the node itself is interrupted, and no operator.
    pub fn is_the_nodes(self) -> bool {
        self.verb().is_none()
    }

    /// The verb that is interrupted; none for the node itself.
    fn verb(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Upgrade | Self::BadRelease | Self::Migrate | Self::BadMigration => None,
            Self::Prepare => Some(&["upgrade"]),
            Self::GoBack => Some(&["rollback"]),
            Self::Pin => Some(&["pin", OLD]),
        }
    }

    /// A host, and the release of the story.
    fn set(self) -> Stage {
        let mut stage = Stage::new();
        match self {
            Self::BadRelease => stage.publish_bad("exits"),
            Self::Migrate => stage.publish_bad("epoch-2-idle"),
            Self::BadMigration => stage.publish_bad("epoch-2-dies 0"),
            _ => stage.host.releases().publish(NEW),
        }
        stage
    }

    fn stage(self) -> Stage {
        let mut stage = self.set();
        if self == Self::GoBack {
            stage.node.start();
            assert_eq!(stage.settle(), End::Upgraded);
            stage.assert_well(End::Upgraded);
            assert!(stage.node.stop().success());
        }
        stage
    }

    fn start(self, stage: &Stage, blow: Option<(Point, Blow)>, witness: Option<Box<dyn Witness>>) -> Traced {
        let (command, output) = match self.verb() {
            None => (stage.node.run_command(), stage.node.log_file()),
            Some(verb) => (stage.node.verb_command(verb), File::create(stage.host.path("verb.log")).unwrap()),
        };
        Traced::start(&command, output, &stage.root(), blow, witness)
    }

    /// Tells it up to its end, with nothing in between.
    fn tell(self, stage: &Stage, traced: &mut Traced) {
        let code = if self.verb().is_some() {
            traced.end(PATIENCE)
        } else {
            assert_eq!(stage.settle_under(traced), self.end(), "{}", stage.node.log());
            traced.stop()
        };
        assert_eq!(code, Some(0), "{}{}", said(stage), stage.node.log());
    }

    /// Every call that it makes, in order, when nothing interrupts it.
    pub fn record(self) -> Vec<Point> {
        let stage = self.stage();
        let mut traced = self.start(&stage, None, None);
        self.tell(&stage, &mut traced);
        std::mem::take(&mut traced.notes().calls)
    }

    /// What a power cut at each moment would leave.
    pub fn remains(self) -> Vec<Remains> {
        self.remains_on(|cuts| cuts)
    }

    /// The same, where the disk only pretends to do one of the calls.
    pub fn remains_on_a_disk_that_ignores(self, call: &'static str) -> Vec<Remains> {
        self.remains_on(|cuts| cuts.ignoring(call))
    }

    fn remains_on(self, disk: impl FnOnce(PowerCuts) -> PowerCuts) -> Vec<Remains> {
        let stage = self.stage();
        let cuts = disk(PowerCuts::new(&stage.root()));
        let remains = cuts.remains();
        let mut traced = self.start(&stage, None, Some(Box::new(cuts)));
        self.tell(&stage, &mut traced);
        std::mem::take(&mut *remains.lock().expect("nobody panics with it"))
    }

    /// Starts from what a power cut left, and sees to it that all ends well.
    pub fn cut(self, remains: &Remains) -> End {
        let mut stage = self.set();
        remains.lay_out(&stage.root());
        self.go_on(&mut stage)
    }

    /// Tells it once more, with a blow at that point, and sees to it that all ends well.
    pub fn interrupt(self, point: &Point, blow: Blow) -> End {
        let mut stage = self.stage();
        let mut traced = self.start(&stage, Some((point.clone(), blow)), None);
        if self.verb().is_some() {
            traced.end(PATIENCE);
        } else {
            stage.settle_under(&traced);
            let over = traced.notes().over;
            if !over && !traced.notes().struck {
                traced.stop();
            }
        }
        if !traced.notes().struck {
            return End::NotReached;
        }
        if !traced.notes().over {
            // Whatever was struck, the node goes on.
            let end = stage.settle();
            stage.assert_startable();
            stage.assert_well(end);
            assert_eq!(traced.stop(), Some(0), "{}", stage.node.log());
            return end;
        }
        let code = traced.end(PATIENCE);
        match blow {
            Blow::Fail(errno) => self.assert_said(&stage, code, errno),
            Blow::Full => self.assert_said(&stage, code, libc::ENOSPC),
            Blow::Kill { .. } => {}
        }
        self.go_on(&mut stage)
    }

    /// Every call of the start after everything was killed right after that point, up to the moment
    /// when a trial begins anew: from there on it is an upgrade like any other.
    pub fn record_recovery(self, first: &Point) -> Vec<Point> {
        let Some(stage) = self.killed_at(first) else { return Vec::new() };
        let mut traced = Traced::start(&stage.node.run_command(), stage.node.log_file(), &stage.root(), None, None);
        stage.settle_under(&traced);
        assert_eq!(traced.stop(), Some(0), "{}", stage.node.log());
        let calls = std::mem::take(&mut traced.notes().calls);
        calls.into_iter().take_while(|point| !point.place.path.ends_with("/lease.json")).collect()
    }

    /// Kills everything right after the first point; then, in the start that follows, at the second.
    pub fn interrupt_twice(self, first: &Point, second: &Point, blow: Blow) -> End {
        let Some(mut stage) = self.killed_at(first) else { return End::NotReached };
        stage.assert_startable();
        let blow = Some((second.clone(), blow));
        let mut traced = Traced::start(&stage.node.run_command(), stage.node.log_file(), &stage.root(), blow, None);
        stage.settle_under(&traced);
        if !traced.notes().over && !traced.notes().struck {
            traced.stop();
        }
        if !traced.notes().struck {
            return End::NotReached;
        }
        traced.end(PATIENCE);
        self.go_on(&mut stage)
    }

    fn killed_at(self, point: &Point) -> Option<Stage> {
        let stage = self.stage();
        let mut traced = self.start(&stage, Some((point.clone(), POWER_OFF)), None);
        stage.settle_under(&traced);
        if !traced.notes().over {
            traced.stop();
        }
        traced.end(PATIENCE);
        let struck = traced.notes().struck;
        struck.then_some(stage)
    }

    /// Nothing runs any more: starts the node, and waits for a good end.
    fn go_on(self, stage: &mut Stage) -> End {
        stage.assert_startable();
        if self == Self::Pin {
            stage.node.cli(&["unpin"]).exits(0);
        }
        stage.node.start();
        let end = stage.settle();
        stage.assert_startable();
        stage.assert_well(end);
        assert!(stage.node.stop().success(), "{}", stage.node.log());
        end
    }

    /// Whoever met an error and ended because of it says so: storage, or an install that may not be written.
    fn assert_said(self, stage: &Stage, code: Option<i32>, errno: i32) {
        let denied = matches!(errno, libc::EACCES | libc::EROFS | libc::EPERM);
        let good = matches!(code, Some(0 | 9)) || code == Some(3) && denied;
        assert!(good, "ended with {code:?}\n{}{}", said(stage), stage.node.log());
        assert!(!said(stage).contains("panicked"), "{}", said(stage));
        if self.verb().is_some() && code != Some(0) {
            // The ledger's library keeps the system's words to itself.
            let reason = std::io::Error::from_raw_os_error(errno).to_string();
            let named = [&reason, "ledger cannot be written"].iter().any(|words| said(stage).contains(*words));
            assert!(named, "{reason:?} is not in {}", said(stage));
        }
    }
}

/// What the operator's verb wrote.
fn said(stage: &Stage) -> String {
    fs::read_to_string(stage.host.path("verb.log")).unwrap_or_default()
}
