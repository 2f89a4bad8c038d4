use jiff::Timestamp;

use super::{Check, Point};
use crate::publish::repo::claim::random;
use crate::publish::repo::place::{Place, PlaceError, SCRATCH};

/// A folder of this run's own, and what it has written there.
#[derive(Debug)]
pub struct Scratch<'a> {
    pub(in crate::publish::repo) place: &'a dyn Place,
    folder: String,
    written: Vec<String>,
}

impl<'a> Scratch<'a> {
    pub(super) fn new(place: &'a dyn Place, now: Timestamp) -> Self {
        let folder = format!("{SCRATCH}/{}-{:016x}", now.strftime("%Y%m%dT%H%M%SZ"), random());
        Self { place, folder, written: Vec::new() }
    }

    pub(in crate::publish::repo) fn folder(&self) -> &str {
        &self.folder
    }

    /// The path of a file that this run is about to write, and will remove whatever a listing says.
    pub(in crate::publish::repo) fn path(&mut self, name: &str) -> String {
        let path = format!("{}/{name}", self.folder);
        if !self.written.contains(&path) {
            self.written.push(path.clone());
        }
        path
    }

    /// Removes all of it.
    pub(super) fn clean_up(self) -> Check {
        let remove = || -> Result<(), PlaceError> {
            for path in &self.written {
                self.place.remove(path)?;
            }
            self.place.remove_folder(&self.folder)
        };
        match remove() {
            Ok(()) => Check::ok(Point::CleanUp, "what was written is removed again"),
            Err(error) => Check::warn(
                Point::CleanUp,
                format!("{} is left: {error}", self.folder),
                "remove that folder by hand; `repo gc` removes it, too, once it is as old as its grace",
            ),
        }
    }
}
