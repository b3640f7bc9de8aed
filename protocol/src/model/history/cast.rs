//! Who takes part. Their keys follow from their roles, so a history needs no other secret.

use super::{Dice, State, Status};
use crate::amount::{Amount, NANO, Timestamp};
use crate::signature::SigningKey;
use alloy::primitives::{Address, keccak256};
use std::collections::BTreeMap;

/// The people of a history.
#[derive(Debug)]
pub struct Cast {
    keys: BTreeMap<Address, SigningKey>,
    /// Fund channels.
    pub payers: Vec<Address>,
    /// Session keys.
    pub sessions: Vec<Address>,
    /// Earn.
    pub providers: Vec<Address>,
    /// Hold bonds.
    pub owners: Vec<Address>,
    /// Are paid directly, and never bond.
    pub direct: Vec<Address>,
    /// Nobody's key in particular.
    pub stranger: Address,
    /// Sets the parameters.
    pub governor: Address,
    /// May pause.
    pub guardian: Address,
    /// Receives fees.
    pub treasury: Address,
    keepers: Vec<Address>,
    /// Positions in `keepers` of those at work.
    roster: Vec<usize>,
    hired: usize,
}

impl Cast {
    /// The same people in every history, with as many keepers as it may use up: each address is a keeper once.
    pub(super) fn new(keepers: u32) -> Self {
        let mut keys = BTreeMap::new();
        let mut people = |role: &str, count: u32| -> Vec<Address> {
            let made = (0..count).filter_map(|n| key(role, n));
            made.map(|key| {
                let address = key.address();
                keys.insert(address, key);
                address
            })
            .collect()
        };
        let payers = people("payer", 3);
        let sessions = people("session", 3);
        let providers = people("provider", 4);
        let owners = people("owner", 2);
        let direct = people("direct", 2);
        let keepers = people("keeper", keepers);
        let mut one = |role: &str| people(role, 1).first().copied().unwrap_or_default();
        let (stranger, governor) = (one("stranger"), one("governor"));
        let (guardian, treasury) = (one("guardian"), one("treasury"));
        let roster: Vec<_> = (0..keepers.len().min(3)).collect();
        let hired = roster.len();
        Self {
            keys,
            payers,
            sessions,
            providers,
            owners,
            direct,
            stranger,
            governor,
            guardian,
            treasury,
            keepers,
            roster,
            hired,
        }
    }

    /// The key of somebody in the play.
    pub fn key(&self, address: Address) -> Option<&SigningKey> {
        self.keys.get(&address)
    }

    /// Everyone who can send a transaction.
    pub fn everyone(&self) -> impl Iterator<Item = Address> {
        self.keys.keys().copied()
    }

    /// Those who start with tokens, and how many: payers to spend them, keepers for their bonds.
    pub fn endowed(&self) -> impl Iterator<Item = (Address, Amount)> {
        let payers = self.payers.iter().map(|payer| (*payer, Amount(50_000_000 * NANO)));
        payers.chain(self.keepers.iter().map(|keeper| (*keeper, Amount(10_000 * NANO))))
    }

    /// Whose bond a keeper's is.
    pub(super) fn owner_of(&self, keeper: Address) -> Address {
        let index = usize::from(keeper.0[19]) % self.owners.len().max(1);
        self.owners.get(index).copied().unwrap_or_default()
    }

    /// Whether the address means to be a keeper.
    pub(super) fn is_netted(&self, keeper: Address) -> bool {
        !self.direct.contains(&keeper)
    }

    /// Mostly a keeper at work; also those paid directly, and now and then one that ended long ago.
    pub(super) fn any_keeper(&self, dice: &mut Dice) -> Address {
        let index = match dice.below(20) {
            0..=2 => return dice.pick(&self.direct).copied().unwrap_or_default(),
            3 => usize::try_from(dice.below(self.hired as u64)).unwrap_or(0),
            _ => dice.pick(&self.roster).copied().unwrap_or(0),
        };
        self.keepers.get(index).copied().unwrap_or_default()
    }

    /// Keepers and direct providers that are not history yet.
    pub(super) fn at_work(&self) -> impl Iterator<Item = Address> {
        let keepers = self.roster.iter().filter_map(|index| self.keepers.get(*index));
        keepers.chain(&self.direct).copied()
    }

    /// Anyone.
    pub(super) fn anyone(&self, dice: &mut Dice) -> Address {
        let groups = [&self.payers, &self.sessions, &self.providers, &self.owners, &self.direct];
        match dice.below(8) {
            0 => self.stranger,
            1 => self.governor,
            2 => self.any_keeper(dice),
            _ => dice.pick(&groups).and_then(|group| dice.pick(group)).copied().unwrap_or(self.stranger),
        }
    }

    /// Lets a new keeper take the place of one that has ended, a while after it did.
    pub(super) fn rotate(&mut self, state: &State, now: Timestamp, dice: &mut Dice) {
        for slot in &mut self.roster {
            let account = self.keepers.get(*slot).map(|keeper| state.keeper(*keeper)).unwrap_or_default();
            let over = match account.status {
                Status::Closed => true,
                Status::WoundDown => now.get() >= account.wound_at.get() + u64::from(state.periods.recovery),
                Status::None | Status::Active | Status::Retiring => false,
            };
            if over && self.hired < self.keepers.len() && dice.chance(12) {
                *slot = self.hired;
                self.hired += 1;
            }
        }
    }
}

fn key(role: &str, number: u32) -> Option<SigningKey> {
    SigningKey::from_bytes(&keccak256(format!("capa model: {role} {number}")).0)
}
