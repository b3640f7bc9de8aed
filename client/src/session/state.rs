//! What a session must never forget: its newest signed voucher, its orders, and what it has paid.
//!
//! The file is written before a frame leaves, so that after a crash the session still knows everything it has ever
//! signed. Losing it cannot lose money (totals only rise, and the keeper has to show our own signature), but jobs that
//! were under way are then no longer paid.

use alloy::primitives::{Address, B256};
use protocol::amount::{Amount, Price, Timestamp};
use protocol::order::{JobId, SignedOrder};
use protocol::receipt::Statement;
use protocol::voucher::{Account, ChannelId, SignedAcceptance, SignedVoucher};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Version of the file's format.
const VERSION: u8 = 1;
/// Ended jobs beyond this number are dropped, oldest first.
const KEPT_JOBS: usize = 256;
/// Answers that may still come after so many reconnects without one.
const KEPT_IN_FLIGHT: usize = 16;

/// A job that this session ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobRecord {
    /// The order.
    pub order: SignedOrder,
    /// When it was signed.
    pub ordered_at: Timestamp,
    /// Result hash that the client expects, where it knows one.
    pub expected: Option<B256>,
    /// Price of the match, by the first receipt.
    pub price: Option<Price>,
    /// With whom, by the first receipt.
    pub provider: Option<Address>,
    /// The newest receipt that is paid.
    pub paid: Option<Statement>,
    /// Debited for it so far, fees included.
    pub debited: Amount,
    /// Why this session pays nothing more for it.
    pub stopped: Option<String>,
    /// Whether it will never change again.
    pub ended: bool,
}

impl JobRecord {
    /// A job that was just ordered.
    pub const fn new(order: SignedOrder, ordered_at: Timestamp, expected: Option<B256>) -> Self {
        Self {
            order,
            ordered_at,
            expected,
            price: None,
            provider: None,
            paid: None,
            debited: Amount::ZERO,
            stopped: None,
            ended: false,
        }
    }
}

/// A voucher that left, or may have left, and what it pays for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signed {
    /// The job paid for.
    pub job: JobId,
    /// The receipt paid for.
    pub statement: Statement,
    /// Price and provider of the job.
    pub price: Price,
    /// The voucher.
    pub voucher: SignedVoucher,
}

/// The newest voucher that the keeper took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Taken {
    /// The voucher.
    pub voucher: SignedVoucher,
    /// The keeper's promise; `None` in a direct channel.
    pub acceptance: Option<SignedAcceptance>,
}

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// Version of this format.
    pub version: u8,
    /// EIP-155 chain id.
    pub chain_id: protocol::amount::Quantity,
    /// The Settlement contract.
    pub settlement: Address,
    /// Who funded the channel.
    pub payer: Address,
    /// Its session key.
    pub signer: Address,
    /// With whom.
    pub keeper: Address,
    /// Sum of the accepted vouchers.
    pub account: Account,
    /// The newest accepted voucher.
    pub taken: Option<Taken>,
    /// Highest total ever signed; a later voucher is never below it.
    pub signed: Amount,
    /// Signed and not known to be accepted, newest last. More than one only where a reconnect brought a newer receipt
    /// or a newer batch before an answer: the keeper may still turn out to have taken the older one.
    pub in_flight: Vec<Signed>,
    /// All jobs that may still have to be paid, and the newest ended ones.
    pub jobs: BTreeMap<JobId, JobRecord>,
}

impl State {
    /// The state of a channel from which `spent` has reached the chain and nothing else is known.
    pub fn new(identity: &Identity, spent: Amount) -> Self {
        Self {
            version: VERSION,
            chain_id: identity.chain_id.into(),
            settlement: identity.settlement,
            payer: identity.payer,
            signer: identity.signer,
            keeper: identity.keeper,
            account: Account::new(spent),
            taken: None,
            signed: spent,
            in_flight: Vec::new(),
            jobs: BTreeMap::new(),
        }
    }

    /// The channel's identity on chain.
    pub fn channel(&self) -> ChannelId {
        ChannelId::of(self.payer, self.signer, self.keeper)
    }

