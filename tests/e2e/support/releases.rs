//! A tree of releases on a web server: packed as release engineers pack them, listed by hand, so
//! that a test may also list what is not so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use exuvia::crypto::{Release, SecretKey};
use exuvia::publish::{Pack, pack};
use exuvia::types::{ArchiveFormat, ReleaseId, Target};
use serde_json::{Value, json};

use super::builds::{self, Product};
use super::host::digest;

/// What a web server serves: `releases.json`, and a folder for each version.
pub struct Releases {
    tree: PathBuf,
    product: &'static Product,
    listed: Mutex<BTreeMap<String, Value>>,
}

/// What an archive is signed as.
#[derive(Clone)]
pub struct SignedAs {
    pub product: &'static str,
    pub version: &'static str,
    pub target: String,
    /// The name of a file in `tests/keys`.
    pub key: &'static str,
}

impl SignedAs {
    /// As honest as can be.
    pub fn release(version: &'static str) -> Self {
        Self { product: "exuvia", version, target: Target::of_this_build().to_string(), key: "a.key" }
    }
}

impl Releases {
    pub fn new(product: &'static Product, tree: PathBuf) -> Self {
        fs::create_dir_all(&tree).unwrap();
        let releases = Self { tree, product, listed: Mutex::default() };
        releases.write();
        releases
    }

    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// Publishes the real build of that version.
    pub fn publish(&self, version: &'static str) {
        let signed_as = SignedAs { product: self.product.name, ..SignedAs::release(version) };
        self.list(version, &packed(&signed_as, &self.product.build(version)));
    }

    /// Publishes a release that misbehaves, and returns the digest of its executable.
    pub fn publish_bad(&self, version: &'static str, fault: &str) -> String {
        let binary = self.tree.with_extension(format!("bad-{version}"));
        builds::bad_node(version, fault, &binary);
        self.publish_binary(&SignedAs::release(version), &binary);
        let digest = digest(&binary);
        fs::remove_file(binary).unwrap();
        digest
    }

    /// Publishes any bytes as what they are signed as.
    pub fn publish_binary(&self, signed_as: &SignedAs, binary: &Path) {
        self.forge(signed_as.version, signed_as, binary);
    }

    /// Lists as `version` of this product and target what is signed as something else.
    pub fn forge(&self, version: &str, signed_as: &SignedAs, binary: &Path) {
        let out = self.tree.with_extension("packing");
        let archive = pack_into(&out, signed_as, binary);
        self.list(version, &archive);
        fs::remove_dir_all(out).unwrap();
    }

    /// Serves these bytes as the listing, until the next release is published. Whole or not at all:
    /// nodes poll meanwhile.
    pub fn publish_listing(&self, bytes: &[u8]) {
        let new = self.tree.join("releases.json.new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, self.tree.join("releases.json")).unwrap();
    }

    /// Takes a release out of the listing. Its files stay.
    pub fn withdraw(&self, version: &str) {
        self.listed.lock().unwrap().remove(version);
        self.write();
    }

    /// The served archive of a version.
    pub fn archive(&self, version: &str) -> PathBuf {
        self.tree.join(version).join(asset_name(self.product.name))
    }

    fn list(&self, version: &str, archive: &Path) {
        let folder = self.tree.join(version);
        fs::create_dir_all(&folder).unwrap();
        let mut assets = Vec::new();
        for suffix in ["", ".sig"] {
            let name = asset_name(self.product.name) + suffix;
            let mut from = archive.as_os_str().to_owned();
            from.push(suffix);
            let size = fs::copy(&from, folder.join(&name)).unwrap();
            let mut asset = json!({ "name": name, "size": size, "browser_download_url": format!("{version}/{name}") });
            // As packing lists it: a signature has none.
            if suffix.is_empty() {
                asset["digest"] = format!("sha256:{}", digest(Path::new(&from))).into();
            }
            assets.push(asset);
        }
        self.listed.lock().unwrap().insert(
            version.to_owned(),
            json!({ "tag_name": format!("v{version}"), "draft": false, "prerelease": false, "assets": assets }),
        );
        self.write();
    }

    fn write(&self) {
        let listing: Vec<Value> = self.listed.lock().unwrap().values().cloned().collect();
        self.publish_listing(&serde_json::to_vec(&listing).unwrap());
    }
}

fn asset_name(product: &str) -> String {
    format!("{product}-{}.tar.zst", Target::of_this_build())
}

/// The archive of a real build, packed once for all tests.
pub fn packed(signed_as: &SignedAs, binary: &Path) -> PathBuf {
    static PACKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = PACKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let archive = |out: &Path| out.join(signed_as.version).join(asset_name(signed_as.product));
    let done = binary.with_file_name(format!("packed-{}", signed_as.product));
    let newer = |done: &Path| {
        let changed = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified());
        changed(&archive(done)).is_ok_and(|packed| changed(binary).is_ok_and(|built| built <= packed))
    };
    if !newer(&done) {
        let out = binary.with_file_name(format!("packing-{}", std::process::id()));
        fs::remove_dir_all(&out).ok();
        pack_into(&out, signed_as, binary);
        fs::remove_dir_all(&done).ok();
        // Another test process may have been faster.
        if fs::rename(&out, &done).is_err() {
            fs::remove_dir_all(&out).ok();
        }
    }
    archive(&done)
}

pub fn pack_into(out: &Path, signed_as: &SignedAs, binary: &Path) -> PathBuf {
    let plan = Pack {
        id: ReleaseId {
            product: signed_as.product.parse().unwrap(),
            version: signed_as.version.parse().unwrap(),
            target: signed_as.target.parse().unwrap(),
        },
        format: ArchiveFormat::TarZst,
        level: Some(1),
        prerelease: false,
        notes_url: None,
        base_url: None,
        published_at: jiff::Timestamp::now(),
    };
    let pem = fs::read_to_string(builds::root().join("tests/keys").join(signed_as.key)).unwrap();
    let key = SecretKey::<Release>::from_pem(&pem).unwrap();
    pack(&plan, &key, binary, out, &mut |_| ()).unwrap().archive
}
