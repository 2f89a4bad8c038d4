use std::fs;

const FILE: &str = "/proc/self/oom_score_adj";
/// By how much more of a target than this process: half of the kernel's scale.
const MORE: i32 = 500;
/// The kernel's own end of the scale.
const MOST: i32 = 1000;

/// Starts something that the kernel shall kill before this process when the host runs out of memory, with
/// everything that descends from it. The score is inherited, so it holds from the first instruction and
/// nothing that is started has to help. Where the kernel does not let us, it is started all the same.
pub fn expendable<T>(start: impl FnOnce() -> T) -> T {
    let own = fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let set = |score: i32| fs::write(FILE, score.to_string()).is_ok();
    let raised = own.filter(|own| set(own.saturating_add(MORE).min(MOST)));
    let started = start();
    if let Some(own) = raised {
        // Allowed also without rights: never below what it was.
        set(own);
    }
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_is_the_kernels_first_target_and_this_process_stays_what_it_was() {
        let before = fs::read_to_string(FILE).unwrap();
        let inside = expendable(|| fs::read_to_string(FILE).unwrap());
        assert_eq!(fs::read_to_string(FILE).unwrap(), before);
        let (before, inside): (i32, i32) = (before.trim().parse().unwrap(), inside.trim().parse().unwrap());
        assert_eq!(inside, (before + MORE).min(MOST));
    }
}
