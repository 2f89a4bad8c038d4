//! Patches that are not what they should be, and the tars that they make, in the cache.

use std::fs;
use std::io::{Read as _, Write as _};

use exuvia::archive::{ArchiveError, Tar, UntrustedArchive, VerifiedArchive, tar_limit};
use exuvia::cache::{Checked, Kind, Listed, Lookup, Reason};
use exuvia::crypto::{Context, SecretKey, Signature};
use exuvia::delta::{PatchError, UntrustedPatch, make};
use exuvia::sys::FromStart;
use exuvia::types::{ArchiveFormat, Packing, ReleaseId};

use super::archive_fixtures::{Site, compress, id, id_of, noise, release_tar, sha256};

/// Two releases that have most of their bytes in common.
struct Pair {
    site: Site,
    old: Vec<u8>,
    new: Vec<u8>,
    patch: Vec<u8>,
}

fn pair() -> Pair {
    let (old, mut changed) = (noise(200_000, 1), noise(200_000, 1));
    changed[70_000..70_500].copy_from_slice(&noise(500, 2));
    let (old, new) = (release_tar("exuvia", &old), release_tar("exuvia", &changed));
    let patch = make(&old, &new, 3).unwrap();
    assert!(patch.len() < 2000, "{}", patch.len());
    Pair { site: Site::new(), old, new, patch }
}

