//! `scripts/install.sh` installs what a release key signed as exactly this release, and nothing else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::http_server::Server;
use super::{Run, TARGET, key, keygen, openssl, release, root};

const PROGRAM: &str = "#!/bin/sh\necho the program\n";

/// A desk with a published release, and a host on which nothing is installed.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(host.path("program"), PROGRAM).unwrap();
        host.pack("1.0.0", "a.key", "site");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn pack(&self, version: &str, signed_by: &str, out: &str) {
        let args = ["pack", "--binary", "program", "--product", "exuvia", "--version", version, "--target", TARGET];
        let rest = ["--key", &key(signed_by), "--out", out, "--format", "gz"];
        Run::of(Command::new(release()).args(args).args(rest).current_dir(self.dir.path())).ok();
    }

    fn archive(&self) -> PathBuf {
        self.path(&format!("site/1.0.0/exuvia-{TARGET}.tar.gz"))
    }

    /// Puts an archive made by `tar` with these arguments in place, properly signed.
    fn sign_tar(&self, args: &[&str]) {
        Run::of(Command::new("tar").arg("-czf").arg(self.archive()).args(args).current_dir(self.dir.path())).ok();
        fs::remove_file(self.signature()).unwrap();
        let id = ["--product", "exuvia", "--version", "1.0.0", "--target", TARGET];
        let mut command = Command::new(keygen());
        Run::of(command.args(["sign", "--key", &key("a.key")]).args(id).arg(self.archive())).ok();
    }

    fn signature(&self) -> PathBuf {
        self.archive().with_extension("gz.sig")
    }

    /// Installs 1.0.0 into `opt`, checking with OpenSSL where there is one that can.
    fn install(&self, args: &[&str]) -> Run {
        let prefix = self.path("opt").display().to_string();
        let mut command = Command::new("sh");
        command.arg(root().join("scripts/install.sh"));
        command.args(["--version", "1.0.0", "--from", "site", "--target", TARGET, "--prefix", &prefix]);
        match openssl() {
            Some(openssl) => drop(command.env("OPENSSL", openssl)),
            None => drop(command.args(["--checker", keygen()])),
        }
        // So that whatever it leaves behind is seen.
        fs::create_dir_all(self.path("tmp")).unwrap();
        command.env("TMPDIR", self.path("tmp"));
        Run::of(command.args(args).current_dir(self.dir.path()))
    }

    fn install_with_key(&self) -> Run {
        self.install(&["--key", &key("release/b.pem"), "--key", &key("release/a.pem")])
    }

    #[track_caller]
    fn nothing_is_installed(&self) {
        assert!(!self.path("opt").exists(), "something was installed");
        self.nothing_is_left();
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        assert_eq!(fs::read_dir(self.path("tmp")).unwrap().count(), 0, "temporary files were left");
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_signed_release_is_installed_with_modes_of_its_own() {
    let host = Host::new();
    let said = host.install_with_key().ok().out;
    assert!(said.contains("The signature holds: exuvia 1.0.0") && said.contains("Next:"), "{said}");
    let bin = host.path("opt/bin");
    assert_eq!(names(&bin), ["exuvia"]);
    assert_eq!(fs::read_to_string(bin.join("exuvia")).unwrap(), PROGRAM);
    for (path, mode) in [(bin.join("exuvia"), 0o755), (bin, 0o755), (host.path("opt"), 0o755)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, mode);
    }
    host.nothing_is_left();
}

#[test]
fn the_program_and_its_folder_belong_to_whoever_runs_the_node() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    let host = Host::new();
    host.install(&["--key", &key("release/a.pem"), "--owner", "65534"]).ok();
    assert_eq!(fs::metadata(host.path("opt/bin/exuvia")).unwrap().uid(), 65534);
    assert_eq!(fs::metadata(host.path("opt/bin")).unwrap().uid(), 65534);
}

