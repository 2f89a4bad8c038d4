//! How launcher and worker write what they say: `NAME=value` lines as in `sd_notify(3)`, one datagram
//! each. Structured values are JSON. Unknown names are ignored, so that versions of different age understand
//! each other.

use serde::Serialize;

use super::protocol::{ToLauncher, ToWorker};

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("these types have only string keys")
}

impl ToLauncher {
    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => "READY=1".to_owned(),
            Self::Watchdog => "WATCHDOG=1".to_owned(),
            // One line: a status may quote an error message.
            Self::Status(text) => format!("STATUS={}", text.replace('\n', " ")),
            Self::Overlap(overlap) => format!("X_OVERLAP={}", json(overlap)),
            Self::Stopping => "STOPPING=1".to_owned(),
            Self::Try(request) => format!("X_TRY={}", json(request)),
            Self::GiveUp(trial) => format!("X_GIVE_UP={}", json(trial)),
            Self::Vitals(reported) => format!("X_VITALS={}", json(reported)),
            Self::State { found, epochs } => format!("X_STATE={}", json(&(found, epochs))),
            Self::Renew => "X_RENEW=1".to_owned(),
        }
        .into_bytes()
    }

    /// Every message of a datagram that is understood.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Vec<Self> {
        lines(bytes)
            .filter_map(|(name, value)| match name {
                "READY" if value == "1" => Some(Self::Ready),
                "WATCHDOG" if value == "1" => Some(Self::Watchdog),
                "STATUS" => Some(Self::Status(value.chars().filter(|c| !c.is_control()).take(200).collect())),
                "X_OVERLAP" => serde_json::from_str(value).ok().map(Self::Overlap),
                "STOPPING" if value == "1" => Some(Self::Stopping),
                "X_TRY" => serde_json::from_str(value).ok().map(Self::Try),
                "X_GIVE_UP" => serde_json::from_str(value).ok().map(Self::GiveUp),
                "X_VITALS" => serde_json::from_str(value).ok().map(Self::Vitals),
                "X_STATE" => serde_json::from_str(value).ok().map(|(found, epochs)| Self::State { found, epochs }),
                "X_RENEW" => Some(Self::Renew),
                _ => None,
            })
            .collect()
    }
}

