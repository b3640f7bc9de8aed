//! What travels between client, keeper and worker: REST bodies and WebSocket frames, all JSON.
//!
//! A worker that takes direct jobs speaks the client's half of this as well, so one client serves both.

mod views;
mod refusal;
mod frames;

pub use frames::{Capabilities, FromClient, FromWorker, Isolation, IsolationLevel, ToClient, ToWorker, login_digest};
pub use refusal::{Code, Refusal};
pub use views::{
    BatchState, BatchView, Book, ChannelView, Info, JobState, JobView, Level, OfferTaken, OfferView, OrderTaken,
    ProofView,
};
