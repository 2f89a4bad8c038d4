use std::error::Error;
use std::io::Write;

/// Where the files of a repository come from. Nothing that it says is believed.
pub trait Repository: Send {
    /// Why a file could not be had. A connection that broke off is this, and never [`Answer::Absent`].
    type Error: Error + Send + Sync + 'static;

    /// Fetches one file: one request, without retries, its body written piece by piece as it comes.
    /// When a write fails, the rest is not fetched, and the answer is an error.
    fn fetch(
        &mut self,
        file: RemoteFile<'_>,
        into: &mut (dyn Write + Send),
    ) -> impl Future<Output = Result<Answer, Self::Error>> + Send;
}

/// Which file. Its name is part of an address as it stands, encoded where it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteFile<'a> {
    /// Below the base of the metadata.
    Metadata(&'a str),
    /// Below the base of the targets.
    Target(&'a str),
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The whole file was written.
    Whole,
    /// There is no such file (status 403 or 404). Nothing was written.
    Absent,
}
