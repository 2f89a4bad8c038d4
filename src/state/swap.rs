use super::open::turn;
use super::{COMPANIONS, FILE, StateError};
use crate::sys::PrivateDir;

/// Puts the database that lies at `new`, whole and synced, in the state's place. The one that is there goes to
/// `aside`, with what SQLite keeps beside it. Nobody may have either open.
///
/// Done again with the same names after a kill, it goes on where it was stopped; after it was done, it changes
/// nothing but that `new` is gone.
pub fn swap_in(dir: &PrivateDir, new: &str, aside: &str) -> Result<(), StateError> {
    let _turn = turn(dir)?;
    if !dir.exists(aside)? {
        // The database last: when it has its new name, so has what belongs to it.
        for companion in COMPANIONS.into_iter().chain([""]) {
            let old = format!("{FILE}{companion}");
            if dir.exists(&old)? {
                dir.rename(&old, &format!("{aside}{companion}"))?;
            }
        }
        dir.sync()?;
    }
    if dir.exists(FILE)? {
        dir.remove(new)?;
    } else {
        dir.rename(new, FILE)?;
    }
    Ok(dir.sync()?)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests set up files")]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::sys::Loose;

    fn lay_out(folder: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    fn found(folder: &Path) -> Vec<(String, String)> {
        let names = PrivateDir::open_existing(folder, Loose::Tighten).unwrap().names().unwrap();
        let texts = names.into_iter().filter(|name| name != "state.lock");
        texts.map(|name| (name.clone(), fs::read_to_string(folder.join(&name)).unwrap())).collect()
    }

    #[test]
    fn a_swap_that_was_stopped_anywhere_is_finished_by_the_next_one() {
        let after = [("state.db", "old"), ("state.rejected-1", "new"), ("state.rejected-1-wal", "newer")];
        let after = after.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let stopped: [&[(&str, &str)]; 4] = [
            &[(".back", "old"), ("state.db", "new"), ("state.db-wal", "newer")],
            &[(".back", "old"), ("state.db", "new"), ("state.rejected-1-wal", "newer")],
            &[(".back", "old"), ("state.rejected-1", "new"), ("state.rejected-1-wal", "newer")],
            &[(".back", "old"), ("state.db", "old"), ("state.rejected-1", "new"), ("state.rejected-1-wal", "newer")],
        ];
        for files in stopped {
            let dir = tempfile::tempdir().unwrap();
            let data = PrivateDir::open_or_create(dir.path(), Loose::Tighten).unwrap();
            lay_out(dir.path(), files);
            swap_in(&data, ".back", "state.rejected-1").unwrap();
            assert_eq!(found(dir.path()), after, "{files:?}");
            lay_out(dir.path(), &[(".back", "old")]);
            swap_in(&data, ".back", "state.rejected-1").unwrap();
            assert_eq!(found(dir.path()), after, "done again, {files:?}");
        }
    }

    #[test]
    fn a_state_comes_back_also_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let data = PrivateDir::open_or_create(dir.path(), Loose::Tighten).unwrap();
        lay_out(dir.path(), &[(".back", "old"), ("state.db-wal", "of nothing")]);
        swap_in(&data, ".back", "aside").unwrap();
        let after = [("aside-wal", "of nothing"), ("state.db", "old")];
        assert_eq!(found(dir.path()), after.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }
}
