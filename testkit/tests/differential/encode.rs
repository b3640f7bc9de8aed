//! A call of the model as the contract's calldata, with real signatures.

use alloy::primitives::Address;
use alloy::sol_types::SolCall;
use anyhow::{Context, bail};
use protocol::amount::Amount;
use protocol::bindings::settlement::Settlement;
use protocol::model::history::Cast;
use protocol::model::{Call, ClaimItem, Commitment, Pair, Signed};
use protocol::signature::{Domain, Signature};
use protocol::voucher::{Acceptance, Accepted, SignedAcceptance, SignedVoucher, Voucher};

/// No signature: `r` and `s` are zero.
const NOTHING: Signature = Signature([0; 64]);

/// No signature either: `s` is in the upper half of the curve's order.
const HIGH_S: Signature = Signature({
    let mut bytes = [0x7f; 64];
    bytes[0] = 1;
    bytes
});

/// The bytes that a caller sends.
pub(crate) fn calldata(call: &Call, domain: &Domain, cast: &Cast) -> anyhow::Result<Vec<u8>> {
    let signer = Signer { domain, cast };
    Ok(match call {
        Call::Open { signer, keeper, amount } => {
            Settlement::openCall { signer: *signer, keeper: *keeper, amount: amount.get() }.abi_encode()
        }
        Call::Close { signer, keeper } => Settlement::closeCall { signer: *signer, keeper: *keeper }.abi_encode(),
        Call::Withdraw { signer, keeper } => Settlement::withdrawCall { signer: *signer, keeper: *keeper }.abi_encode(),
        Call::Bond { amount, owner } => Settlement::bondCall { amount: amount.get(), owner: *owner }.abi_encode(),
        Call::Retire { keeper } => Settlement::retireCall { keeper: *keeper }.abi_encode(),
        Call::Unbond { keeper } => Settlement::unbondCall { keeper: *keeper }.abi_encode(),
        Call::Collect { vouchers } => {
            Settlement::collectCall { vouchers: signer.debits(vouchers)?.into() }.abi_encode()
        }
        Call::Commit { commitment } => commit(commitment),
        Call::Challenge { keeper, acceptance } => {
            let acceptance = signer.acceptance(acceptance)?.to_challenge().to_vec().into();
            Settlement::challengeCall { keeper: *keeper, acceptance }.abi_encode()
        }
        Call::Answer { keeper, provider, amount, proof } => Settlement::answerCall {
            keeper: *keeper,
            provider: *provider,
            amount: amount.get(),
            index: proof.index,
            proof: proof.to_bytes().into(),
        }
        .abi_encode(),
        Call::Void { keeper, provider } => Settlement::voidCall { keeper: *keeper, provider: *provider }.abi_encode(),
        Call::Lapse { keeper } => Settlement::lapseCall { keeper: *keeper }.abi_encode(),
        other => payment(other, &signer)?,
    })
}

fn payment(call: &Call, signer: &Signer<'_>) -> anyhow::Result<Vec<u8>> {
    Ok(match call {
        Call::Recover { keeper, pairs } => {
            let items = signer.recoveries(pairs)?.into();
            Settlement::recoverCall { keeper: *keeper, items }.abi_encode()
        }
        Call::Redeem { keeper, vouchers } => {
            let vouchers = signer.debits(vouchers)?.into();
            Settlement::redeemCall { keeper: *keeper, vouchers }.abi_encode()
        }
        Call::Distribute { keeper, batch, leaves } => {
            let leaf =
                |(provider, amount): &(Address, Amount)| [provider.as_slice(), &amount.get().to_be_bytes()].concat();
            let leaves = leaves.iter().flat_map(leaf).collect::<Vec<_>>().into();
            Settlement::distributeCall { keeper: *keeper, number: *batch, leaves }.abi_encode()
        }
        Call::Claim { keeper, provider, items } => {
            let item = |item: &ClaimItem| item.proof.to_claim(item.batch, item.amount);
            let items = items.iter().flat_map(item).collect::<Vec<_>>().into();
            Settlement::claimCall { keeper: *keeper, provider: *provider, items }.abi_encode()
        }
        other => setting(other)?,
    })
}

fn setting(call: &Call) -> anyhow::Result<Vec<u8>> {
    Ok(match call {
        Call::SweepFees => Settlement::sweepFeesCall {}.abi_encode(),
        Call::SetFeeBps { fee_bps } => Settlement::setFeeBpsCall { feeBps_: *fee_bps }.abi_encode(),
        Call::SetMinimumBond { minimum_bond } => {
            Settlement::setMinimumBondCall { minimumBond_: minimum_bond.get() }.abi_encode()
        }
        Call::Pause => Settlement::pauseCall {}.abi_encode(),
        Call::Unpause => Settlement::unpauseCall {}.abi_encode(),
        other => bail!("{} has no calldata", other.name()),
    })
}

fn commit(commitment: &Commitment) -> Vec<u8> {
    let Commitment { earnings, lines, line_count, data_hash } = *commitment;
    Settlement::commitCall {
        root: earnings.hash,
        sum: earnings.sum.get(),
        linesRoot: lines.hash,
        linesSum: lines.sum.get(),
        lineCount: line_count,
        dataHash: data_hash,
    }
    .abi_encode()
}

/// Signs for whoever is said to have signed.
struct Signer<'a> {
    domain: &'a Domain,
    cast: &'a Cast,
}

impl Signer<'_> {
    fn voucher(&self, signed: &Signed<Voucher>) -> anyhow::Result<SignedVoucher> {
        let voucher = signed.message;
        Ok(match signed.by {
            Some(signer) => SignedVoucher::sign(voucher, self.domain, self.cast.key(signer).context("a known signer")?),
            None => SignedVoucher { voucher, signature: NOTHING },
        })
    }

    fn acceptance(&self, signed: &Signed<Acceptance>) -> anyhow::Result<SignedAcceptance> {
        let acceptance = signed.message;
        Ok(match signed.by {
            Some(signer) => {
                SignedAcceptance::sign(acceptance, self.domain, self.cast.key(signer).context("a known signer")?)
            }
            None => SignedAcceptance { acceptance, signature: HIGH_S },
        })
    }

    fn debits(&self, vouchers: &[Signed<Voucher>]) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(124 * vouchers.len());
        for voucher in vouchers {
            bytes.extend(self.voucher(voucher)?.to_debit());
        }
        Ok(bytes)
    }

    fn recoveries(&self, pairs: &[Pair]) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(228 * pairs.len());
        for pair in pairs {
            let accepted =
                Accepted { voucher: self.voucher(&pair.voucher)?, acceptance: self.acceptance(&pair.acceptance)? };
            bytes.extend(accepted.to_recovery());
        }
        Ok(bytes)
    }
}
