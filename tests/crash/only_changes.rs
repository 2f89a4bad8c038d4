//! `only-changes PROGRAM ARGUMENTS…`: becomes that program, under a seccomp filter that stops it, with everything that
//! it starts, at the calls of `lab/table.rs` alone. A tracer that stopped it at
//! every call would spend most of the time on calls that change nothing.

#![allow(unreachable_pub, reason = "shared with the tests")]

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
#[path = "lab/table.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod table;

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
fn main() {
    use std::collections::BTreeMap;
    use std::os::unix::process::CommandExt as _;

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare, SeccompCondition,
        SeccompFilter, SeccompRule, TargetArch,
    };

    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for table::Stop { number, only_where } in table::stops() {
        let rule = |(argument, mask, value)| {
            let condition = SeccompCondition::new(argument, Length::Dword, Compare::MaskedEq(mask), value);
            SeccompRule::new(vec![condition.expect("a condition")]).expect("a rule")
        };
        rules.insert(number, only_where.into_iter().map(rule).collect());
    }
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Trace(0), TargetArch::x86_64);
    let filter: BpfProgram = filter.expect("a filter").try_into().expect("short enough");
    seccompiler::apply_filter(&filter).expect("it may be stopped");
    let mut words = std::env::args_os().skip(1);
    let program = words.next().expect("only-changes PROGRAM ARGUMENTS…");
    panic!("{}", std::process::Command::new(program).args(words).exec());
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
fn main() {
    eprintln!("only-changes knows the system calls of x86-64 alone");
}