impl ToWorker {
    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(hello) => format!("X_HELLO={}", json(hello)),
            Self::Activate => "X_ACTIVATE=1".to_owned(),
            Self::Drain { replaced: false } => "X_DRAIN=1".to_owned(),
            Self::Drain { replaced: true } => "X_DRAIN=replaced".to_owned(),
            Self::TryReply(reply) => format!("X_TRY_REPLY={}", json(reply)),
            Self::Verdict(verdict) => format!("X_VERDICT={}", json(verdict)),
            Self::Launcher(version) => format!("X_LAUNCHER={version}"),
            Self::Reloads(reloads) => format!("X_RELOADS={}", json(reloads)),
        }
        .into_bytes()
    }

    /// Every message of a datagram that is understood.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Vec<Self> {
        lines(bytes)
            .filter_map(|(name, value)| match name {
                "X_HELLO" => serde_json::from_str(value).ok().map(Self::Hello),
                "X_ACTIVATE" => Some(Self::Activate),
                "X_DRAIN" => Some(Self::Drain { replaced: value == "replaced" }),
                "X_TRY_REPLY" => serde_json::from_str(value).ok().map(Self::TryReply),
                "X_VERDICT" => serde_json::from_str(value).ok().map(Self::Verdict),
                "X_LAUNCHER" => value.parse().ok().map(Self::Launcher),
                "X_RELOADS" => serde_json::from_str(value).ok().map(Self::Reloads),
                _ => None,
            })
            .collect()
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    str::from_utf8(bytes).unwrap_or_default().lines().filter_map(|line| line.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::super::dialect::Dialect;
    use super::super::protocol::{Listener, Reported, TryRequest};
    use super::*;
    use crate::install::{Installed, Purpose, StateChange};
    use crate::types::{Health, Overlap, StateEpochs};
    use proptest::prelude::*;

    #[test]
    fn messages_survive_the_wire_and_unknown_ones_are_passed_over() {
        let request = TryRequest {
            id: "t1".to_owned(),
            candidate: Installed { version: "1.0.0".parse().unwrap(), digest: "ab".repeat(32).parse().unwrap() },
            purpose: Purpose::Upgrade,
            asked_for: false,
            overlap: Overlap::UntilReady,
            state: Some(StateChange::migrates(1, 2)),
        };
        for message in [
            ToLauncher::Ready,
            ToLauncher::Watchdog,
            ToLauncher::Status("downloads 1.0.0".to_owned()),
            ToLauncher::Stopping,
            ToLauncher::Renew,
            ToLauncher::Overlap(Overlap::UntilReady),
            ToLauncher::Try(request.into()),
            ToLauncher::Vitals(Reported { health: Some(Health::Unhealthy), requests: 7, ..Reported::default() }),
            ToLauncher::State { found: 1, epochs: StateEpochs { reads_from: 1, writes: 2 } },
        ] {
            assert_eq!(ToLauncher::decode(&message.encode()), vec![message]);
        }
        let less = ToLauncher::decode(b"X_VITALS={\"errors\":2}");
        assert_eq!(less, [ToLauncher::Vitals(Reported { errors: 2, ..Reported::default() })]);
        assert_eq!(ToLauncher::decode(b"MAINPID=1\nREADY=1\nFUTURE=x"), vec![ToLauncher::Ready]);
    }

    #[test]
    fn a_listener_or_a_candidate_of_another_age_is_understood() {
        let names = ["http", "control", "job-0", "job-7", "quic", "job-x"].map(str::to_owned);
        let listeners = names.clone().map(Listener::from);
        assert_eq!(listeners[..4].iter().map(|listener| String::from(*listener)).collect::<Vec<_>>(), names[..4]);
        assert_eq!(listeners[4..], [Listener::Unknown; 2]);

        let (version, digest) = ("1.0.0", "ab".repeat(32));
        let old = format!(
            r#"X_TRY={{"id":"t","candidate":{{"version":"{version}","digest":"{digest}"}},"purpose":"upgrade"}}"#
        );
        let heard = ToLauncher::decode(old.as_bytes());
        let [ToLauncher::Try(request)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(request.overlap, Overlap::StopFirst);
        for replaced in [true, false] {
            let drain = ToWorker::Drain { replaced };
            assert_eq!(ToWorker::decode(&drain.encode()), [drain]);
        }
    }

    /// What version 1 says, as it was said: every later program that understands version 1 must read it.
    #[test]
    fn messages_of_version_1_are_understood_for_as_long_as_that_version_is() {
        let digest = "ab".repeat(32);
        let installed = format!(r#"{{"version":"1.0.0","digest":"{digest}"}}"#);
        let to_launcher = [
            "READY=1".to_owned(),
            "WATCHDOG=1".to_owned(),
            "STATUS=serves".to_owned(),
            "STOPPING=1".to_owned(),
            format!(r#"X_TRY={{"id":"1-a","candidate":{installed},"purpose":"upgrade"}}"#),
            r#"X_GIVE_UP={"id":"1-a","reason":"gone"}"#.to_owned(),
        ];
        for line in to_launcher {
            // Also with what a newer program may add.
            let more = line.replace("}}", r#"},"added":{"later":[1]}}"#) + "\nX_LATER=1";
            assert_eq!(ToLauncher::decode(line.as_bytes()).len(), 1, "{line}");
            assert_eq!(ToLauncher::decode(more.as_bytes()), ToLauncher::decode(line.as_bytes()), "{more}");
        }
        let verdict = format!(
            r#"{{"trial":"1-a","candidate":{installed},"from":{installed},"purpose":"rollback","kind":"bad",
                "reason":"exited","detail":"","since":"2026-01-01T00:00:00Z","at":"2026-01-01T00:00:00Z","output":""}}"#
        )
        .replace('\n', "");
        let to_worker = [
            format!(
                r#"X_HELLO={{"protocol":1,"node":"a","launcher":"1.0.0","running":{installed},"committed":"/opt/exuvia","on_trial":true,"listeners":["http","control"]}}"#
            ),
            "X_ACTIVATE=1".to_owned(),
            "X_DRAIN=1".to_owned(),
            r#"X_TRY_REPLY={"accepted":{"id":"1-a"}}"#.to_owned(),
            r#"X_TRY_REPLY={"wait":{"id":"1-a","by":"b","seconds":3}}"#.to_owned(),
            r#"X_TRY_REPLY={"busy":{"id":"1-a"}}"#.to_owned(),
            r#"X_TRY_REPLY={"refused":{"id":"1-a","reason":"no"}}"#.to_owned(),
            format!("X_VERDICT={verdict}"),
            "X_LAUNCHER=1.1.0".to_owned(),
        ];
        assert_eq!(Dialect::OURS.oldest, 1, "what is tested here is not understood any more");
        for line in to_worker {
            assert_eq!(ToWorker::decode(line.as_bytes()).len(), 1, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_datagram_makes_a_launcher_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ToLauncher::decode(&bytes);
            let _ = ToWorker::decode(&bytes);
        }
    }
}
