use maud::{Markup, html};

use super::super::status::{CacheContent, LastCheck, Status};
use super::View;
use super::words::{bytes, moment};
use crate::tuf::Standing;

/// Where releases come from, and what was decided about them.
pub(super) fn source(view: &View) -> Markup {
    let Status { source, trust, metadata, last_check, next_check, policy, vetoes, .. } = &view.status;
    html! {
        section aria-labelledby="source" {
            h2 #source { "Source and policy" }
            dl {
                dt { "Source" } dd { (source.as_deref().unwrap_or("none")) }
                dt { "Trust" } dd { (trust) }
                @if let Some(role) = metadata.as_ref().and_then(Standing::first_to_expire) {
                    dt { "Metadata" }
                    dd {
                        (role.role) " " (role.version)
                        @if role.expires <= view.now { " expired " } @else { " expires " }
                        (moment(role.expires, view.now))
                    }
                }
                dt { "Last look" }
                dd {
                    @match last_check {
                        Some(LastCheck { at, result, .. }) => { (moment(*at, view.now)) ": " (result) }
                        None => "none yet",
                    }
                }
                @if let Some(next) = next_check.filter(|_| source.is_some()) {
                    dt { "Next look" } dd { (moment(next, view.now)) }
                }
                @if let Some(policy) = policy {
                    dt { "Pin" } dd { @match &policy.pin { Some(pin) => (pin), None => "none" } }
                    dt { "Pause" }
                    dd {
                        @match policy.pause.as_ref().map(|pause| pause.until) {
                            None => "none",
                            Some(None) => "until resume",
                            Some(Some(until)) if until <= view.now => { "ended " (moment(until, view.now)) }
                            Some(Some(until)) => { "ends " (moment(until, view.now)) }
                        }
                    }
                }
                dt { "Vetoes" }
                dd {
                    @if vetoes.is_empty() { "none" }
                    @for veto in vetoes {
                        p {
                            strong { (veto.version) } ": " (veto.reason)
                            @if let Some(until) = veto.until { "; ends " (moment(until, view.now)) }
                        }
                    }
                }
            }
        }
    }
}

/// What the job tells of itself.
pub(super) fn job(view: &View) -> Markup {
    html! {
        @if !view.status.job.is_empty() {
            section aria-labelledby="job" {
                h2 #job { "Job" }
                dl { @for fact in &view.status.job { dt { (fact.name) } dd { (fact.value) } } }
            }
        }
    }
}

/// What the nodes of the host share.
pub(super) fn host(view: &View) -> Markup {
    let Status { siblings, cache, .. } = &view.status;
    html! {
        section aria-labelledby="host" {
            h2 #host { "This host" }
            dl {
                dt { "Shared cache" }
                dd {
                    @match cache {
                        None => "cannot be used",
                        Some(CacheContent { archives: 0, .. }) => "holds no archive",
                        Some(CacheContent { archives, bytes: length }) => {
                            (archives) @if *archives == 1 { " archive, " } @else { " archives, " } (bytes(*length))
                        }
                    }
                }
            }
            @if !siblings.is_empty() {
                table {
                    thead { tr { th scope="col" { "Other node" } th scope="col" { "Runs" } th scope="col" { "Trial" } } }
                    tbody {
                        @for sibling in siblings {
                            tr {
                                th scope="row" { (sibling.node) }
                                td { (sibling.running.version) }
                                td.long {
                                    @if let Some(trial) = &sibling.trial { (trial) }
                                    @else if sibling.holds_lease { "has the turn to try a release" }
                                    @else { span.soft { "no trial" } }
                                }
                            }
                        }
                    }
                }
            } @else if view.in_full {
                p.soft { "No other node shares this install." }
            }
        }
    }
}
