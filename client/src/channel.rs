//! A payment channel on chain: one deposit, spent by one session key, with one keeper or one provider.

use crate::anchor::{Anchor, ChannelState, KeeperStatus, Settling};
use crate::wallet::{Receipt, Wallet, WalletError};
use alloy::primitives::{Address, B256, U256};
use alloy::sol;
use alloy::sol_types::{SolStruct, eip712_domain};
use protocol::amount::Amount;
use protocol::bindings::settlement::{closeCall, openWithPermitCall, withdrawCall};
use protocol::bindings::token::ComputeTokenInstance;
use protocol::signature::Signature;
use protocol::voucher::ChannelId;
use service::chain::Tag;

sol! {
    /// EIP-2612.
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }
}

/// How long a permit can be used, in seconds: long enough for a slow chain.
const PERMIT_LIFETIME: u64 = 3600;

impl Wallet {
    /// Opens the channel of this wallet, `signer` and `keeper`, or adds to it: one transaction, with a permit.
    ///
    /// `keeper` is a bonded keeper, or a provider for a direct channel.
    pub async fn open_channel(&self, signer: Address, keeper: Address, amount: Amount) -> Result<Receipt, WalletError> {
        if let Settling::Netted(terms) = self.anchor.settling(keeper).await?
            && terms.status != KeeperStatus::Active
        {
            return Err(WalletError::KeeperGone { keeper, status: terms.status });
        }
        self.needs(amount).await?;
        let deadline = self.chain.head(Tag::Latest).await.map_err(crate::anchor::AnchorError::from)?.timestamp;
        let deadline = U256::from(deadline.saturating_add(PERMIT_LIFETIME));
        let permit = self.sign_permit(amount, deadline).await?;
        let (v, r, s) = expand(&permit);
        let call = openWithPermitCall { signer, keeper, amount: amount.get(), deadline, v, r, s };
        self.call("open", self.book.settlement(), &call).await
    }

    async fn sign_permit(&self, amount: Amount, deadline: U256) -> Result<Signature, WalletError> {
        let token = ComputeTokenInstance::new(self.book.token(), self.chain.provider());
        let domain = eip712_domain! {
            name: token.name().call().await?,
            version: token.version().call().await?,
            chain_id: self.book.chain_id.get(),
            verifying_contract: self.book.token(),
        };
        // The domain is built here from the address book, so that no node can have something else signed.
        if domain.separator() != token.DOMAIN_SEPARATOR().call().await? {
            return Err(WalletError::StrangeToken(self.book.token()));
        }
        let permit = Permit {
            owner: self.address(),
            spender: self.book.settlement(),
            value: U256::from(amount.get()),
            nonce: token.nonces(self.address()).call().await?,
            deadline,
        };
        Ok(self.key.sign(permit.eip712_signing_hash(&domain)))
    }

    /// The channel as the chain has it now.
    pub async fn channel(&self, signer: Address, keeper: Address) -> Result<ChannelState, WalletError> {
        Ok(self.anchor.channel(ChannelId::of(self.address(), signer, keeper)).await?)
    }

    /// Starts the withdrawal. Vouchers signed before can still be collected until the channel has thawed.
    pub async fn close_channel(&self, signer: Address, keeper: Address) -> Result<Receipt, WalletError> {
        self.call("close", self.book.settlement(), &closeCall { signer, keeper }).await
    }

    /// Takes back what the channel has not spent, once it has thawed.
    pub async fn withdraw_channel(&self, signer: Address, keeper: Address) -> Result<Receipt, WalletError> {
        self.call("withdraw", self.book.settlement(), &withdrawCall { signer, keeper }).await
    }
}

/// A short signature in the three parts that `permit` takes.
fn expand(signature: &Signature) -> (u8, B256, B256) {
    let mut s = signature.vs();
    let v = 27 + (s[0] >> 7);
    s[0] &= 0x7f;
    (v, signature.r(), s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{Signature as Full, keccak256};
    use protocol::signature::SigningKey;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an independent recovery is what the signature is checked against")]
    fn both_parities_expand_to_a_signature_of_the_same_key() {
        let key = SigningKey::from_bytes(&[5; 32]).unwrap();
        let mut seen = [false; 2];
        for byte in 0..20u8 {
            let digest = keccak256([byte]);
            let (v, r, s) = expand(&key.sign(digest));
            let full = Full::from_scalars_and_parity(r, s, v == 28);
            assert_eq!(full.recover_address_from_prehash(&digest).unwrap(), key.address());
            seen[usize::from(v - 27)] = true;
        }
        assert_eq!(seen, [true, true]);
    }
}