impl Pair {
    fn file(&self, bytes: &[u8]) -> fs::File {
        let mut file = self.site.staging.unnamed_file().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// What a node has of a release that it downloaded whole.
    fn base(&self, tar: &[u8], version: &str) -> Tar {
        let archive = compress(tar, ArchiveFormat::TarZst);
        let verified = self.site.signed(&id(version), &archive, ArchiveFormat::TarZst);
        verified.into_tar(&self.site.staging, &self.site.limits).unwrap()
    }

    fn sign_patch(&self, id: &ReleaseId, base: &[u8], patch: &[u8]) -> Signature {
        self.site.key.sign(&Context::patch(id, sha256(base)), &mut &*patch).unwrap()
    }

    fn sign_tar(&self, id: &ReleaseId, tar: &[u8]) -> Signature {
        self.site.key.sign(&Context::tar(id), &mut &*tar).unwrap()
    }

    /// As a node at 1.0.0 that is offered 1.1.0.
    fn apply(&self, patch: &[u8], signature: &Signature) -> Result<Vec<u8>, PatchError> {
        let base = self.base(&self.old, "1.0.0");
        let patch = UntrustedPatch::from_private_file(self.file(patch))?;
        let patch = patch.verify(&id("1.1.0"), base.digest(), signature, &self.site.keyring)?;
        let made = patch.apply(&base, &self.site.staging, tar_limit(&self.site.limits))?;
        let mut bytes = Vec::new();
        FromStart::new(&made, made.metadata().unwrap().len()).read_to_end(&mut bytes).unwrap();
        Ok(bytes)
    }

    fn tar(&self, id: &ReleaseId, bytes: &[u8], signature: &Signature) -> Result<VerifiedArchive, ArchiveError> {
        let untrusted = UntrustedArchive::from_private_file(self.file(bytes), Packing::Tar)?;
        untrusted.verify(id, signature, &self.site.keyring)
    }

    fn store(&self) -> VerifiedArchive {
        let tar = self.tar(&id("1.1.0"), &self.new, &self.sign_tar(&id("1.1.0"), &self.new)).unwrap();
        self.site.cache.store(&tar, &self.site.extract(&tar).unwrap()).unwrap();
        tar
    }

    fn lookup(&self, version: &str) -> Lookup {
        let Site { cache, keyring, staging, limits, .. } = &self.site;
        cache.lookup(&id(version), keyring, staging, limits).unwrap()
    }

    fn nothing_is_staged(&self) {
        assert_eq!(self.site.staging.names().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn d1_an_honest_patch_makes_a_tar_that_verifies_and_extracts() {
    let pair = pair();
    let signature = pair.sign_patch(&id("1.1.0"), &pair.old, &pair.patch);
    let made = pair.apply(&pair.patch, &signature).unwrap();
    assert_eq!(made, pair.new);
    let tar = pair.tar(&id("1.1.0"), &made, &pair.sign_tar(&id("1.1.0"), &pair.new)).unwrap();
    let staged = pair.site.extract(&tar).unwrap();
    assert_eq!(staged.length(), 200_000);
}

#[test]
fn d1_a_patch_signed_for_another_base_version_target_product_or_purpose_is_refused_unparsed() {
    let pair = pair();
    let target = "x86_64-unknown-linux-gnu";
    let key = &pair.site.key;
    let for_tar = key.sign(&Context::tar(&id("1.1.0")), &mut pair.patch.as_slice()).unwrap();
    let for_archive = pair.site.sign(&id("1.1.0"), &pair.patch);
    let stranger = SecretKey::generate().unwrap();
    let context = Context::patch(&id("1.1.0"), sha256(&pair.old));
    let by_stranger = stranger.sign(&context, &mut pair.patch.as_slice()).unwrap();
    for signature in [
        pair.sign_patch(&id("1.1.0"), &pair.new, &pair.patch),
        pair.sign_patch(&id("1.2.0"), &pair.old, &pair.patch),
        pair.sign_patch(&id_of("exuvia", "1.1.0", "aarch64-unknown-linux-gnu"), &pair.old, &pair.patch),
        pair.sign_patch(&id_of("other", "1.1.0", target), &pair.old, &pair.patch),
        for_tar,
        for_archive,
        by_stranger,
    ] {
        assert!(matches!(pair.apply(&pair.patch, &signature), Err(PatchError::NotSigned { .. })));
    }
    pair.nothing_is_staged();
}

#[test]
fn d1_a_patch_that_was_changed_cut_or_made_longer_on_its_way_is_refused_unparsed() {
    let pair = pair();
    let signature = pair.sign_patch(&id("1.1.0"), &pair.old, &pair.patch);
    let mut changed = pair.patch.clone();
    changed[40] ^= 1;
    for patch in [&changed[..], &pair.patch[..pair.patch.len() - 1], &[&pair.patch[..], b"x"].concat(), b""] {
        assert!(matches!(pair.apply(patch, &signature), Err(PatchError::NotSigned { .. })));
    }
    pair.nothing_is_staged();
}

#[test]
fn d1_what_a_patch_makes_must_be_signed_as_the_tar_of_this_very_release() {
    let pair = pair();
    // A signed patch that makes another, likewise signed tar: that of the version before.
    let back = make(&pair.old, &pair.old, 3).unwrap();
    let made = pair.apply(&back, &pair.sign_patch(&id("1.1.0"), &pair.old, &back)).unwrap();
    for signature in [pair.sign_tar(&id("1.0.0"), &made), pair.sign_tar(&id("1.1.0"), &pair.new)] {
        let refused = pair.tar(&id("1.1.0"), &made, &signature);
        assert!(matches!(refused, Err(ArchiveError::NotSigned { .. })));
    }
    pair.nothing_is_staged();
}

#[test]
fn d2_a_signed_patch_that_is_malformed_or_a_bomb_makes_nothing() {
    let pair = pair();
    let refused = |patch: &[u8]| pair.apply(patch, &pair.sign_patch(&id("1.1.0"), &pair.old, patch)).unwrap_err();
    // For a base of another length, although the signature names this one.
    let other = make(&pair.new[..pair.new.len() - 512], &pair.new, 3).unwrap();
    assert!(matches!(refused(&other), PatchError::WrongBase { .. }));
    assert!(matches!(
        refused(b"not a patch, and long enough to have a head if it were one: 1234567890 1234567890"),
        PatchError::NotAPatch
    ));
    assert!(matches!(refused(&pair.patch[..60]), PatchError::Truncated));
    assert!(matches!(refused(&[&pair.patch[..], b"more"].concat()), PatchError::DataAfter));
    // 1 TiB of zeros, by its head; and 64 MiB of them where its head says a few.
    let mut huge = pair.patch.clone();
    huge[24..32].copy_from_slice(&(1u64 << 40).to_le_bytes());
    assert!(matches!(refused(&huge), PatchError::Result { .. }));
    let zeros = make(&pair.old, &vec![0; 64 << 20], 3).unwrap();
    let mut bomb = zeros.clone();
    let short = |bytes: &mut [u8], at: usize| bytes[at..at + 8].copy_from_slice(&1000u64.to_le_bytes());
    let plain = |at: usize| u64::from_le_bytes(zeros[at..at + 8].try_into().unwrap());
    let (differences, literals) = (plain(56), plain(72));
    assert!(differences + literals == 64 << 20);
    short(&mut bomb, 24);
    short(&mut bomb, if differences > literals { 56 } else { 72 });
    assert!(matches!(refused(&bomb), PatchError::Lengths | PatchError::Overlong | PatchError::OutsideBase));
    pair.nothing_is_staged();
}

#[test]
fn d2_a_signed_archive_that_unpacks_to_too_much_is_no_base() {
    let pair = pair();
    let archive = compress(&vec![0; 32 << 20], ArchiveFormat::TarZst);
    let verified = pair.site.signed(&id("1.0.0"), &archive, ArchiveFormat::TarZst);
    let refused = verified.into_tar(&pair.site.staging, &pair.site.limits);
    assert!(matches!(refused, Err(ArchiveError::Content { .. })));
    pair.nothing_is_staged();
}

#[test]
fn d3_a_tar_from_the_cache_is_verified_at_each_hit_and_begins_the_next_patch() {
    let pair = pair();
    pair.store();
    let Lookup::Hit(hit) = pair.lookup("1.1.0") else { panic!("it is there") };
    assert_eq!((hit.packing(), hit.length()), (Packing::Tar, pair.new.len() as u64));
    assert_eq!(pair.site.extract(&hit).unwrap().length(), 200_000);
    assert_eq!(hit.into_tar(&pair.site.staging, &pair.site.limits).unwrap().digest(), sha256(&pair.new));
    let entries = pair.site.cache.entries().unwrap();
    let [Listed::Archive(entry)] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((entry.name.kind(), entry.digest), (Kind::Tar, sha256(&pair.new)));
}

#[test]
fn d3_a_tar_exchanged_in_the_cache_is_refused_and_removed() {
    type Bytes = fn(&Pair) -> Vec<u8>;
    let exchange: [(&str, Bytes); 3] = [
        ("another signed tar", |pair| pair.old.clone()),
        ("a changed one", |pair| {
            let mut bytes = pair.new.clone();
            bytes[100_000] ^= 1;
            bytes
        }),
        ("the patch itself", |pair| pair.patch.clone()),
    ];
    for (what, bytes) in exchange {
        let pair = pair();
        pair.store();
        let digest = sha256(&pair.new).to_string();
        let blob = pair.site.path(&format!("cache/blobs/{}/{}/{digest}", &digest[..2], &digest[2..4]));
        fs::write(&blob, bytes(&pair)).unwrap();
        let Site { cache, keyring, staging, limits, .. } = &pair.site;
        let checked = cache.verify_all(keyring, staging, limits, &mut |_| ()).unwrap();
        assert!(matches!(&checked[..], [Checked::Rejected(_)]), "{what}: {checked:?}");
        assert!(!blob.exists(), "{what}");
        assert!(matches!(pair.lookup("1.1.0"), Lookup::Miss), "{what}");
        pair.nothing_is_staged();
    }
}

#[test]
fn d3_a_signed_tar_under_the_name_of_an_archive_or_another_version_is_refused() {
    let pair = pair();
    pair.store();
    let folder = pair.site.path("cache/entries");
    let name = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    fs::copy(folder.join(&name), folder.join(name.replace(".tar.json", ".json"))).unwrap();
    let Lookup::Rejected(rejection) = pair.lookup("1.1.0") else { panic!("it was planted") };
    assert!(matches!(rejection.reason, Reason::Kind), "{rejection}");
    assert!(matches!(pair.lookup("1.1.0"), Lookup::Hit(_)), "the tar itself is still there");
    fs::copy(folder.join(&name), folder.join(name.replace("@1.1.0@", "@1.2.0@"))).unwrap();
    let Lookup::Rejected(rejection) = pair.lookup("1.2.0") else { panic!("it was planted") };
    assert!(matches!(rejection.reason, Reason::Archive(ArchiveError::NotSigned { .. })), "{rejection}");
}
