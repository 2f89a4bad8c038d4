use std::fs;

/// Resident memory of a process, in bytes; `None` where it is gone, or hidden.
#[must_use]
pub fn resident_memory(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Descriptors that this process has open. Only a process itself may count them when it cannot be traced.
#[must_use]
pub fn own_descriptors() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them reads that folder.
    u64::try_from(entries).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_descriptors_are_counted() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(resident_memory(own).unwrap() > 1 << 20);
        assert_eq!(resident_memory(i32::MAX), None);
        let kept: Vec<_> = (0..64).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close files meanwhile.
        assert!(own_descriptors().unwrap() >= kept.len() as u64);
    }
}
