//! Clients at the desk.

use super::books::Tab;
use super::orders::check_channel;
use super::{Desk, Result, Seat, views};
use crate::dispatch::{OUTBOX, Session};
use alloy::primitives::Address;
use keeper_store::Store;
use protocol::voucher::ChannelId;
use protocol::wire::{ChannelView, Refusal, ToClient};
use tokio::sync::mpsc;

/// Sockets of one channel; one more takes the place of the oldest.
const SOCKETS: usize = 8;

impl Desk {
    /// A session key has logged in for its channel.
    pub async fn join_client(
        &self,
        payer: Address,
        signer: Address,
    ) -> std::result::Result<(Seat<ChannelId>, mpsc::Receiver<ToClient>), Refusal> {
        let joined = self.try_join_client(payer, signer).await;
        self.guard("login", joined)
    }

    async fn try_join_client(
        &self,
        payer: Address,
        signer: Address,
    ) -> Result<(Seat<ChannelId>, mpsc::Receiver<ToClient>)> {
        let id = ChannelId::of(payer, signer, self.terms.keeper());
        let facts = self.onchain.channel(id).await?;
        match check_channel(&facts, payer, signer, self.terms.keeper()) {
            // A closing channel takes no debits, but its client may watch its jobs.
            Err(refusal) if !facts.exists => return Err(refusal.into()),
            _ => {}
        }
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let mut books = self.lock().await;
        self.open_tab(&mut books, id, payer, signer, &facts).await?;
        let newest = self.store.newest_accepted(id).await?;
        books.sessions += 1;
        let (session, info, reserved) = (books.sessions, books.info(self), books.reserved(id));
        let mut frames = Vec::new();
        let Some(tab) = books.tabs.get(&id) else {
            return Err(crate::desk::views::not_found("channel", &id).into());
        };
        let channel = ChannelView {
            channel: id,
            payer,
            signer,
            deposit: tab.deposit.amount,
            closing: tab.deposit.closing,
            account: tab.channel.account.clone(),
            reserved,
            newest,
        };
        frames.push(ToClient::Welcome { info, channel });
        let jobs = tab.jobs.iter().filter_map(|job| books.jobs.get(job));
        frames.extend(jobs.map(|job| ToClient::Job { job: Box::new(views::job(job)) }));
        // The receipt in flight may have been lost on its way; the newest of its job takes its place.
        frames.extend(tab.in_flight.and_then(|job| books.jobs.get(&job)).and_then(views::receipt));
        if let Some(tab) = books.tabs.get_mut(&id) {
            seat(tab, session, outbox, frames);
        }
        Ok((Seat { who: id, session }, inbox))
    }

    /// A client's socket has ended.
    pub async fn leave_client(&self, seat: Seat<ChannelId>) {
        let mut books = self.lock().await;
        if let Some(tab) = books.tabs.get_mut(&seat.who) {
            tab.sockets.retain(|(session, _)| *session != seat.session);
        }
        books.tidy(seat.who);
    }

    /// Sends a frame to one socket, as the answer to what it sent.
    pub async fn tell_client(&self, seat: Seat<ChannelId>, frame: ToClient) {
        let mut books = self.lock().await;
        let Some(tab) = books.tabs.get_mut(&seat.who) else { return };
        tab.sockets.retain(|(session, outbox)| *session != seat.session || outbox.try_send(frame.clone()).is_ok());
    }
}

/// Greets a new socket, and lets it hear what follows.
fn seat(tab: &mut Tab, session: Session, outbox: mpsc::Sender<ToClient>, frames: Vec<ToClient>) {
    // More open jobs than an outbox holds are read by GET /v1/jobs.
    for frame in frames {
        if outbox.try_send(frame).is_err() {
            break;
        }
    }
    if tab.sockets.len() >= SOCKETS {
        tab.sockets.remove(0);
    }
    tab.sockets.push((session, outbox));
}
