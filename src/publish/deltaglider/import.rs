use std::io::Seek;
use std::path::Path;

use super::metadata::{Described, original};
use super::name::{NotARelease, release};
use super::recover::Recovery;
use super::shelf::Shelf;
use super::unrecovered::Unrecovered;
use crate::archive::{Limits, foreign_program};
use crate::crypto::{Release, SecretKey};
use crate::publish::pack::{Pack, Packed, pack_open};
use crate::publish::patches::Bases;
use crate::publish::repo::PlaceError;
use crate::sys::{Dir, OperatorFile};
use crate::types::{ArchiveFormat, Packing, Product, ReleaseId, Target};

/// What is imported, and how it is packed.
#[derive(Clone, Debug)]
pub struct Import {
    /// Objects of this product.
    pub product: Product,
    /// The target of objects whose name says none.
    pub target: Target,
    /// The path of the program in each archive, compared and never followed.
    pub program: String,
    /// How the new archives are compressed.
    pub format: ArchiveFormat,
    /// How hard; the format's default where it is left out.
    pub level: Option<u32>,
    /// Where the tree will be served; left out, the listing's addresses are relative to itself.
    pub base_url: Option<url::Url>,
    /// When, as the listing says it.
    pub published_at: jiff::Timestamp,
}

/// What becomes of a recovered release.
#[derive(Clone, Copy, Debug)]
pub enum Aim<'a> {
    /// It is forgotten: what can be recovered is all that was asked.
    Try,
    /// It is packed, signed and published.
    Publish {
        /// The key that signs.
        key: &'a SecretKey<Release>,
        /// From which releases patches are made.
        bases: &'a Bases,
        /// The published tree.
        out: &'a Path,
    },
}

/// What became of one object.
#[derive(Debug)]
pub struct Outcome {
    /// Its path, below the place that is imported. Somebody else chose it: it may hold anything.
    pub object: String,
    /// The release that its name says.
    pub release: Option<ReleaseId>,
    /// What lay beside the program in its archive, escaped, and is not published.
    pub beside: Vec<String>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an object.
#[derive(Debug)]
pub enum Fate {
    /// It can be recovered ([`Aim::Try`]).
    Recoverable,
    /// It was published, or stood there with the same content already ([`Packed::is_new`]).
    Published(Box<Packed>),
    /// It is no release that was asked for.
    Skipped(NotARelease),
    /// It could not be recovered or published.
    Lost(Box<Unrecovered>),
}

struct Found {
    object: String,
    id: ReleaseId,
    packing: Packing,
}

/// Imports every release of the shelf, the oldest version first, so that patches can begin with it. `told` hears of
/// each object when its fate is known, `progress` of every byte that is recovered or packed.
///
/// Private copies (a reference, a delta, what it makes, and the program) lie in the folder for temporary files.
pub fn import(
    plan: &Import,
    aim: Aim<'_>,
    shelf: &Shelf,
    progress: &mut dyn FnMut(u64),
    told: &mut dyn FnMut(&Outcome),
) -> Result<Vec<Outcome>, PlaceError> {
    let scratch = Dir::of_operator(&std::env::temp_dir())?;
    let (mut found, mut outcomes) = (Vec::new(), Vec::new());
    for object in shelf.objects()? {
        let name = object.rsplit('/').next().unwrap_or_default();
        match release(original(name), &plan.product, &plan.target) {
            Ok((id, packing)) => found.push(Found { object, id, packing }),
            Err(reason) => {
                outcomes.push(Outcome { object, release: None, beside: Vec::new(), fate: Fate::Skipped(reason) });
            }
        }
    }
    outcomes.iter().for_each(&mut *told);
    found.sort_by(|a, b| (&a.id.version, &a.object).cmp(&(&b.id.version, &b.object)));
    let mut recovery = Recovery { shelf, scratch: &scratch, reference: None };
    for Found { object, id, packing } in found {
        let mut beside = Vec::new();
        let one = describe(shelf, &object)
            .and_then(|described| one(plan, aim, &mut recovery, (&object, &id, packing), &described, progress));
        let fate = match one {
            Ok((fate, others)) => {
                beside = others;
                fate
            }
            Err(error) => Fate::Lost(Box::new(error)),
        };
        let outcome = Outcome { object, release: Some(id), beside, fate };
        told(&outcome);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn describe(shelf: &Shelf, object: &str) -> Result<Described, Unrecovered> {
    shelf.metadata(object)?.describe(object.rsplit('/').next().unwrap_or_default())
}

fn one(
    plan: &Import,
    aim: Aim<'_>,
    recovery: &mut Recovery<'_>,
    (object, id, packing): (&str, &ReleaseId, Packing),
    described: &Described,
    progress: &mut dyn FnMut(u64),
) -> Result<(Fate, Vec<String>), Unrecovered> {
    let archive = recovery.recover(object, described, packing, progress)?;
    let mut program = foreign_program(&archive, packing, &plan.program, &Limits::default(), recovery.scratch)?;
    let Aim::Publish { key, bases, out } = aim else { return Ok((Fate::Recoverable, program.beside)) };
    program.file.rewind().map_err(Unrecovered::Copy)?;
    let input = OperatorFile { file: program.file, length: program.length, mode: 0o600 };
    let pack = Pack {
        id: id.clone(),
        format: plan.format,
        level: plan.level,
        prerelease: false,
        notes_url: None,
        base_url: plan.base_url.clone(),
        published_at: plan.published_at,
    };
    let packed = pack_open(&pack, bases, key, (Path::new(object), input), out, progress)?;
    Ok((Fate::Published(Box::new(packed)), program.beside))
}
