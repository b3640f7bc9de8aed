//! The client's socket.

use super::socket::{Gone, Incoming, PING, Socket, Upgrade, framed, logged_in, nonce};
use super::{Api, Problem};
use crate::desk::{Answer, Seat};
use axum::extract::State;
use axum::response::Response;
use protocol::order::JobId;
use protocol::voucher::{ChannelId, SignedVoucher};
use protocol::wire::{Code, FromClient, Refusal, ToClient};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Upgrades to the client's WebSocket: challenge, hello, then receipts to sign, vouchers and job progress.
#[utoipa::path(get, path = "/v1/client", tag = "sockets", responses((status = 101, description = "WebSocket")))]
pub(super) async fn client(State(api): State<Api>, upgrade: Upgrade) -> Result<Response, Problem> {
    let login = api.login()?;
    Ok(framed(upgrade)?.on_upgrade(move |socket| serve(api, Socket::new(socket), login)))
}

async fn serve(api: Api, mut socket: Socket, turn: OwnedSemaphorePermit) {
    let (seat, inbox) = match login(&api, &mut socket).await {
        Ok(joined) => joined,
        Err(refusal) => return socket.refuse(&refusal).await,
    };
    drop(turn);
    let ended = talk(&api, &mut socket, seat, inbox).await;
    api.desk.leave_client(seat).await;
    if ended.is_ok() {
        socket.restart().await;
    }
}

async fn login(api: &Api, socket: &mut Socket) -> Result<(Seat<ChannelId>, mpsc::Receiver<ToClient>), Refusal> {
    let nonce = nonce();
    let gone = |Gone| Refusal::new(Code::Cancelled, "the socket closed");
    socket.send(&ToClient::Challenge { nonce }).await.map_err(gone)?;
    let FromClient::Hello { payer, signature } = socket.hello().await? else {
        return Err(Refusal::new(Code::MalformedRequest, "the first frame must be a hello"));
    };
    let signer = logged_in(api.desk.terms().keeper(), nonce, &signature)?;
    api.desk.join_client(payer, signer).await
}

/// Serves a client until it is gone, or until the keeper stops (which is `Ok`).
async fn talk(
    api: &Api,
    socket: &mut Socket,
    seat: Seat<ChannelId>,
    mut inbox: mpsc::Receiver<ToClient>,
) -> Result<(), Gone> {
    let mut ping = tokio::time::interval(PING);
    while let Some(incoming) = socket.turn(&mut inbox, &mut ping, &api.shutdown).await? {
        match incoming {
            Incoming::Frame(frame) => handle(api, seat, frame).await,
            Incoming::Bad(refusal) => tracing::warn!(channel = %seat.who, %refusal, "a frame was not understood"),
            Incoming::Nothing => {}
        }
    }
    Ok(())
}

async fn handle(api: &Api, seat: Seat<ChannelId>, frame: FromClient) {
    match frame {
        FromClient::Voucher { job, voucher } => voucher_frame(api, seat, job, voucher).await,
        FromClient::Cancel { job } => {
            if let Err(refusal) = api.desk.cancel(seat.who, job).await {
                tracing::debug!(%job, %refusal, "a job was not stopped");
            }
        }
        FromClient::Hello { .. } => tracing::warn!(channel = %seat.who, "a second hello on one socket"),
    }
}

async fn voucher_frame(api: &Api, seat: Seat<ChannelId>, job: JobId, voucher: SignedVoucher) {
    let hash = voucher.voucher.hash();
    let answer = match api.desk.voucher(seat.who, job, voucher).await {
        Ok(Answer::Told) => return,
        Ok(Answer::Again(accepted)) => ToClient::Accepted { job, voucher: hash, acceptance: Some(accepted.acceptance) },
        Err(refusal) => ToClient::Refused { job, voucher: hash, refusal },
    };
    api.desk.tell_client(seat, answer).await;
}
