//! What object stores alone do.

use futures_util::future::join_all;
use object_store::{Error, ObjectStore as _, PutMode, PutOptions};

use super::{Check, Point};
use crate::publish::repo::bucket::Store;
use crate::publish::repo::place::PlaceError;

/// So many create the same object at once.
const CREATORS: usize = 8;

/// Whether a condition of a write holds. Nothing of ours depends on it; other tools may.
pub(in crate::publish::repo) fn conditional(store: &Store, path: &str) -> Check {
    let outcomes = store.wait(async {
        let location = store.location(path)?;
        let create = |number: usize| {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let content = format!("creator {number}").into_bytes().into();
            store.s3.put_opts(&location, content, options)
        };
        Ok(join_all((0..CREATORS).map(create)).await)
    });
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(error) => return Check::refused(Point::Conditional, &error),
    };
    let remedy = "nothing here depends on it; do not let other tools rely on conditional writes there";
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let refused = |outcome: &&Result<_, Error>| {
        !matches!(outcome, Ok(_) | Err(Error::AlreadyExists { .. } | Error::Precondition { .. }))
    };
    match (won, outcomes.iter().find(refused)) {
        (_, Some(Err(error))) => {
            let error = PlaceError::store(store.shown(), path, error);
            Check::warn(Point::Conditional, format!("a conditional write is no request that it knows: {error}"), remedy)
        }
        (1, _) => Check::ok(Point::Conditional, format!("of {CREATORS} who create an object at once one is told so")),
        (won, _) => {
            let found = format!("of {CREATORS} who create an object at once {won} are told so");
            Check::warn(Point::Conditional, found, remedy)
        }
    }
}
