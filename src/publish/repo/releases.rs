//! What the targets say about releases.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use jiff::Timestamp as Moment;
use url::Url;

use super::desk::Desk;
use super::error::RepoError;
use super::keys::Engineer;
use super::place::{PlaceError, TARGETS};
use super::settle::{Settled, Wish};
use crate::archive::{ArchiveError, Limits, UntrustedArchive};
use crate::crypto::{Keyring, Release, Signature};
use crate::sys::{Dir, SysError};
use crate::tuf::ReleaseDescription;
use crate::tuf::metadata::{Metadata, RoleType, TargetFile, Targets};
use crate::types::{ArchiveFormat, ByteLimit, Channel, ReleaseId, RolloutPolicy, Target, Version, Wave};

/// What is said about a release that is added.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Its channel.
    pub channel: Channel,
    /// A node below it does not go to this release directly.
    pub minimum: Option<Version>,
    /// A node below one of these does not go above it without having run it.
    pub barriers: Vec<Version>,
    /// How it reaches its installs.
    pub rollout: Option<RolloutPolicy>,
    /// The release notes.
    pub notes: Option<Url>,
}

/// What becomes of a rollout.
#[derive(Clone, Debug)]
pub enum Rollout {
    /// It begins, at that moment, in these waves.
    Start(Moment, Vec<Wave>),
    /// Nobody else goes for now.
    Halt,
    /// It goes on as it was.
    Resume,
}

/// What became of the wish to change what is said about a release.
#[derive(Clone, Debug)]
pub struct Edited {
    /// The releases, by what they are signed as.
    pub releases: Vec<ReleaseId>,
    /// Whether anything differs from what is published.
    pub changed: bool,
    /// Whether there was a draft before, whose other changes nobody at this desk has seen.
    pub joined: bool,
    /// What was published, and what waits.
    pub settled: Settled,
}

/// A file that is to be a target.
struct Content {
    target: TargetFile,
    file: File,
}

const SIGNATURE: &str = ".sig";

impl Desk {
    /// Adds a version that was packed: every archive of it in `tree/<version>`, verified, with its
    /// signature. What readers cannot find yet is written first.
    pub fn add_release(
        &mut self,
        tree: &Path,
        version: &Version,
        terms: &Terms,
        keys: &Keyring<Release>,
        engineers: &[Engineer],
    ) -> Result<Edited, RepoError> {
        self.know(engineers)?;
        let product = self.charter()?.product;
        let folder = Dir::of_operator(tree)?.foreign_subdir(&version.to_string())?;
        let scratch = tempfile::tempdir().map_err(|error| SysError::read_of(std::env::temp_dir(), error))?;
        let staging = Dir::open(scratch.path())?;
        let mut archives = Vec::new();
        for name in folder.names()? {
            let Some(format) = ArchiveFormat::of_name(&name) else { continue };
            let stem = name.strip_suffix(format.suffix()).unwrap_or_default();
            let target = stem.strip_prefix(product.as_str()).and_then(|rest| rest.strip_prefix('-'));
            let Some(target) = target.and_then(|target| target.parse::<Target>().ok()) else { continue };
            let id = ReleaseId { product: product.clone(), version: version.clone(), target };
            if archives.iter().any(|(_, known, _)| *known == id) {
                return Err(RepoError::TwoArchives(id.to_string()));
            }
            archives.push((name, id, format));
        }
        let mut contents = Vec::new();
        for (name, id, format) in &archives {
            contents.extend(packed(&folder, &staging, name, id, *format, terms, keys)?);
        }
        let releases: Vec<_> = archives.into_iter().map(|(_, id, _)| id).collect();
        if releases.is_empty() {
            return Err(RepoError::NoArchive { path: folder.path().to_owned(), product: product.to_string() });
        }
        for content in &contents {
            self.refuse_other_content(&content.target)?;
        }
        self.edit(
            engineers,
            releases,
            |targets| {
                let mut changed = false;
                for content in &contents {
                    // What was said about it since stays said.
                    if targets.target(content.target.path()).is_none() {
                        targets.insert(content.target.clone());
                        changed = true;
                    }
                }
                changed
            },
            contents_of(&contents),
        )
    }

