//! A laboratory for crashes: the whole upgrade of a real node, interrupted at each system call that
//! changes something on disk.

#![allow(dead_code, reason = "the test and the program use different parts")]

pub mod call;
pub mod campaign;
pub mod point;
pub mod power;
pub mod stage;
pub mod story;
pub mod table;
pub mod trace;