    /// Whether nothing was ever signed according to this file.
    pub const fn is_fresh(&self) -> bool {
        self.taken.is_none() && self.in_flight.is_empty()
    }

    /// The voucher in flight with that struct hash.
    pub fn find(&self, voucher: B256) -> Option<&Signed> {
        self.in_flight.iter().find(|signed| signed.voucher.voucher.hash() == voucher)
    }

    /// Notes a voucher that is about to leave.
    pub fn send(&mut self, signed: Signed) {
        self.signed = self.signed.max(signed.voucher.voucher.total);
        self.in_flight.retain(|other| other.voucher.voucher != signed.voucher.voucher);
        self.in_flight.push(signed);
        let surplus = self.in_flight.len().saturating_sub(KEPT_IN_FLIGHT);
        self.in_flight.drain(..surplus);
    }

    /// Counts a voucher in flight as accepted, and forgets those that it makes void.
    pub fn accept(&mut self, voucher: B256, acceptance: Option<SignedAcceptance>) -> Option<Signed> {
        let signed = self.find(voucher)?.clone();
        let voucher = signed.voucher.voucher;
        if let Some(record) = self.jobs.get_mut(&signed.job) {
            // Every voucher in flight was signed over this account, so none has a lower total.
            let spend = voucher.total.minus(self.account.total).unwrap_or_default();
            record.debited = record.debited.plus(spend).unwrap_or(Amount(u64::MAX));
            record.paid = Some(signed.statement.clone());
            record.price = Some(signed.price);
            record.provider = Some(signed.statement.provider);
        }
        self.account.apply(&voucher);
        self.taken = Some(Taken { voucher: signed.voucher, acceptance });
        self.in_flight.retain(|other| other.job == signed.job && other.statement.sequence > signed.statement.sequence);
        Some(signed)
    }

    /// Drops the oldest ended jobs beyond a number that nobody scrolls through.
    pub fn prune(&mut self) {
        let mut ended: Vec<_> =
            self.jobs.iter().filter(|(_, job)| job.ended).map(|(id, job)| (job.ordered_at, *id)).collect();
        ended.sort_unstable();
        for (_, id) in ended.iter().rev().skip(KEPT_JOBS) {
            self.jobs.remove(id);
        }
    }
}

/// Which channel a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The Settlement contract.
    pub settlement: Address,
    /// Who funded the channel.
    pub payer: Address,
    /// Its session key.
    pub signer: Address,
    /// With whom.
    pub keeper: Address,
}

/// The state file cannot be used. Nothing is signed without it.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written.
    #[error("the session's state {path} cannot be read or written: {source}. Make room or fix its permissions")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// It is no state file.
    #[error("{path} is damaged: {source}. Restore it from a backup, or open a new channel with a new session key")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        source: serde_json::Error,
    },
    /// It belongs to another channel or a later version.
    #[error("{path} is the state of another {field}: do not rename or edit state files")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What differs.
        field: &'static str,
    },
    /// Another process holds the session.
    #[error("another process is paying from this channel ({path} is locked): stop it, or use its output")]
    Locked {
        /// Which file.
        path: PathBuf,
    },
}

/// A state file, held by this process alone.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// Held for as long as the session lives; the system gives it back even after a crash.
    _lock: File,
}