    /// A version stays what it once was, also after it was withdrawn. Signatures of the same archive may
    /// differ: they are random.
    fn refuse_other_content(&self, target: &TargetFile) -> Result<(), RepoError> {
        if target.path().ends_with(SIGNATURE) {
            return Ok(());
        }
        let prefixed = target.prefixed_path();
        let (folder, name) = prefixed.rsplit_once('/').unwrap_or(("", &prefixed));
        let plain = target.path().rsplit('/').next().unwrap_or_default();
        for known in self.place.names(&format!("{TARGETS}/{folder}"))? {
            if known != name && known.split_once('.').is_some_and(|(_, known)| known == plain) {
                return Err(RepoError::PublishedOtherwise(target.path().to_owned()));
            }
        }
        Ok(())
    }

    /// Moves a version to a channel.
    pub fn promote(&mut self, version: &Version, channel: Channel, by: &[Engineer]) -> Result<Edited, RepoError> {
        self.describe(version, by, |release| {
            release.channel = channel;
            Ok(())
        })
    }

    /// Starts, halts or resumes the rollout of a version.
    pub fn rollout(&mut self, version: &Version, rollout: &Rollout, by: &[Engineer]) -> Result<Edited, RepoError> {
        let now = Moment::from_second(self.now.as_second()).unwrap_or(self.now);
        self.describe(version, by, |release| {
            let known = match release.rollout.take() {
                Some(known) => known,
                None => RolloutPolicy::new(now, Vec::new())?,
            };
            release.rollout = Some(match rollout {
                Rollout::Start(start, waves) => RolloutPolicy::new(*start, waves.clone())?,
                Rollout::Halt => known.with_halted(true),
                Rollout::Resume => known.with_halted(false),
            });
            Ok(())
        })
    }

    /// Takes versions from the targets. Their files stay, so that they are never used for anything else.
    pub fn withdraw(&mut self, versions: &[Version], by: &[Engineer]) -> Result<Edited, RepoError> {
        self.know(by)?;
        let mut releases = Vec::new();
        for version in versions {
            releases.extend(self.releases_of(version)?);
        }
        let paths: Vec<_> = releases.iter().flat_map(paths_of).collect();
        let ids = releases.into_iter().map(|(_, release)| release.id).collect();
        self.edit(
            by,
            ids,
            |targets| {
                let removed = paths.iter().filter(|path| targets.remove(path).is_some()).count();
                removed > 0
            },
            Vec::new(),
        )
    }

    fn describe(
        &mut self,
        version: &Version,
        by: &[Engineer],
        change: impl Fn(&mut ReleaseDescription) -> Result<(), RepoError>,
    ) -> Result<Edited, RepoError> {
        self.know(by)?;
        let mut releases = self.releases_of(version)?;
        for (target, release) in &mut releases {
            change(release)?;
            release.attach(target);
        }
        let ids = releases.iter().map(|(_, release)| release.id.clone()).collect();
        self.edit(
            by,
            ids,
            |targets| {
                let mut changed = false;
                for (target, _) in &releases {
                    changed |= targets.target(target.path()) != Some(target);
                    targets.insert(target.clone());
                }
                changed
            },
            Vec::new(),
        )
    }

    /// The archives of a version, by the draft if there is one.
    fn releases_of(&self, version: &Version) -> Result<Vec<(TargetFile, ReleaseDescription)>, RepoError> {
        let found: Vec<_> = self
            .targets()
            .into_iter()
            .flat_map(Targets::targets)
            .filter_map(|(_, target)| {
                let (release, _) = ReleaseDescription::of(target).ok()??;
                (release.id.version == *version).then(|| (target.clone(), release))
            })
            .collect();
        if found.is_empty() { Err(RepoError::NoRelease(version.clone())) } else { Ok(found) }
    }

    fn targets(&self) -> Option<&Targets> {
        let published = self.current.as_ref().map(|current| &current.targets);
        self.staged.targets.as_ref().or(published).map(|file| &file.signed)
    }