#[test]
fn the_newer_compression_is_read_where_there_is_zstd() {
    if Command::new("zstd").arg("--version").output().is_err() {
        eprintln!("skipped: there is no zstd");
        return;
    }
    let host = Host::new();
    let args = ["pack", "--binary", "program", "--product", "exuvia", "--version", "1.0.0", "--target", TARGET];
    let rest = ["--key", &key("a.key"), "--out", "other"];
    Run::of(Command::new(release()).args(args).args(rest).current_dir(host.dir.path())).ok();
    host.install(&["--from", "other", "--key", &key("release/a.pem")]).ok();
    assert_eq!(fs::read_to_string(host.path("opt/bin/exuvia")).unwrap(), PROGRAM);
}

#[test]
fn a_release_is_fetched_from_a_tree_or_from_a_release_page_and_a_missing_one_is_named() {
    let host = Host::new();
    // As release pages name their folders.
    host.pack("1.0.0", "a.key", "page");
    fs::rename(host.path("page/1.0.0"), host.path("page/v1.0.0")).unwrap();
    let server = Server::folder(host.dir.path());
    for place in ["/site", "/site/", "/page"] {
        host.install(&["--from", &server.url(place), "--key", &key("release/a.pem")]).ok();
        assert_eq!(fs::read_to_string(host.path("opt/bin/exuvia")).unwrap(), PROGRAM);
        fs::remove_dir_all(host.path("opt")).unwrap();
    }
    let forged = ["--from", &server.url("/site"), "--key", &key("stranger.pem")];
    host.install(&forged).refused(4, "not made by a trusted release key");
    host.nothing_is_installed();
    let missing = ["--from", &server.url("/nowhere"), "--key", &key("release/a.pem")];
    host.install(&missing).refused(6, "there is no exuvia-x86_64");
    host.nothing_is_installed();
}

#[test]
fn a_forged_or_foreign_signature_installs_nothing() {
    let host = Host::new();
    host.install(&["--key", &key("stranger.pem")]).refused(4, "not made by a trusted release key");
    host.nothing_is_installed();
    let mut signature = fs::read(host.signature()).unwrap();
    signature[100] ^= 1;
    fs::write(host.signature(), signature).unwrap();
    host.install_with_key().refused(4, "not made by a trusted release key");
    host.nothing_is_installed();
    // Properly made, by a key that nobody named.
    fs::remove_dir_all(host.path("site")).unwrap();
    host.pack("1.0.0", "stranger.key", "site");
    host.install_with_key().refused(4, "not made by a trusted release key");
    host.nothing_is_installed();
}

#[test]
fn another_version_or_target_under_this_name_installs_nothing() {
    let host = Host::new();
    host.pack("0.9.0", "a.key", "site");
    fs::rename(host.path("site/1.0.0"), host.path("site/kept")).unwrap();
    fs::rename(host.path("site/0.9.0"), host.path("site/1.0.0")).unwrap();
    host.install_with_key().refused(4, "another release under this name");
    host.nothing_is_installed();
    fs::remove_dir_all(host.path("site/1.0.0")).unwrap();
    fs::rename(host.path("site/kept"), host.path("site/1.0.0")).unwrap();
    let other = "x86_64-unknown-linux-musl";
    for ending in ["tar.gz", "tar.gz.sig"] {
        let name = |target: &str| host.path(&format!("site/1.0.0/exuvia-{target}.{ending}"));
        fs::copy(name(TARGET), name(other)).unwrap();
    }
    host.install(&["--target", other, "--key", &key("release/a.pem")]).refused(4, "on x86_64-unknown-linux-musl");
    host.nothing_is_installed();
}

#[test]
fn a_truncated_archive_or_signature_installs_nothing() {
    let host = Host::new();
    let cut = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        bytes
    };
    let whole = cut(&host.archive());
    host.install_with_key().refused(4, "not made by a trusted release key");
    host.nothing_is_installed();
    fs::write(host.archive(), whole).unwrap();
    cut(&host.signature());
    host.install_with_key().refused(4, "3308 bytes instead of 3309");
    host.nothing_is_installed();
    fs::remove_file(host.signature()).unwrap();
    host.install_with_key().refused(6, "without its signature");
    host.nothing_is_installed();
    fs::remove_file(host.archive()).unwrap();
    host.install_with_key().refused(6, "there is no exuvia-x86_64");
    host.nothing_is_installed();
}

