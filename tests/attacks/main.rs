//! Each attack is played for real: what is planted, served or broken, the refusal with its reason, and
//! that nothing was left behind. A test's name begins with the row of the manual's table that it shows.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

mod l1_ledger;
mod l6_ledger;
mod o1_config;
