use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};

use super::status::Status;
use crate::ledger::Attempt;
use crate::upgrade::HostGate;

/// Who reads what a node tells over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Somebody on the node's own host.
    Host,
    /// Anybody: sentences may name paths, addresses and other nodes, so only stable words are told.
    Anybody,
}

impl Audience {
    /// Whoever asks a listener that is bound to loopback is on the host, unless a proxy, or a web page
    /// whose name was made to lead here, asks for somebody else: then the name that was asked for is
    /// not this host's own.
    pub(super) fn of(listener: Option<SocketAddr>, head: &HeaderMap) -> Self {
        let local = listener.is_some_and(|address| address.ip().is_loopback());
        let forwarded = head.contains_key("forwarded") || head.contains_key("x-forwarded-for");
        let asked = head.get(header::HOST).and_then(|host| host.to_str().ok());
        if local && !forwarded && asked.is_some_and(is_this_host) { Self::Host } else { Self::Anybody }
    }
}

/// Whether a `Host` field names loopback in a way that no name server has a say in.
fn is_this_host(field: &str) -> bool {
    if let Ok(address) = field.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let bare = field.trim_start_matches('[').trim_end_matches(']');
    let name = field.rsplit_once(':').map_or(field, |(name, _)| name);
    bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) || name.eq_ignore_ascii_case("localhost")
}

/// Leaves out what only the host may read.
pub(super) trait ForAnybody {
    fn for_anybody(self) -> Self;
}

impl ForAnybody for Status {
    fn for_anybody(mut self) -> Self {
        self.node_id.clear();
        self.source = self.source.map(|_| "configured".to_owned());
        self.source_problem = self.source_problem.map(|_| "what is configured cannot be used".to_owned());
        self.ledger_problem = self.ledger_problem.map(|_| "the history cannot be opened".to_owned());
        self.siblings.clear();
        self.job.clear();
        if let Some(trial) = &mut self.trial {
            trial.state = None;
        }
        if let Some(check) = &mut self.last_check {
            check.detail.clear();
        }
        for veto in &mut self.vetoes {
            veto.reason = word(&veto.reason);
        }
        // Where in a rollout this install goes is nobody else's business.
        if let Some(policy) = &mut self.policy {
            policy.position.clear();
        }
        self
    }
}

impl ForAnybody for Attempt {
    fn for_anybody(mut self) -> Self {
        self.reason = self.reason.as_deref().map(word);
        self.output = None;
        self
    }
}

impl ForAnybody for HostGate {
    fn for_anybody(mut self) -> Self {
        "another node of this host".clone_into(&mut self.because);
        self
    }
}

/// The stable word at the start of a reason, without the sentence behind it.
pub(super) fn word(reason: &str) -> String {
    let word = reason.split_once(':').map_or("", |(word, _)| word);
    let stable = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if stable { word.to_owned() } else { "failed".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listener: &str, fields: &[(&'static str, &str)]) -> Audience {
        let head = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Audience::of(Some(listener.parse().unwrap()), &head)
    }

    #[test]
    fn h1_sentences_are_told_on_the_host_alone() {
        for host in ["127.0.0.1:7650", "localhost:7650", "localhost", "[::1]:7650", "[::1]", "127.0.0.1"] {
            assert_eq!(of("127.0.0.1:7650", &[("host", host)]), Audience::Host, "{host}");
            assert_eq!(of("0.0.0.0:7650", &[("host", host)]), Audience::Anybody, "{host}");
            let forwarded = [("host", host), ("x-forwarded-for", "203.0.113.7")];
            assert_eq!(of("127.0.0.1:7650", &forwarded), Audience::Anybody, "{host}");
        }
        // A name that somebody else's name server leads to loopback, from a page in the operator's browser.
        for host in ["evil.example:7650", "localhost.evil.example", "203.0.113.7:7650", "", "127.0.0.1.evil.example"] {
            assert_eq!(of("127.0.0.1:7650", &[("host", host)]), Audience::Anybody, "{host}");
        }
        assert_eq!(of("127.0.0.1:7650", &[]), Audience::Anybody);
        assert_eq!(Audience::of(None, &HeaderMap::new()), Audience::Anybody);
    }

    #[test]
    fn only_a_stable_word_is_left_of_a_reason() {
        for (reason, left) in [
            ("exited: it ended with exit code 1, see /var/log", "exited"),
            ("not-ready: late", "not-ready"),
            ("cannot open /etc/secret: denied", "failed"),
            ("", "failed"),
            ("<b>: x", "failed"),
        ] {
            assert_eq!(word(reason), left);
        }
    }
}