impl StateFile {
    /// Takes the lock of a channel's file in `folder` and reads it; `None` where the channel has none yet.
    pub fn open(folder: &Path, identity: &Identity) -> Result<(Self, Option<State>), StateError> {
        let channel = ChannelId::of(identity.payer, identity.signer, identity.keeper);
        let path = folder.join(format!("{}-{channel}.json", identity.chain_id));
        let io = |source| StateError::Io { path: path.clone(), source };
        create_private_folder(folder).map_err(io)?;
        let lock = private().truncate(false).open(path.with_extension("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Locked { path }),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let state = match fs::read(&path) {
            Ok(bytes) => Some(Self::parse(&path, &bytes, identity)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(io(source)),
        };
        Ok((Self { path, _lock: lock }, state))
    }

    fn parse(path: &Path, bytes: &[u8], identity: &Identity) -> Result<State, StateError> {
        let state: State =
            serde_json::from_slice(bytes).map_err(|source| StateError::Malformed { path: path.into(), source })?;
        for (same, field) in [
            (state.version == VERSION, "version"),
            (state.chain_id.get() == identity.chain_id, "chain"),
            (state.settlement == identity.settlement, "Settlement contract"),
            (state.payer == identity.payer, "payer"),
            (state.signer == identity.signer, "session key"),
            (state.keeper == identity.keeper, "keeper"),
        ] {
            if !same {
                return Err(StateError::Foreign { path: path.into(), field });
            }
        }
        Ok(state)
    }

    /// Replaces the file; when this returns, the new content survives a power cut.
    pub fn save(&self, state: &State) -> Result<(), StateError> {
        save(&self.path, state)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes beside the file, flushes, renames, and flushes the folder: a crash leaves the old content or the new.
pub(super) fn save(path: &Path, state: &State) -> Result<(), StateError> {
    let io = |source| StateError::Io { path: path.into(), source };
    let bytes = serde_json::to_vec(state).map_err(|source| StateError::Malformed { path: path.into(), source })?;
    let draft = path.with_extension("draft");
    let mut file = private().truncate(true).open(&draft).map_err(io)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&draft, path).map_err(io)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Reads a channel's state without taking it, for showing it to a person.
pub fn peek(folder: &Path, identity: &Identity) -> Result<Option<State>, StateError> {
    let channel = ChannelId::of(identity.payer, identity.signer, identity.keeper);
    let path = folder.join(format!("{}-{channel}.json", identity.chain_id));
    match fs::read(&path) {
        Ok(bytes) => StateFile::parse(&path, &bytes, identity).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Io { path, source }),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::amount::Quantity;

    fn identity() -> Identity {
        Identity {
            chain_id: 51866,
            settlement: Address::repeat_byte(1),
            payer: Address::repeat_byte(2),
            signer: Address::repeat_byte(3),
            keeper: Address::repeat_byte(4),
        }
    }

    #[test]
    fn survives_being_closed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, none) = StateFile::open(folder.path(), &identity()).unwrap();
        assert_eq!(none, None);
        let mut state = State::new(&identity(), Amount(7));
        file.save(&state).unwrap();
        state.account.total = Amount(9);
        file.save(&state).unwrap();
        drop(file);
        let (_, found) = StateFile::open(folder.path(), &identity()).unwrap();
        assert_eq!(found, Some(state.clone()));
        assert_eq!(peek(folder.path(), &identity()).unwrap(), Some(state));
    }

    #[test]
    fn a_crash_while_writing_leaves_the_old_state() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = StateFile::open(folder.path(), &identity()).unwrap();
        let state = State::new(&identity(), Amount(7));
        file.save(&state).unwrap();
        // A crash between writing and renaming leaves a draft, whole or torn, beside the file.
        fs::write(file.path().with_extension("draft"), b"{\"version\":1,\"chai").unwrap();
        drop(file);
        let (file, found) = StateFile::open(folder.path(), &identity()).unwrap();
        assert_eq!(found, Some(state.clone()));
        file.save(&state).unwrap();
    }

    #[test]
    fn a_torn_or_foreign_file_is_never_used() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = StateFile::open(folder.path(), &identity()).unwrap();
        let state = State::new(&identity(), Amount(7));
        file.save(&state).unwrap();
        let path = file.path().to_owned();
        let whole = fs::read(&path).unwrap();
        drop(file);
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(StateFile::open(folder.path(), &identity()), Err(StateError::Malformed { .. })));
        let foreign = State { chain_id: Quantity(1), ..state };
        fs::write(&path, serde_json::to_vec(&foreign).unwrap()).unwrap();
        assert!(matches!(StateFile::open(folder.path(), &identity()), Err(StateError::Foreign { field: "chain", .. })));
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = StateFile::open(folder.path(), &identity()).unwrap();
        assert!(matches!(StateFile::open(folder.path(), &identity()), Err(StateError::Locked { .. })));
        drop(first);
        StateFile::open(folder.path(), &identity()).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn others_cannot_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = StateFile::open(folder.path(), &identity()).unwrap();
        file.save(&State::new(&identity(), Amount::ZERO)).unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
