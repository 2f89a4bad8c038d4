use rusqlite::Transaction;

use crate::types::StateEpochs;

/// What a version knows of the job's database.
///
/// ```
/// use exuvia::state::{Schema, Step};
///
/// const STATE: Schema = Schema::new(0x436e_7472, 1, &[
///     Step::Sql("CREATE TABLE count (n INTEGER NOT NULL) STRICT; INSERT INTO count VALUES (0)"),
///     Step::Sql("ALTER TABLE count ADD COLUMN since_ms INTEGER"),
/// ]);
/// assert_eq!(STATE.epochs().writes, 2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    application_id: i32,
    reads_from: u32,
    steps: &'static [Step],
}

/// One migration: the step at index n brings the state from epoch n to n + 1, where 0 is an empty database.
/// A step that was released is never edited.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Statements.
    Sql(&'static str),
    /// Whatever statements alone cannot do. It may not commit.
    Code(fn(&Transaction<'_>) -> rusqlite::Result<()>),
}

impl Schema {
    /// `application_id` marks the file as this product's (SQLite's `application_id`; not 0). `reads_from` is the
    /// oldest epoch from which this version migrates, 1 or more; older steps make new databases alone. It
    /// writes the epoch that is the number of `steps`.
    ///
    /// # Panics
    /// When compiled into a constant: an `application_id` of 0, no step, or a `reads_from` that is not an epoch.
    #[must_use]
    pub const fn new(application_id: i32, reads_from: u32, steps: &'static [Step]) -> Self {
        assert!(application_id != 0, "0 is what a database without a mark has");
        assert!(!steps.is_empty() && steps.len() < 1 << 16, "a state has at least one step");
        assert!(reads_from >= 1 && reads_from as usize <= steps.len(), "reads_from is the number of a step");
        Self { application_id, reads_from, steps }
    }

    /// The epochs that this version understands.
    #[must_use]
    pub const fn epochs(&self) -> StateEpochs {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the only constructor")]
        StateEpochs { reads_from: self.reads_from, writes: self.steps.len() as u32 }
    }

    /// The mark of the file.
    #[must_use]
    pub const fn application_id(&self) -> i32 {
        self.application_id
    }

    /// The steps that lead on from that epoch, each with the epoch that it leads to.
    pub(super) fn steps_from(&self, epoch: u32) -> impl Iterator<Item = (u32, &Step)> {
        (1..).zip(self.steps).skip(epoch as usize)
    }
}

impl Step {
    pub(super) fn take(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        match self {
            Self::Sql(text) => transaction.execute_batch(text),
            Self::Code(work) => work(transaction),
        }
    }
}
