use std::sync::Arc;

use jiff::Timestamp;

use super::state::State;
use crate::upgrade::Engine;

/// Says what is not believed of the siblings, each thing once: it is there, and it changes nothing.
pub(super) fn tell_doubts(engine: &Arc<Engine>, state: &Arc<State>) {
    let (engine, state) = (engine.clone(), state.clone());
    tokio::task::spawn_blocking(move || {
        // What cannot be read at all is said by whoever needs it.
        for doubt in engine.install.doubts(&engine.node, Timestamp::now()).unwrap_or_default() {
            if state.doubts_first(&doubt) {
                state.counters.add("exuvia_siblings_doubted_total", doubt.word());
                tracing::warn!(event = "sibling_not_believed", kind = doubt.word(), "{doubt}");
            }
        }
    });
}
