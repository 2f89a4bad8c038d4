use std::error::Error;
use std::{fmt, io};

/// What the HTTP client says, reduced to its innermost reason; the address, which may hold a secret
/// query, is taken out.
#[derive(Debug)]
pub struct Cause(reqwest::Error);

impl Cause {
    pub(super) fn new(error: reqwest::Error) -> Self {
        Self(error.without_url())
    }

    /// The first error in the chain of reasons of type `T`.
    pub(super) fn find<T: Error + 'static>(&self) -> Option<&T> {
        self.chain().find_map(|error| error.downcast_ref())
    }

    fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let outermost: &(dyn Error + 'static) = &self.0;
        std::iter::successors(Some(outermost), |error: &&(dyn Error + 'static)| {
            let error: &(dyn Error + 'static) = *error;
            match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                // `source` of an io::Error skips the error that it wraps.
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            }
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chain().last() {
            Some(innermost) => fmt::Display::fmt(innermost, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl Error for Cause {}