#[test]
fn without_a_program_that_can_check_signatures_nothing_is_installed() {
    let host = Host::new();
    // As systems have it today, as macOS has it, and none at all.
    for version in ["OpenSSL 3.0.19 27 Jan 2026", "OpenSSL 3.4.9 1 Jan 2025", "LibreSSL 3.9.0", "OpenSSL 1.1.1w"] {
        let fake = host.path("openssl");
        fs::write(&fake, format!("#!/bin/sh\n[ \"$1\" = version ] && echo '{version}'\nexit 0\n")).unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = bare(&host, &[]);
        Run::of(command.env("OPENSSL", &fake)).refused(4, "there is no OpenSSL 3.5 or newer");
        host.nothing_is_installed();
    }
    Run::of(bare(&host, &[]).env("OPENSSL", "/nonexistent")).refused(4, "--checker");
    host.nothing_is_installed();
    Run::of(&mut bare(&host, &["--checker", "/bin/true"])).refused(2, "neither exuvia-keygen nor exuvia");
    host.nothing_is_installed();
}

/// The script without a checker that this test chose.
fn bare(host: &Host, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.arg(root().join("scripts/install.sh")).args(["--version", "1.0.0", "--from", "site"]);
    command.args(["--target", TARGET, "--prefix"]).arg(host.path("opt")).args(["--key", &key("release/a.pem")]);
    fs::create_dir_all(host.path("tmp")).unwrap();
    command.args(args).env("TMPDIR", host.path("tmp")).current_dir(host.dir.path());
    command
}

#[test]
fn every_checker_agrees_about_a_good_and_a_forged_signature() {
    let host = Host::new();
    let node = env!("CARGO_BIN_EXE_exuvia");
    // It pins what this build was built with: perhaps not the test keys, and then it must refuse.
    let pins_test_keys =
        Run::of(Command::new(node).args(["verify", "--version", "1.0.0", "--target", TARGET]).arg(host.archive())).code
            == 0;
    let check = |good: bool| {
        let code = if good { 0 } else { 4 };
        let run = Run::of(&mut bare(&host, &["--checker", keygen()]));
        assert_eq!(run.code, code, "{run:?}");
        assert_eq!(host.path("opt/bin/exuvia").exists(), good);
        fs::remove_dir_all(host.path("opt")).ok();
        if let Some(openssl) = openssl() {
            assert_eq!(Run::of(bare(&host, &[]).env("OPENSSL", openssl)).code, code);
            assert_eq!(host.path("opt/bin/exuvia").exists(), good);
            fs::remove_dir_all(host.path("opt")).ok();
        }
        let run = host.install(&["--checker", node]);
        assert_eq!(run.code == 0, good && pins_test_keys, "{run:?}");
        assert_eq!(host.path("opt/bin/exuvia").exists(), good && pins_test_keys);
        fs::remove_dir_all(host.path("opt")).ok();
    };
    check(true);
    let mut archive = fs::read(host.archive()).unwrap();
    archive[20] ^= 1;
    fs::write(host.archive(), archive).unwrap();
    check(false);
    host.install(&["--checker", node, "--key", &key("release/a.pem")]).refused(2, "leave --key out");
    host.nothing_is_installed();
}

#[test]
fn an_archive_with_any_other_member_installs_nothing_although_it_is_signed() {
    let host = Host::new();
    fs::write(host.path("exuvia"), PROGRAM).unwrap();
    fs::write(host.path("more"), "").unwrap();
    host.sign_tar(&["exuvia"]);
    host.install_with_key().ok();
    fs::remove_dir_all(host.path("opt")).unwrap();
    for members in
        [&["exuvia", "more"][..], &["more"], &["exuvia", "exuvia"], &["--transform=s,^,../,", "-P", "exuvia"]]
    {
        host.sign_tar(members);
        host.install_with_key().refused(4, "exactly one regular file named exuvia");
        host.nothing_is_installed();
    }
    fs::rename(host.path("exuvia"), host.path("target")).unwrap();
    symlink("target", host.path("exuvia")).unwrap();
    host.sign_tar(&["exuvia"]);
    host.install_with_key().refused(4, "exactly one regular file named exuvia");
    host.nothing_is_installed();
    fs::remove_file(host.path("exuvia")).unwrap();
    fs::write(host.path("exuvia"), "").unwrap();
    host.sign_tar(&["exuvia"]);
    host.install_with_key().refused(4, "an empty program");
    host.nothing_is_installed();
}

