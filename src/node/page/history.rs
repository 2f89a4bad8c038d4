use maud::{Markup, html};

use super::View;
use super::now::outcome;
use super::words::moment;
use crate::ledger::Attempt;

/// What the node tried, the latest first.
pub(super) fn section(view: &View) -> Markup {
    html! {
        section.wide aria-labelledby="history" {
            h2 #history { "History" }
            @if view.attempts.is_empty() {
                p { "Nothing was attempted yet." }
            } @else {
                table {
                    thead { tr {
                        th scope="col" { "Attempt" } th scope="col" { "Outcome" }
                        th scope="col" { "When" } th scope="col" { "Reason" }
                    } }
                    tbody { @for attempt in &view.attempts { (row(view, attempt)) } }
                }
            }
        }
    }
}

fn row(view: &View, attempt: &Attempt) -> Markup {
    let (mood, name) = outcome(attempt.outcome.as_ref());
    html! {
        tr {
            th.fit scope="row" { (attempt.id) ". " (attempt.kind) " to " (attempt.to) }
            td { span.pill.(mood) { (name) } }
            td.long.fit { (moment(attempt.started, view.now)) }
            td.long {
                (attempt.reason.as_deref().unwrap_or_default())
                // What a candidate wrote may hold anything: it stays in the node's own history.
                @if attempt.output.is_some() {
                    " " span.soft { "(its last words: " code { "history " (attempt.id) } ")" }
                }
            }
        }
    }
}
