use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::decision::{Gate, Refusal};
use super::delay::delay;
use super::question::{Pause, Question, Retry, Veto};
use super::waves::Turn;
use crate::types::{Channel, Version, WeeklyWindow};

/// A gate, seen from one version that a node might go to by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// Which.
    pub gate: Gate,
    /// Whether it lets the version pass.
    pub open: bool,
    /// What that follows from.
    pub inputs: Inputs,
    /// When time alone changes it next; `None`: never, or when somebody acts.
    pub changes: Option<Timestamp>,
}

/// What a gate looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum Inputs {
    /// [`Gate::Channel`].
    Channel {
        /// What runs.
        running: Version,
        /// Whether the version is newer.
        newer: bool,
        /// Whether it is a pre-release.
        prerelease: bool,
        /// What the node follows.
        channel: Channel,
    },
    /// [`Gate::Pin`].
    Pin {
        /// The only version that is allowed.
        to: Option<Version>,
    },
    /// [`Gate::Barrier`].
    Barrier {
        /// What has to run before it.
        needs: Option<Version>,
        /// Whether its publisher demands anything of the kind, met or not.
        demands: bool,
    },
    /// [`Gate::Veto`].
    Veto {
        /// The veto that holds.
        veto: Option<Veto>,
    },
    /// [`Gate::Pause`].
    Pause {
        /// The pause that holds.
        pause: Option<Pause>,
    },
    /// [`Gate::Wave`].
    Wave {
        /// The publisher's plan; `None`: there is none.
        plan: Option<WavePlan>,
    },
    /// [`Gate::Delay`].
    Delay {
        /// When this node first saw the version.
        first_seen: Timestamp,
        /// Over how long a release spreads.
        window: SignedDuration,
        /// This install's part of it, for this version.
        delay: SignedDuration,
        /// Whether the publisher's plan takes the place of this.
        #[serde(default)]
        planned: bool,
    },
    /// [`Gate::Window`].
    Window {
        /// The maintenance windows; none: at any time.
        windows: Vec<WeeklyWindow>,
        /// Whose clock on the wall they mean.
        time_zone: String,
    },
    /// [`Gate::Archive`].
    Archive {
        /// Downloads of it that did not verify.
        retry: Option<Retry>,
    },
}

/// What a publisher's plan means for this install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WavePlan {
    /// When the rollout begins.
    pub start: Timestamp,
    /// Whether it is halted.
    pub halted: bool,
    /// How many of a thousand installs may go now.
    pub permille: u16,
    /// When this install may; `None`: no wave so far holds it, or the rollout is halted.
    pub turn: Option<Timestamp>,
}

/// Why a node goes to a version, or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// What runs.
    pub running: Version,
    /// The version in question; `None`: the source offers nothing newer for this node.
    pub version: Option<Version>,
    /// Every gate, in the order in which they are asked; none without a version.
    pub gates: Vec<GateReport>,
    /// The other versions on which this node has a veto.
    pub vetoes: Vec<Veto>,
}

impl Why {
    /// Explains `version`, or what the node would go to by itself. An error when the source does not
    /// offer it.
    pub fn of(question: &Question<'_>, version: Option<&Version>) -> Result<Self, Refusal> {
        let version = match version {
            Some(version) if question.offers(version) => Some(version.clone()),
            Some(version) => return Err(question.not_offered(version)),
            None => match question.candidate() {
                Ok(candidate) => candidate.map(|(version, _)| version.clone()),
                Err(Refusal::Pinned { version, .. }) => Some(version),
                Err(refusal) => return Err(refusal),
            },
        };
        let holds = |veto: &&Veto| veto.until.is_none_or(|until| question.now < until);
        let vetoes = question.vetoes.iter().filter(holds).filter(|veto| Some(&veto.version) != version.as_ref());
        Ok(Self {
            running: question.running.clone(),
            gates: version.as_ref().map_or_else(Vec::new, |version| gates(question, version)),
            vetoes: vetoes.cloned().collect(),
            version,
        })
    }

    /// The first gate that is shut: what the node waits for, or what somebody has to change.
    #[must_use]
    pub fn shut(&self) -> Option<&GateReport> {
        self.gates.iter().find(|report| !report.open)
    }
}

/// Every gate before `version` for a node that nobody forces, in the order in which they are asked.
/// The first one that is shut is what [`super::decide`] answers with.
#[must_use]
pub fn gates(question: &Question<'_>, version: &Version) -> Vec<GateReport> {
    let shut_until = |until: Option<Option<Timestamp>>| (until.is_none(), until.flatten());
    let report = |inputs: Inputs, (open, changes)| GateReport { gate: inputs.gate(), open, inputs, changes };

    let newer = version > question.running;
    let listed = question.available.iter().filter(|release| release.version == *version);
    let prerelease = version.is_prerelease() || listed.clone().all(super::Available::is_prerelease);
    let pinned_to_it = question.pin == Some(version);
    let in_channel = newer && (pinned_to_it || question.channel.admits(prerelease));
    let channel = Inputs::Channel { running: question.running.clone(), newer, prerelease, channel: question.channel };

    let veto = question.veto(version).cloned();
    let vetoed = veto.as_ref().map(|veto| veto.until);
    let pause = question.pause().cloned();
    let paused = pause.as_ref().map(|pause| pause.until);

    let needs = question.needs(version).cloned();
    let is_barred = needs.is_some();
    let demands = question.terms(version).is_some_and(|terms| terms.minimum.is_some() || !terms.barriers.is_empty());
    let turn = question.turn(version);
    let plan = plan(question, version, turn);
    let wave = match turn {
        None => (true, None),
        Some(Turn::From(at)) => (at <= question.now, Some(at).filter(|at| question.now < *at)),
        Some(Turn::Halted | Turn::NotYetIncluded) => (false, None),
    };

    let first_seen = question.first_seen.get(version).copied().unwrap_or(question.now);
    let signed = |span| SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    let due = question.due(version);
    let maintenance = question.maintenance;
    let retry = question.retry(version).cloned();
    let again = retry.as_ref().map(|retry| retry.until).filter(|until| question.now < *until);
    let opening = maintenance.next_opening(question.now);

    vec![
        report(channel, (in_channel, None)),
        report(Inputs::Pin { to: question.pin.cloned() }, (question.pin.is_none() || pinned_to_it, None)),
        report(Inputs::Barrier { needs, demands }, (!is_barred, None)),
        report(Inputs::Veto { veto }, shut_until(vetoed)),
        report(Inputs::Pause { pause }, shut_until(paused)),
        report(Inputs::Wave { plan }, wave),
        report(
            Inputs::Delay {
                first_seen,
                window: signed(question.window),
                delay: signed(delay(question.position, version, question.window)),
                planned: turn.is_some(),
            },
            (due.is_none(), due),
        ),
        report(
            Inputs::Window {
                windows: maintenance.windows.to_vec(),
                time_zone: maintenance.zone.iana_name().unwrap_or("UTC").to_owned(),
            },
            (opening.is_none(), opening.or_else(|| maintenance.next_change(question.now))),
        ),
        report(Inputs::Archive { retry }, (again.is_none(), again)),
    ]
}

