//! O1 and L6: an operator's slip in the configuration, and files that must not be believed.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use exuvia::config::{ConfigError, Input, Loaded, Origin, Strictness, load};
use exuvia::sys::Refusal;

fn gather(file: &Path, env: &[(&str, &str)]) -> Result<Input, ConfigError> {
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Input::gather("exuvia".parse().unwrap(), Some(file), env, Vec::new())
}

fn written(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("exuvia.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path
}

fn refusal(error: ConfigError) -> Refusal {
    match error {
        ConfigError::File(error) => error.refusal().expect("a refusal of ours").clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn o1_a_typo_in_the_configuration_names_the_nearest_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "[trial]\nstart = \"5s\"\nprobatoin = \"1m\"\n");
    let input = gather(&file, &[]).unwrap();

    let ConfigError::UnknownKey(typo) = load(&input, Strictness::Strict).unwrap_err() else { panic!() };
    assert_eq!(typo.key, "trial.probatoin");
    assert_eq!(typo.nearest.as_deref(), Some("trial.probation"));
    assert_eq!(typo.origin, Origin::File { path: file.clone(), line: 3 });
    let text = typo.to_string();
    assert!(text.contains("line 3") && text.contains("did you mean trial.probation?"), "{text}");

    // A node starts all the same, with everything else that the file says.
    let Loaded { settings, warnings, .. } = load(&input, Strictness::Lenient).unwrap();
    assert_eq!(warnings, [*typo]);
    assert_eq!((settings.trial.start, settings.trial.probation), (Duration::from_secs(5), Duration::from_mins(10)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left behind");
}

#[test]
fn o1_a_typo_in_a_variable_names_the_nearest_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "");
    let input = gather(&file, &[("EXUVIA_POLL_INTREVAL", "5s")]).unwrap();
    let ConfigError::UnknownKey(typo) = load(&input, Strictness::Strict).unwrap_err() else { panic!() };
    assert_eq!(typo.nearest.as_deref(), Some("EXUVIA_POLL_INTERVAL"));
}

#[test]
fn o1_a_configuration_that_is_missing_is_an_error_where_it_was_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = gather(&folder.path().join("none.toml"), &[]).unwrap_err();
    assert!(matches!(error, ConfigError::File(error) if error.is_not_found()));
}

#[test]
fn o1_a_file_that_others_may_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "[source]\nlisting = \"https://elsewhere.example/releases.json\"\n");
    for mode in [0o666, 0o664, 0o646] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(refusal(gather(&file, &[]).unwrap_err()), Refusal::WritableByOthers { mode });
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(gather(&file, &[]).is_ok());
}

#[test]
fn o1_a_folder_in_which_others_may_write_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("config.d");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let error = exuvia::sys::config_files(&folder).unwrap_err();
    assert_eq!(error.refusal(), Some(&Refusal::WritableByOthers { mode: 0o777 }));

    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["20-b.toml", "10-a.toml", ".hidden.toml", "note.txt", "10-a.toml~"] {
        fs::write(folder.join(name), "").unwrap();
    }
    let names = exuvia::sys::config_files(&folder).unwrap();
    assert_eq!(names, [folder.join("10-a.toml"), folder.join("20-b.toml")]);
    assert!(exuvia::sys::config_files(&home.path().join("none")).unwrap().is_empty());
}

#[test]
fn l6_a_configuration_that_is_no_text_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exuvia.toml");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(refusal(gather(&path, &[]).unwrap_err()), Refusal::NotRegular("FIFO"));
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    assert_eq!(refusal(gather(&path, &[]).unwrap_err()), Refusal::NotRegular("folder"));
    fs::remove_dir(&path).unwrap();

    assert_eq!(refusal(gather(Path::new("/dev/full"), &[]).unwrap_err()), Refusal::NotRegular("device"));

    let file = fs::File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(refusal(gather(&path, &[]).unwrap_err()), Refusal::TooLong { length: 1 << 40, limit: 1 << 20 });

    fs::write(&path, b"node = \"\xff\"").unwrap();
    assert!(matches!(gather(&path, &[]).unwrap_err(), ConfigError::NotUtf8(_)));

    fs::write(&path, "node = [[[").unwrap();
    let input = gather(&path, &[]).unwrap();
    for strictness in [Strictness::Strict, Strictness::Lenient] {
        assert!(matches!(load(&input, strictness).unwrap_err(), ConfigError::Syntax { line: 1, .. }));
    }
    let deep = format!("node = {}", "[".repeat(500_000));
    fs::write(&path, deep).unwrap();
    assert!(load(&gather(&path, &[]).unwrap(), Strictness::Lenient).is_err());
}
