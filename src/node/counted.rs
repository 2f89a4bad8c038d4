use super::state::Counters;
use crate::upgrade::{CacheAnswer, NeighbourAnswer, PatchAnswer, Step};

/// Counts what a step of an upgrade answers, for `/metrics`.
pub(super) fn count_step(counters: &Counters, step: &Step) {
    let (name, result) = match step {
        Step::Cached { answer, .. } => {
            let result = match answer {
                CacheAnswer::Hit => "hit",
                CacheAnswer::Miss => "miss",
                CacheAnswer::Rejected => "rejected",
            };
            ("exuvia_upgrade_cache_requests_total", result)
        }
        Step::Neighbour { answer, .. } => {
            let result = match answer {
                NeighbourAnswer::Had => "had",
                NeighbourAnswer::Refused => "refused",
            };
            ("exuvia_upgrade_neighbour_files_total", result)
        }
        Step::Patched { answer, .. } => {
            let result = match answer {
                PatchAnswer::Applied => "applied",
                PatchAnswer::Refused => "refused",
            };
            ("exuvia_upgrade_patches_total", result)
        }
        _ => return,
    };
    counters.add(name, result);
}
