//! What a power cut leaves: only what was made durable.
//!
//! While a story is told, the laboratory keeps a second disk in memory, onto which a file's content
//! comes when the file is synced, and the names in a folder when the folder is synced. After each call
//! that changed something it notes what two kinds of disk would hold if the power went then:
//!
//! - [`Loss::NamesToo`]: nothing that was not synced. A rename, a link, a removal, a new file is there
//!   when its folder was synced afterwards, each folder for itself: stricter than any journal, which
//!   keeps the order of names.
//! - [`Loss::DataOnly`]: every name, at once, and of each file what was synced: a file that never was
//!   is empty. So it goes with a file system that writes its journal of names before the data.
//!
//! It does not cover: data that reaches the disk in part or in another order without having been
//! synced (a torn write to a file that is changed in place, which is the ledger's alone), a disk that
//! says "synced" and lies, and bits that rot. What was written through a mapping is lost, as
//! everything that was not synced is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::call::Call;
use super::point::normal;
use super::trace::Witness;

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// Content and names that were not synced.
    NamesToo,
    /// Content that was not synced.
    DataOnly,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NamesToo => "power-cut",
            Self::DataOnly => "power-cut-names-kept",
        })
    }
}

/// A disk after a power cut.
#[derive(Clone)]
pub struct Remains {
    /// The call after which the power went: the first one that left this.
    pub after: String,
    /// What was lost.
    pub loss: Loss,
    tree: BTreeMap<PathBuf, Thing>,
}

/// Names an inode among all that there ever were: numbers are used again, with another birth.
type Inode = (u64, u128);

#[derive(Clone)]
enum Thing {
    Folder { mode: u32 },
    File { inode: Inode, content: Content },
    Socket,
}

#[derive(Clone)]
struct Content {
    mode: u32,
    bytes: Arc<Vec<u8>>,
    digest: [u8; 32],
}

#[derive(Clone, Copy)]
struct Name {
    inode: Inode,
    kind: Kind,
    mode: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
    Socket,
}

/// The folders of a story whose loss would matter: not the releases, nor the web server's files.
const FOLDERS: [&str; 3] = ["bin", "cache", "data"];

/// The disk that holds what is durable. Give it to the tracer, and keep [`PowerCuts::remains`].
pub struct PowerCuts {
    root: PathBuf,
    files: HashMap<Inode, Content>,
    folders: HashMap<Inode, BTreeMap<String, Name>>,
    seen: HashSet<[u8; 32]>,
    remains: Arc<Mutex<Vec<Remains>>>,
    /// A call that this disk answers, and does not do.
    ignored: Option<&'static str>,
}

impl PowerCuts {
    /// Everything that lies below `root` now is durable.
    pub fn new(root: &Path) -> Self {
        let mut cuts = Self {
            root: root.to_owned(),
            files: HashMap::new(),
            folders: HashMap::new(),
            seen: HashSet::new(),
            remains: Arc::default(),
            ignored: None,
        };
        cuts.sync_tree(root);
        cuts
    }

    /// A disk that says that this call, as [`Remains::after`] writes it, is done when it is not.
    pub fn ignoring(mut self, call: &'static str) -> Self {
        self.ignored = Some(call);
        self
    }

    /// What was left at each moment, each once.
    pub fn remains(&self) -> Arc<Mutex<Vec<Remains>>> {
        self.remains.clone()
    }

    fn sync_tree(&mut self, path: &Path) {
        let Some(name) = look(path) else { return };
        self.sync(path, name.kind);
        if name.kind == Kind::Folder {
            for child in fs::read_dir(path).into_iter().flatten().flatten() {
                self.sync_tree(&child.path());
            }
        }
    }

