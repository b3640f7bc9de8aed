//! What all parts of a running worker share.

use crate::config::Config;
use crate::fleet::Fleet;
use crate::ledger::{Assignment, Ledger};
use crate::market::Market;
use crate::unaccepted::Unaccepted;
use alloy::primitives::Address;
use protocol::amount::{Price, Quantity, Timestamp};
use protocol::job::Envelope;
use protocol::order::{JobId, Offer};
use protocol::resource::{Resource, ResourceId};
use protocol::signature::{Domain, SigningKey};
use protocol::voucher::ChannelId;
use protocol::wire::{Capabilities, Code, Refusal};
use service::health::Health;
use service::shutdown::Shutdown;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How long an ended job is held for its payment, in seconds.
pub(crate) const HOLD_SECONDS: u64 = 24 * 3_600;

/// A job's stop button, and why it was pressed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    token: CancellationToken,
    reason: Arc<Mutex<Option<Refusal>>>,
}

impl Stop {
    /// Presses the button; the first reason stays.
    pub(crate) fn press(&self, reason: Refusal) {
        lock(&self.reason).get_or_insert(reason);
        self.token.cancel();
    }

    /// Why, once it was pressed.
    pub(crate) fn reason(&self) -> Option<Refusal> {
        lock(&self.reason).clone()
    }

    /// Pressed together with this one.
    pub(crate) const fn token(&self) -> &CancellationToken {
        &self.token
    }
}

/// What all parts of a running worker share.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) domain: Domain,
    pub(crate) key: SigningKey,
    pub(crate) ledger: Ledger,
    pub(crate) market: Arc<Market>,
    pub(crate) token: Address,
    pub(crate) resources: Vec<Resource>,
    pub(crate) fleet: Fleet,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) health: Health,
    pub(crate) shutdown: Shutdown,
    pub(crate) running: Mutex<HashMap<JobId, Stop>>,
    /// Cancelled once nothing new is taken any more.
    pub(crate) drain: Shutdown,
    pub(crate) unaccepted: Unaccepted,
    /// Offers that were signed and may still be matched.
    pub(crate) offered: Mutex<Vec<Offer>>,
}

impl Node {
    /// The resource class of that number, if it is for sale here.
    pub(crate) fn resource(&self, id: ResourceId) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.id == id)
    }

    /// Remembers an offer that binds from now on.
    pub(crate) fn bind(&self, offer: &Offer) {
        let mut offered = lock(&self.offered);
        offered.retain(|other| other.expiry >= now());
        if !offered.contains(offer) {
            offered.push(offer.clone());
        }
    }

    /// The price that a match must reach: the configured one, or a lower one that was signed and has not expired.
    fn binding_price(&self, resource: &Resource) -> Option<Price> {
        let offered = lock(&self.offered);
        let signed = offered.iter().filter(|offer| offer.resource == resource.id && offer.expiry >= now());
        signed.map(|offer| offer.price).chain(self.least_price(resource)).min()
    }

    /// Least price at which a resource is sold by the configuration; `None` if it is not.
    pub(crate) fn least_price(&self, resource: &Resource) -> Option<Price> {
        self.config.offers.iter().filter(|offer| offer.resource == resource.name).map(|offer| offer.price).min()
    }

    /// What this worker tells its keeper about itself.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let sold = |resource: &&Resource| self.least_price(resource).is_some();
        let inventory = self.fleet.inventory();
        Capabilities {
            kinds: inventory.kinds,
            resources: self.resources.iter().filter(sold).map(|resource| resource.id).collect(),
            slots: self.config.slots,
            memory: Quantity(inventory.memory),
            toolchains: inventory.toolchains,
            device: inventory.device,
            devices: inventory.devices,
            isolation: inventory.isolation,
        }
    }

    /// Refuses a job that cannot be run here, or not for this payer.
    pub(crate) fn check_job(&self, envelope: &Envelope, payer: Address) -> Result<(), Refusal> {
        let refuse = |text| Refusal::new(Code::Unsupported, text);
        let (wall, most) = (envelope.limits.wall_ms.get(), self.config.execute.max_wall_ms);
        if wall > most {
            return Err(refuse(format!("limits.wallMs is {wall}, this worker allows {most}: lower it")));
        }
        self.fleet.check(&envelope.program).map_err(refuse)?;
        self.fleet.admit(payer).map_err(refuse)
    }

    /// The stop button of a job that is about to run; `None` where it runs already.
    pub(crate) fn register(&self, job: JobId) -> Option<Stop> {
        let mut running = lock(&self.running);
        if running.contains_key(&job) {
            return None;
        }
        let stop = Stop::default();
        running.insert(job, stop.clone());
        Some(stop)
    }

    /// The job ended.
    pub(crate) fn unregister(&self, job: JobId) {
        lock(&self.running).remove(&job);
    }

    /// Readiness by the keeper's socket. A worker that also serves clients directly is ready without its keeper.
    pub(crate) fn report_keeper(&self, state: Result<(), String>) {
        if state.is_ok() || self.config.direct.is_none() {
            self.health.set("keeper", state);
        }
    }

    /// Whether so many more jobs are held than there are slots that another one could only wait in vain.
    pub(crate) fn is_crowded(&self, more: usize) -> bool {
        lock(&self.running).len() >= (self.config.slots as usize).saturating_add(more)
    }

    /// Stops a job; `false` where it does not run here.
    pub(crate) fn stop(&self, job: JobId, reason: Refusal) -> bool {
        let stop = lock(&self.running).get(&job).cloned();
        if let Some(stop) = &stop {
            stop.press(reason);
        }
        stop.is_some()
    }

    /// Checks all of a match that needs no chain: who signed, and for how much.
    pub(crate) fn check_match(&self, assignment: &Assignment) -> Result<Resource, Refusal> {
        let order = &assignment.order.order;
        let resource = self.resource(order.resource).ok_or_else(|| {
            Refusal::new(Code::UnknownResource, format!("resource {} is not sold by this worker", order.resource))
        })?;
        let least = self.binding_price(resource).ok_or_else(|| {
            Refusal::new(Code::UnknownResource, format!("{} is not sold by this worker", resource.name))
        })?;
        if assignment.price < least || assignment.price > order.max_price {
            let text = format!(
                "the price {} is not between this worker's {least} and the order's {}",
                assignment.price, order.max_price
            );
            return Err(Refusal::new(Code::BadPrice, text));
        }
        let signer = assignment
            .order
            .signer(&self.domain)
            .map_err(|error| Refusal::new(Code::BadSignature, format!("the order: {error}")))?;
        let channel = ChannelId::of(order.payer, signer, assignment.keeper);
        if signer != assignment.signer || channel != assignment.channel {
            let text = "the order is not signed by the session key of the channel that is to pay";
            return Err(Refusal::new(Code::BadSignature, text));
        }
        if assignment.cap > order.max_total {
            return Err(Refusal::new(Code::BadQuantity, "the cap is above the order's maxTotal"));
        }
        Ok(resource.clone())
    }
}

/// The time by this machine's clock.
pub(crate) fn now() -> Timestamp {
    // A clock before 1970 reads as zero, which every check of an expiry or an order of times then shows.
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// A lock whose data is whole after every statement, so that a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let stop = Stop::default();
        assert_eq!(stop.reason(), None);
        stop.press(Refusal::new(Code::Cancelled, "by the client"));
        stop.press(Refusal::new(Code::NodeFailed, "later"));
        assert_eq!(stop.reason().unwrap().code, Code::Cancelled);
        assert!(stop.token().is_cancelled());
    }
}
