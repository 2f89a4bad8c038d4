//! What an operator meets: the program itself, run in a place of its own.

#![allow(clippy::disallowed_methods, reason = "tests set up files")]

mod doctor;
mod place;
mod transcripts;
mod why;
