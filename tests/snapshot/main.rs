//! Snapshots of a job's state, with real databases, files and keys: what is taken and put back, and what
//! is refused.

#![allow(clippy::disallowed_methods, reason = "tests make and damage files")]

mod foreign;
mod forge;
mod interrupted;
mod nodes;
mod s1_hostile;
mod stock_tools;
mod take_and_restore;