    /// Changes the draft of targets, or makes one.
    fn edit(
        &mut self,
        engineers: &[Engineer],
        releases: Vec<ReleaseId>,
        change: impl FnOnce(&mut Targets) -> bool,
        contents: Vec<(&TargetFile, File)>,
    ) -> Result<Edited, RepoError> {
        let joined = self.staged.targets.is_some();
        let mut draft = match &self.staged.targets {
            Some(draft) => draft.signed.clone(),
            None => self.next_targets(&self.charter()?)?.signed,
        };
        let online = [RoleType::Snapshot, RoleType::Timestamp, RoleType::Targets];
        if !change(&mut draft) {
            // The same again after a run that was cut short, or with a key that was missing: what is complete by now
            // is published.
            let settled = if joined {
                self.settle(Wish { engineers, roles: &online[..2], renew: false })?
            } else {
                Settled { published: Vec::new(), waiting: self.waiting()? }
            };
            return Ok(Edited { releases, changed: false, joined, settled });
        }
        for (target, mut file) in contents.into_iter().filter(|(target, _)| draft.target(target.path()) == Some(target))
        {
            let path = format!("{TARGETS}/{}", target.prefixed_path());
            let unread = |source| PlaceError::Content { path: path.clone(), source };
            file.rewind().map_err(unread)?;
            self.place.write_from(&path, &mut file, target.length)?;
        }
        self.staged.targets = Some(Metadata::new(draft));
        let roles = if joined { &online[..2] } else { &online[..] };
        let settled = self.settle(Wish { engineers, roles, renew: false })?;
        Ok(Edited { releases, changed: true, joined, settled })
    }
}

fn paths_of((target, _): &(TargetFile, ReleaseDescription)) -> [String; 2] {
    [target.path().to_owned(), format!("{}{SIGNATURE}", target.path())]
}

fn contents_of(contents: &[Content]) -> Vec<(&TargetFile, File)> {
    let clone = |content: &Content| content.file.try_clone().ok();
    contents.iter().filter_map(|content| Some((&content.target, clone(content)?))).collect()
}

/// An archive and its signature, each as a private copy: what was verified is what is written.
fn packed(
    folder: &Dir,
    staging: &Dir,
    name: &str,
    id: &ReleaseId,
    format: ArchiveFormat,
    terms: &Terms,
    keys: &Keyring<Release>,
) -> Result<[Content; 2], RepoError> {
    let shown = || folder.path().join(name).display().to_string();
    let refused = |source| RepoError::Archive { path: shown(), source };
    let sig_name = format!("{name}{SIGNATURE}");
    let bytes = folder.open_foreign_file(&sig_name, ByteLimit::kib(64))?.read(&folder.path().join(&sig_name))?;
    let signature = Signature::from_bytes(&bytes)
        .map_err(|source| RepoError::SignatureLength { path: format!("{}{SIGNATURE}", shown()), source })?;
    let source = folder.open_foreign_file(name, Limits::default().archive)?;
    let mut copy = staging.unnamed_file()?;
    io::copy(&mut (&source.file).take(source.length), &mut copy).map_err(|error| refused(ArchiveError::Copy(error)))?;
    let content = copy.try_clone().map_err(|error| refused(ArchiveError::Copy(error)))?;
    let verified = UntrustedArchive::from_private_file(copy, format)
        .and_then(|it| it.verify(id, &signature, keys))
        .map_err(refused)?;
    verified.extract(staging, &Limits::default(), &mut |_| ()).map_err(refused)?;
    let path = ReleaseDescription::path(id, format);
    let unread = |source| PlaceError::Content { path: path.clone(), source };
    let mut archive = TargetFile::of_content(path.clone(), &mut verified.reader()).map_err(unread)?;
    let release = ReleaseDescription {
        minimum: terms.minimum.clone(),
        barriers: terms.barriers.clone(),
        rollout: terms.rollout.clone(),
        notes: terms.notes.clone(),
        ..ReleaseDescription::new(id.clone(), terms.channel)
    };
    release.attach(&mut archive);
    let mut sig_file = staging.unnamed_file()?;
    io::Write::write_all(&mut sig_file, signature.as_bytes()).map_err(unread)?;
    let sig =
        TargetFile::of_content(format!("{path}{SIGNATURE}"), &mut signature.as_bytes().as_slice()).map_err(unread)?;
    Ok([Content { target: archive, file: content }, Content { target: sig, file: sig_file }])
}
