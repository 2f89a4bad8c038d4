//! Where an upgrade is interrupted, named so that the next run finds the same place again: threads
//! take turns as they like, and what is drawn at random differs.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A place in the course of a story.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which process: its part, and the version that it runs.
    pub role: String,
    /// Which system call.
    pub call: String,
    /// On what, below the story's folder, with everything that is drawn at random left out.
    pub path: String,
}

/// The n-th time that a place is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// Where.
    pub place: Place,
    /// The how many-th time, from 1.
    pub nth: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.role, self.call, self.path)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.place, self.nth)
    }
}

/// What is no point.
#[derive(Debug)]
pub struct NoPoint;

impl FromStr for Point {
    type Err = NoPoint;

    fn from_str(text: &str) -> Result<Self, NoPoint> {
        let (place, nth) = text.rsplit_once(" #").ok_or(NoPoint)?;
        let mut words = place.splitn(3, ' ').map(str::to_owned);
        let mut word = || words.next().ok_or(NoPoint);
        let place = Place { role: word()?, call: word()?, path: word()? };
        Ok(Self { place, nth: nth.parse().map_err(|_| NoPoint)? })
    }
}

/// A path below `root`, without what is drawn at random or depends on the build.
pub fn normal(path: &Path, root: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
    let mut parts: Vec<String> = below.split('/').map(part).collect();
    if let Some(at) = parts.iter().position(|part| part == "blobs") {
        for part in parts.iter_mut().skip(at + 1).filter(|part| !part.starts_with('.')) {
            "*".clone_into(part);
        }
    }
    if let Some(version) = parts.iter().position(|part| part == "versions").and_then(|at| parts.get_mut(at + 1))
        && let Some((number, _digest)) = version.rsplit_once('-')
    {
        *version = number.to_owned();
    }
    if parts.is_empty() || below.is_empty() { ".".to_owned() } else { parts.join("/") }
}

fn part(name: &str) -> String {
    let digest = |stem: &str| stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    match name.split_once('.') {
        _ if name.starts_with(".new-") => ".new-*".to_owned(),
        // Named by the time.
        _ if name.starts_with("state.rejected-") => "state.rejected-*".to_owned(),
        Some((_, ending @ "exuvia-snapshot")) => format!("*.{ending}"),
        _ if name.ends_with(" (deleted)") => "(unnamed)".to_owned(),
        Some((stem, ending)) if digest(stem) => format!("*.{ending}"),
        _ => name.replace(' ', "_"),
    }
}
