//! Offers.

use super::{Desk, Result, now};
use crate::intake;
use crate::market::Ask;
use keeper_store::{Store, StoredOffer};
use protocol::order::SignedOffer;
use protocol::wire::{Code, OfferTaken, Refusal};
use std::sync::Arc;

impl Desk {
    /// Takes an offer. The same offer again is taken once.
    pub async fn offer(self: &Arc<Self>, signed: SignedOffer) -> std::result::Result<OfferTaken, Refusal> {
        self.whole(|desk| async move {
            let taken = desk.try_offer(signed).await;
            desk.guard("offer", taken)
        })
        .await
    }

    async fn try_offer(&self, signed: SignedOffer) -> Result<OfferTaken> {
        let offer = &signed.offer;
        intake::offer(offer, now())?;
        let signer =
            signed.signer(&self.terms.domain).map_err(|error| Refusal::new(Code::BadSignature, error.to_string()))?;
        if !self.onchain.is_provider(offer.provider).await? {
            let detail = format!("{} is not in the ProviderRegistry: register it first", offer.provider);
            return Err(Refusal::new(Code::UnknownProvider, detail).into());
        }
        if signer != offer.provider && self.onchain.provider_of(signer).await? != offer.provider {
            let detail = format!("{signer} is no worker key of {}: add it in the ProviderRegistry", offer.provider);
            return Err(Refusal::new(Code::NotAWorker, detail).into());
        }
        let id = offer.hash();
        let mut books = self.lock().await;
        if books.market.has_ask(id) {
            return Ok(OfferTaken { offer: id });
        }
        intake::resource(&books.resources, offer.resource)?;
        let resting = books.market.asks().filter(|ask| ask.offer.provider == offer.provider).count();
        if resting >= self.terms.config.market.offers_per_provider {
            let detail = "the provider has as many offers here as this keeper allows: wait until some have expired";
            return Err(Refusal::new(Code::Limited, detail).into());
        }
        let sequence = books.next_sequence();
        let stored = StoredOffer { sequence, id, remaining: offer.capacity, signed };
        self.store.put_offer(&stored).await?;
        books.market.add_ask(ask(stored));
        self.match_all(&mut books).await?;
        Ok(OfferTaken { offer: id })
    }
}

/// An offer as it rests in the book.
pub(super) fn ask(stored: StoredOffer) -> Ask {
    Ask { id: stored.id, offer: stored.signed.offer, remaining: stored.remaining, sequence: stored.sequence }
}