#[test]
fn what_is_installed_is_left_to_the_node_unless_its_replacement_is_asked_for() {
    let host = Host::new();
    host.install_with_key().ok();
    let program = host.path("opt/bin/exuvia");
    fs::write(&program, "as it runs").unwrap();
    host.install_with_key().refused(9, "A node upgrades itself").refused(9, "exuvia upgrade --version 1.0.0");
    assert_eq!(fs::read_to_string(&program).unwrap(), "as it runs");
    let before = fs::metadata(&program).unwrap().ino();
    let said = host.install(&["--key", &key("release/a.pem"), "--upgrade-in-place"]).ok().out;
    assert!(said.contains("without a trial"), "{said}");
    assert_eq!(fs::read_to_string(&program).unwrap(), PROGRAM);
    assert_ne!(fs::metadata(&program).unwrap().ino(), before, "a running program was written to");
    // A link is nobody's install: what it leads to stays.
    fs::rename(&program, host.path("elsewhere")).unwrap();
    symlink(host.path("elsewhere"), &program).unwrap();
    fs::write(host.path("elsewhere"), "elsewhere").unwrap();
    host.install(&["--key", &key("release/a.pem"), "--upgrade-in-place"]).refused(9, "not a regular file");
    assert_eq!(fs::read_to_string(host.path("elsewhere")).unwrap(), "elsewhere");
    assert_eq!(names(&host.path("opt/bin")), ["exuvia"]);
    host.nothing_is_left();
}

#[test]
fn a_folder_that_others_may_write_to_takes_no_program() {
    let host = Host::new();
    fs::create_dir_all(host.path("opt/bin")).unwrap();
    fs::set_permissions(host.path("opt/bin"), fs::Permissions::from_mode(0o777)).unwrap();
    host.install_with_key().refused(9, "others may write to");
    assert!(names(&host.path("opt/bin")).is_empty());
    host.nothing_is_left();
}

#[test]
fn no_key_no_version_no_source_or_a_crooked_one_installs_nothing() {
    let host = Host::new();
    // Away from its repository the script has no keys beside it.
    fs::copy(root().join("scripts/install.sh"), host.path("install.sh")).unwrap();
    let prefix = host.path("opt").display().to_string();
    let run = |args: &[&str]| {
        let mut command = Command::new("sh");
        command.arg("install.sh").args(args).args(["--target", TARGET, "--prefix", &prefix, "--checker", keygen()]);
        let run = Run::of(command.env("TMPDIR", host.path("tmp")).current_dir(host.dir.path()));
        host.nothing_is_installed();
        run
    };
    fs::create_dir_all(host.path("tmp")).unwrap();
    run(&["--version", "1.0.0", "--from", "site"]).refused(2, "no public release key beside this script");
    run(&["--from", "site"]).refused(2, "--version is missing");
    run(&["--version", "1.0.0"]).refused(2, "--from is missing");
    for version in ["../1.0.0", "1.0.0/..", "1.0.0;id", "1..0", "v1.0.0", "1.0.0 "] {
        run(&["--version", version, "--from", "site"]).refused(2, "is no version");
    }
    let public = key("release/a.pem");
    run(&["--version", "1.0.0", "--from", "http://releases.example", "--key", &public]).refused(6, "plain http");
    // With them beside it, it needs no --key.
    let keys = host.path("keys/release");
    fs::create_dir_all(&keys).unwrap();
    fs::copy(&public, keys.join("a.pem")).unwrap();
    let mut command = Command::new("sh");
    command.args(["install.sh", "--version", "1.0.0", "--from", "site", "--target", TARGET, "--prefix", &prefix]);
    Run::of(command.args(["--checker", keygen()]).current_dir(host.dir.path())).ok();
    assert_eq!(names(&host.path("opt/bin")), ["exuvia"]);
}
