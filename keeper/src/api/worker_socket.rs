//! The worker's socket.

use super::socket::{Gone, Incoming, PING, Socket, Upgrade, framed, logged_in, nonce};
use super::{Api, Problem};
use crate::desk::Seat;
use alloy::primitives::Address;
use axum::extract::State;
use axum::response::Response;
use protocol::wire::{Code, FromWorker, Refusal, ToWorker};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Upgrades to the worker's WebSocket: challenge, hello, then assignments, receipts and acceptances.
#[utoipa::path(get, path = "/v1/worker", tag = "sockets", responses((status = 101, description = "WebSocket")))]
pub(super) async fn worker(State(api): State<Api>, upgrade: Upgrade) -> Result<Response, Problem> {
    let login = api.login()?;
    Ok(framed(upgrade)?.on_upgrade(move |socket| serve(api, Socket::new(socket), login)))
}

async fn serve(api: Api, mut socket: Socket, turn: OwnedSemaphorePermit) {
    let (seat, inbox) = match login(&api, &mut socket).await {
        Ok(joined) => joined,
        Err(refusal) => return socket.refuse(&refusal).await,
    };
    drop(turn);
    tracing::info!(worker = %seat.who, "worker connected");
    let ended = talk(&api, &mut socket, seat, inbox).await;
    api.desk.leave_worker(seat).await;
    tracing::info!(worker = %seat.who, "worker disconnected");
    if ended.is_ok() {
        socket.restart().await;
    }
}

async fn login(api: &Api, socket: &mut Socket) -> Result<(Seat<Address>, mpsc::Receiver<ToWorker>), Refusal> {
    let nonce = nonce();
    let gone = |Gone| Refusal::new(Code::Cancelled, "the socket closed");
    socket.send(&ToWorker::Challenge { nonce }).await.map_err(gone)?;
    let FromWorker::Hello { provider, capabilities, jobs, signature } = socket.hello().await? else {
        return Err(Refusal::new(Code::MalformedRequest, "the first frame must be a hello"));
    };
    let worker = logged_in(api.desk.terms().keeper(), nonce, &signature)?;
    api.desk.check_worker(worker, provider).await?;
    api.desk.join_worker(worker, provider, capabilities, jobs).await
}

/// Serves a worker until it is gone, or until the keeper stops (which is `Ok`).
async fn talk(
    api: &Api,
    socket: &mut Socket,
    seat: Seat<Address>,
    mut inbox: mpsc::Receiver<ToWorker>,
) -> Result<(), Gone> {
    let mut ping = tokio::time::interval(PING);
    while let Some(incoming) = socket.turn(&mut inbox, &mut ping, &api.shutdown).await? {
        match incoming {
            Incoming::Frame(frame) => handle(api, seat.who, frame).await,
            Incoming::Bad(refusal) => tracing::warn!(worker = %seat.who, %refusal, "a frame was not understood"),
            Incoming::Nothing => {}
        }
    }
    Ok(())
}

async fn handle(api: &Api, worker: Address, frame: FromWorker) {
    let desk = &api.desk;
    match frame {
        FromWorker::Offer { offer: signed } => {
            let offer = signed.offer.hash();
            let answer = match desk.offer(signed).await {
                Ok(taken) => ToWorker::OfferTaken { offer: taken.offer },
                Err(refusal) => ToWorker::OfferRefused { offer, refusal },
            };
            desk.tell_worker(worker, answer).await;
        }
        FromWorker::Receipt { receipt, outputs } => {
            let (job, sequence) = (receipt.statement.job, receipt.statement.sequence);
            if let Err(refusal) = desk.receipt(worker, receipt, outputs).await {
                desk.tell_worker(worker, ToWorker::ReceiptRefused { job, sequence, refusal }).await;
            }
        }
        FromWorker::Failed { job, refusal } => {
            // A failure inside the keeper is logged; the worker reports again when it connects the next time.
            let _ = desk.failed(worker, job, refusal).await;
        }
        FromWorker::Changed { capabilities } => desk.change_worker(worker, capabilities).await,
        FromWorker::Hello { .. } => tracing::warn!(%worker, "a second hello on one socket"),
    }
}
