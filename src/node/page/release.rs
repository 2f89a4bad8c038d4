use maud::{Markup, html};

use super::super::audience::{ForAnybody, word};
use super::super::control::Explained;
use super::View;
use super::words::{moment, sentence};
use crate::rollout::{GateReport, Inputs, Why};

/// Every gate before the release that the node would go to, as `why` shows them.
pub(super) fn section(view: &View) -> Markup {
    html! {
        section.wide aria-labelledby="next" {
            h2 #next { "Next release" }
            @match &view.explained {
                None => p { "Not known: no listing has been read since the worker started." },
                Some(explained) => (explain(view, explained)),
            }
        }
    }
}

fn explain(view: &View, Explained { why, host }: &Explained) -> Markup {
    if let Some(trial) =
        view.status.trial.as_ref().filter(|trial| why.version.as_ref() == Some(&trial.candidate.version))
    {
        return html! { p { strong { (trial.candidate.version) } " has passed every gate, and is on trial." } };
    }
    let shut = why.shut().map(|report| report.gate.name()).or_else(|| host.as_ref().map(|_| "host"));
    html! {
        @match (&why.version, shut) {
            (None, _) => p { "The source offers nothing newer than " strong { (why.running) } " for this node." },
            (Some(version), None) => {
                p {
                    strong { (version) } ": nothing stands before it; "
                    @if view.busy() { "this node is on its way there." } @else { "the next look goes there." }
                }
            }
            (Some(version), Some(shut)) => {
                p { strong { (version) } ": not yet, because the gate " strong { (shut) } " is shut." }
            }
        }
        @if why.version.is_some() {
            table {
                thead { tr {
                    th scope="col" { "Gate" } th scope="col" { "State" }
                    th scope="col" { "What it looks at" } th scope="col" { "Changes" }
                } }
                tbody {
                    @for GateReport { gate, open, inputs, changes } in &why.gates {
                        (row(view, gate.name(), *open, &inputs.to_string(), *changes))
                    }
                    @match host {
                        Some(host) => (row(view, "host", false, &host.because, Some(host.changes))),
                        None => (row(view, "host", true, "no sibling tries a version, or found this one bad", None)),
                    }
                }
            }
        }
    }
}

fn row(view: &View, name: &str, open: bool, looks_at: &str, changes: Option<jiff::Timestamp>) -> Markup {
    let (mood, state) = if open { ("good", "open") } else { ("warn", "shut") };
    html! {
        tr {
            th scope="row" { (name) }
            td { span.pill.(mood) { (state) } }
            td.long { (sentence(looks_at)) }
            td.long.fit { @if let Some(at) = changes { (if open { "shuts " } else { "opens " }) (moment(at, view.now)) } }
        }
    }
}

impl ForAnybody for Explained {
    fn for_anybody(self) -> Self {
        let Self { mut why, host } = self;
        for report in &mut why.gates {
            if let Inputs::Veto { veto: Some(veto) } = &mut report.inputs {
                veto.reason = word(&veto.reason);
            }
        }
        let why = Why { vetoes: Vec::new(), ..why };
        Self { why, host: host.map(ForAnybody::for_anybody) }
    }
}