    fn sync(&mut self, path: &Path, kind: Kind) {
        // Through the link to an open handle, perhaps: what lies behind it counts.
        let Ok(meta) = fs::metadata(path) else { return };
        let inode = inode(&meta);
        match kind {
            Kind::Folder => drop(self.folders.insert(inode, names(path))),
            Kind::File => {
                let mut bytes = Vec::new();
                if File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).is_ok() {
                    self.files.insert(inode, Content::new(meta.mode() & 0o7777, bytes));
                }
            }
            Kind::Socket => {}
        }
    }

    fn cut(&mut self, after: &str) {
        for loss in [Loss::NamesToo, Loss::DataOnly] {
            let mut tree = BTreeMap::new();
            for folder in FOLDERS {
                let path = self.root.join(folder);
                let durable = look(&self.root).and_then(|root| self.folders.get(&root.inode)?.get(folder).copied());
                let name = if loss == Loss::NamesToo { durable } else { look(&path) };
                if let Some(name) = name {
                    self.add(&mut tree, Path::new(folder), name, loss);
                }
            }
            if self.seen.insert(fingerprint(&tree)) {
                let remains = Remains { after: after.to_owned(), loss, tree };
                self.remains.lock().expect("nobody panics with it").push(remains);
            }
        }
    }

    fn add(&self, tree: &mut BTreeMap<PathBuf, Thing>, path: &Path, name: Name, loss: Loss) {
        let thing = match name.kind {
            Kind::Folder => Thing::Folder { mode: name.mode },
            Kind::Socket => Thing::Socket,
            Kind::File => {
                let content = self.files.get(&name.inode).cloned();
                let content = content.unwrap_or_else(|| Content::new(name.mode, Vec::new()));
                Thing::File { inode: name.inode, content }
            }
        };
        tree.insert(path.to_owned(), thing);
        if name.kind == Kind::Folder {
            let children = match loss {
                Loss::NamesToo => self.folders.get(&name.inode).cloned().unwrap_or_default(),
                Loss::DataOnly => names(&self.root.join(path)),
            };
            for (child, name) in children {
                self.add(tree, &path.join(child), name, loss);
            }
        }
    }
}

impl Witness for PowerCuts {
    fn done(&mut self, pid: i32, call: &Call, result: i64) {
        if result < 0 {
            return;
        }
        let what = format!("{} {}", call.name, normal(&call.path, &self.root));
        if let (Some(fd), "fsync" | "fdatasync") = (call.fd, call.name)
            && self.ignored != Some(&what)
        {
            let handle = PathBuf::from(format!("/proc/{pid}/fd/{fd}"));
            let folder = fs::metadata(&handle).is_ok_and(|meta| meta.is_dir());
            self.sync(&handle, if folder { Kind::Folder } else { Kind::File });
        }
        self.cut(&what);
    }
}

impl Remains {
    /// Lays the disk out below `root`, in place of what is there.
    pub fn lay_out(&self, root: &Path) {
        for folder in FOLDERS {
            fs::remove_dir_all(root.join(folder)).ok();
        }
        let mut laid: HashMap<Inode, PathBuf> = HashMap::new();
        for (path, thing) in &self.tree {
            let path = root.join(path);
            match thing {
                Thing::Folder { mode } => {
                    fs::create_dir(&path).unwrap();
                    fs::set_permissions(&path, Permissions::from_mode(*mode)).unwrap();
                }
                Thing::Socket => drop(UnixListener::bind(&path).unwrap()),
                Thing::File { inode, content } => match laid.get(inode) {
                    Some(other) => fs::hard_link(other, &path).unwrap(),
                    None => {
                        fs::write(&path, &*content.bytes).unwrap();
                        fs::set_permissions(&path, Permissions::from_mode(content.mode)).unwrap();
                        laid.insert(*inode, path);
                    }
                },
            }
        }
    }
}

impl Content {
    fn new(mode: u32, bytes: Vec<u8>) -> Self {
        Self { mode, digest: Sha256::digest(&bytes).into(), bytes: Arc::new(bytes) }
    }
}

fn inode(meta: &fs::Metadata) -> Inode {
    let born = meta.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    (meta.ino(), born.map_or(0, |born| born.as_nanos()))
}

fn look(path: &Path) -> Option<Name> {
    let meta = fs::symlink_metadata(path).ok()?;
    let kind = match meta.file_type() {
        kind if kind.is_dir() => Kind::Folder,
        kind if kind.is_file() => Kind::File,
        kind if kind.is_socket() => Kind::Socket,
        _ => return None,
    };
    Some(Name { inode: inode(&meta), kind, mode: meta.mode() & 0o7777 })
}

fn names(folder: &Path) -> BTreeMap<String, Name> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, look(&entry.path())?))).collect()
}

fn fingerprint(tree: &BTreeMap<PathBuf, Thing>) -> [u8; 32] {
    let mut state = Sha256::new();
    for (path, thing) in tree {
        state.update(path.as_os_str().as_encoded_bytes());
        match thing {
            Thing::Folder { mode } => state.update(format!("\0folder {mode}\0")),
            Thing::Socket => state.update("\0socket\0"),
            Thing::File { content, .. } => {
                state.update(format!("\0file {}\0", content.mode));
                state.update(content.digest);
            }
        }
    }
    state.finalize().into()
}
