use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::opening::WorkerError;
use crate::config::{ConfigFile, take_files};
use crate::install::Verdict;
use crate::launcher::{Hello, Listener, Reloads, ToLauncher, ToWorker, TryReply, TryRequest};
use crate::sys::Channel;
use crate::types::Version;
use crate::upgrade::Ask;

/// The worker's connection to its launcher.
#[derive(Clone, Debug)]
pub(super) struct Link {
    channel: Arc<Channel>,
    waiting: Arc<Mutex<HashMap<String, oneshot::Sender<TryReply>>>>,
}

/// What the launcher wants of its worker.
#[derive(Debug)]
pub(super) enum Order {
    Activate,
    Drain {
        /// Another worker serves already.
        replaced: bool,
    },
    Verdict(Box<Verdict>),
    /// The launcher is this version by now.
    Launcher(Version),
    Reloads(Reloads),
    /// The launcher is gone.
    Alone,
}

/// What a worker starts with.
#[derive(Debug)]
pub struct Start {
    pub(super) link: Link,
    pub(super) hello: Hello,
    pub(super) listeners: Vec<(Listener, OwnedFd)>,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) files: Option<Vec<ConfigFile>>,
}

impl Start {
    /// Takes what the launcher handed to this process. Call it once, and first.
    pub fn take() -> Result<Self, WorkerError> {
        Link::open().map_err(WorkerError::Launcher)
    }

    /// The configuration files that the launcher runs with.
    #[must_use]
    pub fn files(&self) -> Option<&[ConfigFile]> {
        self.files.as_deref()
    }
}

impl Link {
    /// Takes the channel from standard input, and the launcher's first message from the channel.
    fn open() -> io::Result<Start> {
        let channel = Channel::from_stdin()?;
        let no_hello = || io::Error::new(io::ErrorKind::InvalidData, "the launcher's first message is missing");
        let message = channel.recv()?.ok_or_else(no_hello)?;
        let hello = ToWorker::decode(&message.bytes).into_iter().find_map(|message| match message {
            ToWorker::Hello(hello) => Some(hello),
            _ => None,
        });
        let hello = hello.ok_or_else(no_hello)?;
        let mut fds = message.fds.into_iter();
        let listeners = hello.listeners.iter().copied().zip(fds.by_ref()).collect();
        let files = if hello.files { fds.next().map(take_files).transpose()? } else { None };
        let link = Self { channel: Arc::new(channel), waiting: Arc::default() };
        let (orders_in, orders) = mpsc::unbounded_channel();
        let reader = link.clone();
        std::thread::Builder::new().name("launcher".to_owned()).spawn(move || reader.read(&orders_in))?;
        Ok(Start { link, hello, listeners, orders, files })
    }

    fn read(&self, orders: &mpsc::UnboundedSender<Order>) {
        while let Ok(Some(message)) = self.channel.recv() {
            for message in ToWorker::decode(&message.bytes) {
                let order = match message {
                    ToWorker::Activate => Order::Activate,
                    ToWorker::Drain { replaced } => Order::Drain { replaced },
                    ToWorker::Verdict(verdict) => Order::Verdict(verdict),
                    ToWorker::Launcher(version) => Order::Launcher(version),
                    ToWorker::Reloads(reloads) => Order::Reloads(reloads),
                    ToWorker::TryReply(reply) => {
                        if let Some(asked) = self.waiting().remove(reply.id()) {
                            asked.send(reply).ok();
                        }
                        continue;
                    }
                    ToWorker::Hello(_) => continue,
                };
                orders.send(order).ok();
            }
        }
        orders.send(Order::Alone).ok();
    }

    /// Tells the launcher something. Where that fails, the launcher is gone or about to kill us.
    pub(super) fn tell(&self, message: &ToLauncher) {
        if let Err(error) = self.channel.send(&message.encode(), &[]) {
            tracing::debug!(event = "launcher_unreachable", %error);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<TryReply>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ask for Link {
    async fn ask(&self, request: TryRequest) -> TryReply {
        let id = request.id.clone();
        let (answer, answered) = oneshot::channel();
        self.waiting().insert(id.clone(), answer);
        self.tell(&ToLauncher::Try(Box::new(request)));
        match answered.await {
            Ok(reply) => reply,
            Err(_) => TryReply::Refused { id, reason: "the launcher is gone".to_owned() },
        }
    }
}
