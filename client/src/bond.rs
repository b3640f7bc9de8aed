//! A keeper's bond, posted by the keeper's own key and owned by another.

use crate::wallet::{Receipt, Wallet, WalletError};
use alloy::primitives::{Address, U256};
use protocol::amount::Amount;
use protocol::bindings::settlement::bondCall;
use protocol::bindings::token::{ComputeTokenInstance, approveCall};

impl Wallet {
    /// Posts or raises the bond of this wallet's key. `owner` can end the keeper and take the bond back; the key
    /// itself cannot. Takes two transactions: the allowance, then the bond.
    pub async fn bond(&self, amount: Amount, owner: Address) -> Result<Receipt, WalletError> {
        self.needs(amount).await?;
        let spender = self.book.settlement();
        let token = ComputeTokenInstance::new(self.book.token(), self.chain.provider());
        let value = U256::from(amount.get());
        if token.allowance(self.address(), spender).call().await? < value {
            self.call("approve", self.book.token(), &approveCall { spender, value }).await?;
        }
        self.call("bond", self.book.settlement(), &bondCall { amount: amount.get(), owner }).await
    }
}
