use std::process::ExitCode;

use clap::Args;
use exuvia::publish::repo::{self, RoleStatus, Settled};
use exuvia::publish::{fail, say, say_json};
use exuvia::tuf::ReleaseDescription;

use super::common::{At, say_settled};

/// Say who must sign what, and what expires when.
#[derive(Args)]
#[command(after_long_help = "EXAMPLE\n  exuvia-release repo status --to repo")]
pub(super) struct Status {
    #[command(flatten)]
    at: At,
}

impl Status {
    pub(super) fn run(self, json: bool) -> ExitCode {
        let status = match self.at.look().and_then(|desk| desk.status()) {
            Ok(status) => status,
            Err(error) => return fail(&error, json),
        };
        if json {
            say_json(&status.to_json());
        } else {
            self.tell(&status);
        }
        ExitCode::SUCCESS
    }

    fn tell(&self, status: &repo::Status) {
        say(&format!("product    {}", status.product));
        for role in &status.roles {
            say(&line(role));
        }
        for release in &status.releases {
            say(&release_line(release));
        }
        if let Some(reason) = &status.broken {
            say(&format!("BROKEN     a publication was cut short, and readers are refused: {reason}"));
            say("Any verb that changes the repository finishes it first, `repo refresh` for instance.");
        }
        if !status.waiting.is_empty() {
            say_settled(&Settled { published: Vec::new(), waiting: status.waiting.clone() }, &self.at);
        }
    }
}

fn line(role: &RoleStatus) -> String {
    let state = match &role.published {
        None => "not published yet".to_owned(),
        Some((version, expires)) if role.is_expired => format!("version {version}, EXPIRED at {expires}"),
        Some((version, expires)) => format!("version {version}, expires at {expires}"),
    };
    let due = match role.role.as_str() {
        _ if !role.is_due || role.is_expired => "",
        "root" | "targets" => ", renew it (`repo renew`)",
        _ => ", due for `repo refresh`",
    };
    let keys = role.keys.join(", ");
    format!("{:10} {state}{due}; signed by {} of {keys}", role.role.as_str(), role.threshold)
}

fn release_line(release: &ReleaseDescription) -> String {
    let rollout = match &release.rollout {
        None => "rollout as each node is set up".to_owned(),
        Some(rollout) if rollout.is_halted() => "HALTED".to_owned(),
        Some(rollout) if rollout.waves().is_empty() => format!("from {} on", rollout.start()),
        Some(rollout) => {
            let share = |permille: u16| match permille % 10 {
                0 => format!("{}%", permille / 10),
                tenth => format!("{}.{tenth}%", permille / 10),
            };
            let waves = rollout.waves().iter().map(|wave| format!("{} after {} s", share(wave.permille), wave.after));
            format!("from {} on: {}", rollout.start(), waves.collect::<Vec<_>>().join(", "))
        }
    };
    format!("release    {} for {}, {}, {rollout}", release.id.version, release.id.target, release.channel)
}
