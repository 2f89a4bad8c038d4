//! The status page: what a node does, and why, for whoever opens it in a browser.
//!
//! Guarantees, against whoever writes what it shows (a candidate's last words, a server's errors):
//! - every text is escaped where it enters the markup, and nothing on the page is executed: there are
//!   no scripts, and the policy that goes with it forbids them, as it forbids everything from elsewhere;
//! - opening it changes nothing and makes the node ask nobody;
//! - on another host than the node's it shows stable words only, see [`Audience`].

mod history;
mod host;
mod now;
mod release;
mod words;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::audience::{Audience, ForAnybody};
use super::control::Explained;
use super::http::Site;
use super::state::Activity;
use super::status::Status;
use crate::ledger::Attempt;

const STYLE: &str = include_str!("style.css");
/// Attempts that are shown.
const HISTORY: u32 = 12;
/// Seconds until the page is asked for again: while something happens, and otherwise.
const SOON: u32 = 2;
const LATER: u32 = 20;

/// Everything that the page shows.
#[derive(Clone, Debug)]
struct View {
    status: Status,
    /// From the last offer; `None`: nobody has been asked yet, or the question has no answer.
    explained: Option<Explained>,
    attempts: Vec<Attempt>,
    /// Whether sentences are told, and more than words.
    in_full: bool,
    now: Timestamp,
}

/// Answers with the page.
pub(super) fn respond(site: &Site, audience: Audience) -> Response {
    let view = View::gather(site, audience, Timestamp::now());
    let mut nonce = [0; 16];
    if getrandom::fill(&mut nonce).is_err() {
        // Then the page comes without its style: a policy that can be foreseen is none.
        return (head(""), view.render("").into_string()).into_response();
    }
    let nonce = hex::encode(nonce);
    (head(&nonce), view.render(&nonce).into_string()).into_response()
}

/// Nothing but our own style sheet is loaded or run, nobody frames the page, and nobody keeps it.
fn head(nonce: &str) -> [(header::HeaderName, String); 6] {
    let style = if nonce.is_empty() { "'none'".to_owned() } else { format!("'nonce-{nonce}'") };
    let policy =
        format!("default-src 'none'; style-src {style}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin".to_owned()),
    ]
}

impl View {
    fn gather(Site { engine, state }: &Site, audience: Audience, now: Timestamp) -> Self {
        let explained = engine.why_of_last_offer(now).ok().flatten().map(|(why, host)| Explained { why, host });
        let view = Self {
            status: Status::gather(engine, state, now),
            explained,
            attempts: engine.ledger.attempts(HISTORY).unwrap_or_default(),
            in_full: true,
            now,
        };
        if audience == Audience::Host { view } else { view.for_anybody() }
    }

    fn busy(&self) -> bool {
        self.status.trial.is_some() || !matches!(self.status.activity, Activity::Idle)
    }

    fn render(&self, nonce: &str) -> Markup {
        let Status { product, node, running, target, .. } = &self.status;
        let pause = if self.busy() { SOON } else { LATER };
        let (mood, word) = now::pill(&self.status);
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta http-equiv="refresh" content=(pause);
                    title { (node) ": " (product) " " (running.version) ", " (word) }
                    style nonce=(nonce) { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        p.over { (mark()) (product) " " span { "on node " (node) } }
                        h1 { b { (running.version) } span.pill.(mood) { (word) } }
                        p.sub {
                            span { "for " (target) } " "
                            @if self.status.launcher != running.version {
                                span { "launcher " (self.status.launcher) } " "
                            }
                            @if let Some(previous) = &self.status.previous {
                                span { "before: " (previous.version) }
                            }
                        }
                    }
                    (now::notices(self))
                    main {
                        (now::section(self))
                        (release::section(self))
                        (host::job(self))
                        (host::source(self))
                        (host::host(self))
                        (history::section(self))
                    }
                    footer {
                        "As of " time datetime=(self.now) { (self.now.strftime("%Y-%m-%d %H:%M:%S UTC")) }
                        "; asks again every " (pause) " s. The same for programs: "
                        a href="status" { "status" } ", " a href="metrics" { "metrics" } "."
                        @if !self.in_full {
                            " Reasons in full, sources and other nodes are told on the node's own host only."
                        }
                    }
                }
            }
        }
    }
}

/// One shell within another.
fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 32 32" aria-hidden="true" {
            path d="M3 25a13 13 0 0 1 26 0" {}
            path d="M9 25a7 7 0 0 1 14 0" {}
            path d="M15 25a1 1 0 0 1 2 0" {}
        }
    }
}

impl ForAnybody for View {
    fn for_anybody(self) -> Self {
        let attempts = self.attempts.into_iter().map(ForAnybody::for_anybody).collect();
        let explained = self.explained.map(ForAnybody::for_anybody);
        Self { status: self.status.for_anybody(), explained, attempts, in_full: false, now: self.now }
    }
}

#[cfg(test)]
mod tests;