fn plan(question: &Question<'_>, version: &Version, turn: Option<Turn>) -> Option<WavePlan> {
    let policy = question.terms(version)?.rollout.as_ref()?;
    let age = question.now.duration_since(policy.start()).as_secs();
    let reached = policy.waves().iter().take_while(|wave| i64::from(wave.after) <= age).last();
    let everybody = if policy.waves().is_empty() { 1000 } else { 0 };
    Some(WavePlan {
        start: policy.start(),
        halted: policy.is_halted(),
        permille: if age < 0 { 0 } else { reached.map_or(everybody, |wave| wave.permille) },
        turn: match turn {
            Some(Turn::From(at)) => Some(at),
            _ => None,
        },
    })
}

impl Inputs {
    fn gate(&self) -> Gate {
        match self {
            Self::Channel { .. } => Gate::Channel,
            Self::Pin { .. } => Gate::Pin,
            Self::Barrier { .. } => Gate::Barrier,
            Self::Veto { .. } => Gate::Veto,
            Self::Pause { .. } => Gate::Pause,
            Self::Wave { .. } => Gate::Wave,
            Self::Delay { .. } => Gate::Delay,
            Self::Window { .. } => Gate::Window,
            Self::Archive { .. } => Gate::Archive,
        }
    }
}

/// In words, as `why` shows them.
impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel { running, newer, prerelease, channel } => {
                let age = if *newer { "newer than" } else { "not newer than" };
                let kind = if *prerelease { "a pre-release" } else { "a stable release" };
                write!(f, "{kind}, {age} {running}, which runs; this node follows {channel}")
            }
            Self::Pin { to: None } => f.write_str("not pinned"),
            Self::Pin { to: Some(to) } => write!(f, "pinned to {to}; `unpin` lifts that"),
            Self::Barrier { needs: Some(needs), .. } => write!(f, "{needs} has to run before it; no flag skips that"),
            Self::Barrier { demands: true, .. } => f.write_str("everything that has to run before it has"),
            Self::Barrier { .. } => f.write_str("nothing has to run before it"),
            Self::Veto { veto: None } => f.write_str("not vetoed by this node"),
            Self::Veto { veto: Some(veto) } => {
                write!(f, "vetoed ({}); `unveto {}` lifts that", veto.reason, veto.version)
            }
            Self::Pause { pause: None } => f.write_str("not paused"),
            Self::Pause { pause: Some(_) } => f.write_str("paused; `resume` ends that"),
            Self::Wave { plan: None } => f.write_str("its publisher gave no plan for its rollout"),
            Self::Wave { plan: Some(plan) } => {
                write!(f, "its rollout starts {:.0}", plan.start)?;
                match plan {
                    WavePlan { halted: true, .. } => f.write_str(", and is halted; `upgrade --version` overrides that"),
                    WavePlan { turn: None, permille, .. } => {
                        write!(f, ", and lets {permille} of 1,000 installs go; this is none of them yet")
                    }
                    WavePlan { turn: Some(turn), permille, .. } => {
                        write!(f, ", and lets {permille} of 1,000 installs go now; this one from {turn:.0}")
                    }
                }
            }
            Self::Delay { planned: true, .. } => f.write_str("its publisher's plan takes the place of this"),
            Self::Delay { window, .. } if window.is_zero() => f.write_str("releases are not spread over time"),
            Self::Delay { first_seen, window, delay, .. } => {
                // To the second: the rest of a fraction tells nobody anything.
                let (delay, window) =
                    (SignedDuration::from_secs(delay.as_secs()), SignedDuration::from_secs(window.as_secs()));
                write!(f, "first seen {first_seen:.0}; this install goes {delay:#} later, of {window:#}")
            }
            Self::Window { windows, .. } if windows.is_empty() => f.write_str("at any time of the week"),
            Self::Window { windows, time_zone } => {
                let windows: Vec<_> = windows.iter().map(ToString::to_string).collect();
                write!(f, "{} ({time_zone})", windows.join("; "))
            }
            Self::Archive { retry: None } => f.write_str("no download of it failed to verify"),
            Self::Archive { retry: Some(retry) } => {
                let times = if retry.times == 1 { "once".to_owned() } else { format!("{} times", retry.times) };
                write!(f, "what was downloaded did not verify, {times}; `upgrade` downloads it again at once")
            }
        }
    }
}
