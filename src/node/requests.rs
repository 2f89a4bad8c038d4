use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::control::{Event, Failure, Order, Request, Told};
use super::state::Activity;
use super::worker::Worker;
use crate::fetch::Freshness;
use crate::rollout;
use crate::upgrade::{Carried, Observer, Work};

impl Worker {
    /// An operator asks for something.
    pub(super) fn take(&mut self, Order { request, answer }: Order) {
        if self.running.is_some() && self.asked.is_none() && self.queued.is_none() {
            // The node looks for itself: that is over soon, or leads to a trial.
            self.queued = Some(Order { request, answer });
            return;
        }
        let busy = self.running.is_some() || self.state.activity() == Activity::OnTrial;
        match request {
            _ if busy => {
                let failure = Failure::busy("this node works on an upgrade already; `status` shows which");
                answer.send(Event::Failed(failure)).ok();
            }
            Request::Upgrade { version, allow_downgrade, lift_veto, dry_run, from, valid_at } => {
                let from = from.map(|bundle| Carried { bundle, valid_at });
                if let (true, Some(version)) = (lift_veto, &version)
                    && let Err(error) = self.engine.ledger.lift_veto(version, Timestamp::now())
                {
                    answer.send(Event::Failed(Failure::of(&error.into()))).ok();
                    return;
                }
                let request = rollout::Request { version, allow_downgrade, resumes: false };
                if dry_run {
                    self.dry_run(request, from, answer);
                } else {
                    self.asked = Some(answer);
                    self.start(match from {
                        Some(from) => Work::UpgradeFrom { request, from },
                        None => Work::Upgrade(request),
                    });
                }
            }
            Request::GoBack { version } => {
                self.asked = Some(answer);
                self.start(Work::GoBack(version));
            }
            // Answered where they arrive.
            Request::Status | Request::Why { .. } => {}
        }
    }

    fn dry_run(&self, request: rollout::Request, from: Option<Carried>, answer: oneshot::Sender<Event>) {
        let engine = self.engine.clone();
        tokio::spawn(async move {
            let observer: Observer = Arc::new(|_| ());
            let (from, freshness) = (from.as_ref(), Freshness::Unconditional);
            let event = match engine.find(Some(&request), from, freshness, Timestamp::now(), &observer).await {
                Ok((found, _)) => Event::Told(Told::found(&found, &engine.running.version)),
                Err(error) => Event::Failed(Failure::of(&error)),
            };
            answer.send(event).ok();
        });
    }

    /// Answers whoever asked for the work under way.
    pub(super) fn answer(&mut self, event: Event) {
        if let Some(asked) = self.asked.take() {
            asked.send(event).ok();
        }
    }
}
