//! Snapshots that nobody's program makes, some of them signed with the node's own key.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use exuvia::crypto::{Context, NodeSnapshot, SecretKey};
use exuvia::snapshot::{Manifest, StoredFile};
use sha2::{Digest, Sha256};

use crate::nodes::Node;

/// The parts of a snapshot, to be put together in other ways.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) manifest: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) payload_name: String,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn header(name: &str, length: u64) -> [u8; 512] {
    let mut header = tar::Header::new_ustar();
    // Also what a packer would refuse.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(length);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    *header.as_bytes()
}

pub(crate) fn entry(tar: &mut Vec<u8>, name: &str, content: &[u8]) {
    tar.extend(header(name, content.len() as u64));
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

pub(crate) fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, content) in entries {
        entry(&mut tar, name, content);
    }
    tar.extend([0; 1024]);
    tar
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

impl Parts {
    pub(crate) fn read(file: &Path) -> Self {
        let mut archive = tar::Archive::new(fs::File::open(file).unwrap());
        let mut parts: Vec<(String, Vec<u8>)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
                (entry.path().unwrap().display().to_string(), bytes)
            })
            .collect();
        assert_eq!(parts.len(), 3);
        let (payload_name, payload) = parts.pop().unwrap();
        let (signature, manifest) = (parts.pop().unwrap().1, parts.pop().unwrap().1);
        Self { manifest, signature, payload_name, payload }
    }

    pub(crate) fn manifest(&self) -> Manifest {
        serde_json::from_slice(&self.manifest).unwrap()
    }

    /// Signs what is here now with the node's own key.
    pub(crate) fn sign(&mut self, node: &Node) {
        let pem = fs::read_to_string(node.data.path().join("trust/snapshot.key")).unwrap();
        let key = SecretKey::<NodeSnapshot>::from_pem(&pem).unwrap();
        let context = Context::snapshot(&node.product, &node.id);
        self.signature = key.sign(&context, &mut self.manifest.as_slice()).unwrap().as_bytes().to_vec();
    }

    /// Another payload, stated and signed as if it were right.
    pub(crate) fn with_payload(mut self, node: &Node, payload: Vec<u8>, files: Option<Vec<StoredFile>>) -> Self {
        let mut manifest = self.manifest();
        manifest.payload.length = payload.len() as u64;
        manifest.payload.sha256 = digest(&payload);
        manifest.files = files.unwrap_or(manifest.files);
        self.manifest = serde_json::to_vec(&manifest).unwrap();
        self.payload = payload;
        self.sign(node);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        tar_of(&[
            ("manifest.json", &self.manifest),
            ("manifest.sig", &self.signature),
            (&self.payload_name, &self.payload),
        ])
    }

    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let file = folder.join("forged");
        fs::File::create(&file).unwrap().write_all(&self.bytes()).unwrap();
        file
    }
}

pub(crate) fn digest(bytes: &[u8]) -> exuvia::types::Sha256Digest {
    exuvia::types::Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

pub(crate) fn stored(role: &str, content: &[u8]) -> StoredFile {
    StoredFile { length: content.len() as u64, role: role.parse().unwrap(), sha256: digest(content) }
}
