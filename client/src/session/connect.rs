//! Connecting: login, and the comparison of both sides' accounts before anything else is signed.

use crate::anchor::Anchor;
use crate::session::pay::Checked;
use crate::session::reconcile::{Outcome, reconcile};
use crate::session::rules::TermsError;
use crate::session::run::{Exit, Runner};
use crate::session::socket::{Socket, Welcome};
use crate::session::{Event, SessionError};
use protocol::wire::Info;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// First pause between two attempts to connect; it doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause between two attempts to connect.
const LAST_PAUSE: Duration = Duration::from_secs(10);

impl<A: Anchor> Runner<A> {
    /// The first connection: given up after `patience`, so that a wrong URL is told to the person who typed it.
    pub(super) async fn connect_within(&mut self, patience: Duration) -> Result<Socket, SessionError> {
        let end = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let reason = match self.connect().await {
                Ok(socket) => return Ok(socket),
                Err(Exit::Failed(error)) => return Err(*error),
                Err(Exit::Reconnect(reason)) => reason,
                Err(Exit::Stop) => return Err(SessionError::Ended(String::new())),
            };
            if Instant::now() + pause > end {
                return Err(SessionError::Unreachable { endpoint: self.config.endpoint.to_string(), reason });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Keeps trying, and keeps listening to the rest of the program meanwhile.
    pub(super) async fn reconnect(&mut self, stop: &CancellationToken) -> Result<Socket, Exit> {
        let mut pause = FIRST_PAUSE;
        loop {
            let until = Instant::now() + pause;
            while Instant::now() < until {
                tokio::select! {
                    () = stop.cancelled() => return Err(Exit::Stop),
                    command = self.inbox.recv() => match command {
                        Some(command) => self.obey(command, None).await?,
                        None => return Err(Exit::Stop),
                    },
                    () = sleep_until(until) => {}
                }
            }
            let attempt = tokio::select! {
                () = stop.cancelled() => Err(Exit::Stop),
                attempt = self.connect() => attempt,
            };
            match attempt {
                Err(Exit::Reconnect(reason)) => tracing::debug!(reason, "the keeper cannot be reached"),
                other => return other,
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Logs in and compares accounts; nothing is signed before both agree.
    async fn connect(&mut self) -> Result<Socket, Exit> {
        let config = self.config.clone();
        let (socket, welcome) = Socket::open(&self.keeper, config.keeper, config.payer, &config.key).await?;
        let Welcome { info, channel } = welcome;
        self.take_info(info)?;
        let outcome = reconcile(&self.state, &channel, &self.domain)?;
        self.settle(outcome).await?;
        self.waiting.clear();
        self.sent = None;
        self.checked = Checked::default();
        // A voucher in flight that had not arrived is sent again as soon as the loop runs.
        self.retry_at = Some(Instant::now());
        if let Some(info) = self.info.clone() {
            self.tell(Event::Connected(Box::new(info)));
        }
        self.look_at_jobs().await?;
        Ok(socket)
    }

    async fn settle(&mut self, outcome: Outcome) -> Result<(), Exit> {
        let mut state = self.state.clone();
        match outcome {
            Outcome::Agreed => return Ok(()),
            Outcome::Accepted { voucher, acceptance } => {
                state.accept(voucher, acceptance);
                self.refusals = 0;
            }
            Outcome::Adopted(account) => state.account = account,
            Outcome::Restored { account, taken } => {
                tracing::warn!(total = %account.total, "the state file was older than the newest voucher");
                state.signed = state.signed.max(account.total);
                state.account = account;
                state.taken = Some(taken);
                state.in_flight.clear();
                // What was paid for these jobs in between is not known here, so they could be paid for twice.
                for record in state.jobs.values_mut().filter(|record| !record.ended) {
                    record.stopped = Some("the session's state file was lost or restored while this job ran".into());
                }
            }
        }
        self.save(state).await
    }

    /// Takes the keeper's terms if they are those of the keeper, chain and contracts that the channel was opened with.
    pub(super) fn take_info(&mut self, info: Info) -> Result<(), Exit> {
        let book = &self.config.book;
        for (same, name) in [
            (info.keeper == self.config.keeper, "keeper"),
            (info.chain_id == book.chain_id, "chain"),
            (info.settlement == book.settlement(), "Settlement contract"),
            (info.token == book.token(), "token"),
        ] {
            if !same {
                return Err(TermsError::Foreign(name).into());
            }
        }
        self.info = Some(info);
        Ok(())
    }
}
