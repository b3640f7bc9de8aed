use super::audit::{Audit, unclaimed};
use super::exit::Exit;
use super::history::{History, MINIMUM_BOND, PERIODS, word};
use super::*;
use crate::tree::{Node, Tree};
use crate::voucher::{Acceptance, Allocation, Voucher};
use alloy::primitives::B256;
use proptest::prelude::*;
use std::collections::BTreeMap;

const START: u64 = 2_000_000_000;
const PAYER: Address = Address::repeat_byte(1);
const SESSION: Address = Address::repeat_byte(2);
const KEEPER: Address = Address::repeat_byte(3);
const OWNER: Address = Address::repeat_byte(4);
const PROVIDER: Address = Address::repeat_byte(5);
const OTHER: Address = Address::repeat_byte(6);
const KEY: ChannelKey = ChannelKey { payer: PAYER, signer: SESSION, keeper: KEEPER };

fn at(seconds: u32) -> Timestamp {
    Timestamp(START + u64::from(seconds))
}

/// A keeper with its bond and a channel of 1,000 nano, both from second 0.
fn stage() -> State {
    let mut state = History::new(at(0), 0).genesis();
    state.tokens.balances = [(PAYER, Amount(2_000)), (KEEPER, MINIMUM_BOND)].into_iter().collect();
    state.bond(at(0), KEEPER, MINIMUM_BOND, OWNER).unwrap();
    state.open(at(0), PAYER, SESSION, KEEPER, Amount(1_000)).unwrap();
    state
}

fn voucher(batch: BatchNumber, total: u64, earned: u64) -> Signed<Voucher> {
    let latest = Allocation { provider: PROVIDER, earned: Amount(earned), receipt: B256::ZERO };
    let message = Voucher { payer: PAYER, keeper: KEEPER, batch, total: Amount(total), latest };
    Signed { message, by: Some(SESSION) }
}

fn accepted(voucher: Signed<Voucher>) -> Pair {
    let Voucher { batch, latest, .. } = voucher.message;
    let message = Acceptance { voucher: voucher.message.hash(), provider: latest.provider, batch, owed: latest.earned };
    Pair { voucher, acceptance: Signed { message, by: Some(KEEPER) } }
}

fn tree(leaves: &[(Address, u64)]) -> Tree {
    Tree::build(leaves.iter().map(|(who, amount)| Node::earning(*who, Amount(*amount))).collect()).unwrap()
}

fn commitment(tree: &Tree) -> Commitment {
    Commitment { earnings: tree.root(), lines: Node::EMPTY, line_count: 0, data_hash: B256::ZERO }
}

/// The keeper debits 500 for batch 1 at second 10 and commits 495 for the provider.
fn committed() -> (State, Tree) {
    let mut state = stage();
    state.collect(at(10), KEEPER, &[voucher(1, 500, 495)]).unwrap();
    let tree = tree(&[(PROVIDER, 495)]);
    state.commit(at(10), KEEPER, &commitment(&tree)).unwrap();
    (state, tree)
}

#[test]
fn a_batch_is_paid_once_it_is_final_and_once_only() {
    let (mut state, tree) = committed();
    let items = [ClaimItem { batch: 1, amount: Amount(495), proof: tree.proof(0).unwrap() }];
    let early = state.claim(at(10 + PERIODS.challenge - 1), KEEPER, PROVIDER, &items);
    assert_eq!(early, Err(Refusal::BatchNotFinal { batch: 1 }));
    state.claim(at(10 + PERIODS.challenge), KEEPER, PROVIDER, &items).unwrap();
    assert_eq!(state.tokens.balance(PROVIDER), Amount(495));
    assert_eq!(state.fees, Amount(5));
    assert_eq!(state.claim(at(100), KEEPER, PROVIDER, &items), Ok(vec![]));
    let again = state.distribute(at(100), KEEPER, 1, &[(PROVIDER, Amount(495))]);
    assert_eq!(again, Err(Refusal::AlreadyPaid));
}

#[test]
fn a_refused_list_changes_nothing() {
    let mut state = stage();
    let before = state.clone();
    let list = [voucher(1, 100, 0), voucher(1, 2_000, 0)];
    let refused = state.collect(at(1), KEEPER, &list);
    assert_eq!(refused, Err(Refusal::TotalAboveDeposit { total: Amount(2_000), deposit: Amount(1_000) }));
    assert_eq!(state, before);
}

#[test]
fn a_voucher_of_another_batch_keeper_or_key_debits_nothing() {
    let mut state = stage();
    let stranger = Signed { by: Some(OTHER), ..voucher(1, 10, 0) };
    let empty = Err(Refusal::TotalAboveDeposit { total: Amount(10), deposit: Amount::ZERO });
    for foreign in [voucher(2, 10, 0), voucher(0, 10, 0), stranger] {
        assert_eq!(state.collect(at(1), KEEPER, &[foreign]), empty);
    }
    assert_eq!(state.redeem(at(1), KEEPER, KEEPER, &[voucher(1, 10, 0)]), empty);
}

#[test]
fn a_challenge_holds_a_batch_back_until_it_is_answered_in_time() {
    let (mut state, tree) = committed();
    let pair = accepted(voucher(1, 500, 495));
    let late = at(10 + PERIODS.challenge - 1);
    state.challenge(late, KEEPER, &pair.acceptance).unwrap();
    let deadline = at(10 + PERIODS.challenge - 1 + PERIODS.answer);
    assert!(!state.is_final(deadline, KEEPER, 1));
    let proof = tree.proof(0).unwrap();
    let mut answered = state.clone();
    answered.answer(deadline, KEEPER, PROVIDER, Amount(495), &proof).unwrap();
    assert!(answered.is_final(deadline, KEEPER, 1));
    let past = Timestamp(deadline.get() + 1);
    let too_late = state.answer(past, KEEPER, PROVIDER, Amount(495), &proof);
    assert_eq!(too_late, Err(Refusal::TooLate { end: deadline }));
    assert_eq!(state.void(deadline, KEEPER, PROVIDER), Err(Refusal::TooEarly { not_before: past }));
    state.void(past, KEEPER, PROVIDER).unwrap();
    let reward = Amount(MINIMUM_BOND.get() / 10);
    assert_eq!(state.tokens.balance(PROVIDER), reward);
    assert_eq!(state.tokens.burned, MINIMUM_BOND.minus(reward).unwrap());
}

#[test]
fn after_a_wind_down_a_provider_recovers_what_was_accepted_and_the_payer_the_rest() {
    let mut state = stage();
    state.collect(at(1), KEEPER, &[voucher(1, 100, 50)]).unwrap();
    let end = PERIODS.heartbeat;
    assert!(matches!(state.lapse(at(end), KEEPER), Err(Refusal::TooEarly { .. })));
    state.lapse(at(end + 1), KEEPER).unwrap();
    let newest = accepted(voucher(1, 700, 600));
    state.recover(at(end + 2), KEEPER, &[accepted(voucher(1, 100, 50)), newest, newest]).unwrap();
    assert_eq!(state.tokens.balance(PROVIDER), Amount(600));
    assert_eq!(state.channel(&KEY).spent, Amount(700));
    let until = end + 1 + PERIODS.recovery;
    assert_eq!(state.withdraw(at(until - 1), PAYER, SESSION, KEEPER), Err(Refusal::TooEarly { not_before: at(until) }));
    assert_eq!(state.recover(at(until), KEEPER, &[newest]), Err(Refusal::TooLate { end: at(until) }));
    state.withdraw(at(until), PAYER, SESSION, KEEPER).unwrap();
    assert_eq!(state.tokens.balance(PAYER), Amount(1_400));
    assert_eq!(state.keeper(KEEPER).bond, MINIMUM_BOND.minus(Amount(MINIMUM_BOND.get() / 10)).unwrap());
}

#[test]
fn a_promise_that_its_channel_does_not_hold_costs_the_bond() {
    let mut state = stage();
    state.lapse(at(PERIODS.heartbeat + 1), KEEPER).unwrap();
    let bond = state.keeper(KEEPER).bond;
    state.recover(at(PERIODS.heartbeat + 2), KEEPER, &[accepted(voucher(1, 5_000, 4_000))]).unwrap();
    assert_eq!(state.tokens.balance(PROVIDER), Amount(1_000 + bond.get() / 10));
    assert_eq!(state.keeper(KEEPER).bond, Amount::ZERO);
}

#[test]
fn direct_payments_beside_a_batch_leave_its_accounts_alone() {
    let mut state = stage();
    state.collect(at(1), KEEPER, &[voucher(1, 300, 0)]).unwrap();
    let paid = voucher(0, 401, 0);
    assert_eq!(state.redeem(at(2), OTHER, KEEPER, &[paid]), Err(Refusal::NotTheKeeper));
    state.redeem(at(2), KEEPER, KEEPER, &[paid]).unwrap();
    assert_eq!(state.channel(&KEY).settled, Amount(101));
    assert_eq!(state.tokens.balance(KEEPER), Amount(99));
    assert_eq!(state.fees, Amount(2));
    assert_eq!(state.keeper(KEEPER).debits, Amount(300));
}

#[test]
fn a_rate_holds_from_the_batch_after_next() {
    let mut state = stage();
    let governor = state.governor;
    state.set_fee_bps(governor, 500).unwrap();
    let heartbeat = Commitment { earnings: Node::EMPTY, ..commitment(&tree(&[])) };
    let mut rates = Vec::new();
    for batch in 0..3 {
        rates.push(state.keeper(KEEPER).fee_bps);
        state.commit(at(batch * PERIODS.challenge), KEEPER, &heartbeat).unwrap();
    }
    assert_eq!(rates, [100, 100, 500]);
}

/// Plays a history on the model alone; returns it with its state.
fn play(words: impl IntoIterator<Item = u64>) -> (History, State) {
    let mut history = History::new(at(0), 40);
    let (mut state, mut audit) = (history.genesis(), Audit::default());
    for (index, word) in words.into_iter().enumerate() {
        let step = history.propose(&state, word);
        let before = state.clone();
        let outcome = state.apply(&step);
        history.learn(&step, &outcome);
        match &outcome {
            Ok(events) => audit
                .check(&step, &before, &state, events, history.promises())
                .unwrap_or_else(|breach| panic!("step {index}, {step:?}: {breach}")),
            Err(_) => assert_eq!(state, before, "the refused step {index} changed something"),
        }
    }
    (history, state)
}

/// 16: everybody leaves, and what stays is what trees that pay out less than their batch's sum never promised anyone.
fn everybody_leaves(history: &History, state: State) {
    let exit = Exit::play(state, history.now(), history.cast().stranger, &history.leaves());
    for (key, channel) in exit.state.channels.iter() {
        assert_eq!(channel.deposit, channel.spent, "{key:?} is not empty");
    }
    for (address, keeper) in exit.state.keepers.iter() {
        assert_eq!(keeper.bond, Amount::ZERO, "the bond of {address} is still there");
    }
    assert_eq!(exit.state.fees, Amount::ZERO);
    assert_eq!(Ok(exit.state.tokens.held), unclaimed(&exit.state));
}

#[test]
fn histories_reach_every_call_and_every_refusal() {
    let mut history = History::new(at(0), 120);
    let mut state = history.genesis();
    let (mut done, mut refused) = (BTreeMap::new(), BTreeMap::new());
    for index in 0..6_000 {
        let step = history.propose(&state, word(7, index));
        let outcome = state.apply(&step);
        history.learn(&step, &outcome);
        match outcome {
            Ok(_) => *done.entry(step.call.name()).or_insert(0) += 1,
            Err(refusal) => {
                let name = format!("{refusal:?}").split(' ').next().unwrap_or_default().to_owned();
                *refused.entry(name).or_insert(0) += 1;
            }
        }
    }
    assert_eq!(done.len(), 21, "a call never succeeded: {done:?}");
    assert_eq!(refused.len(), 39, "a refusal never happened: {refused:?}");
}

#[test]
fn a_long_history_keeps_every_invariant() {
    let (history, state) = play((0..600).map(|index| word(1, index)));
    everybody_leaves(&history, state);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn short_histories_keep_every_invariant(words in prop::collection::vec(any::<u64>(), 1..160)) {
        let (history, state) = play(words);
        everybody_leaves(&history, state);
    }

    /// 13: a stranger's older voucher first never lowers what the newer one brings in the end.
    #[test]
    fn older_vouchers_first_take_nothing_away(
        totals in prop::collection::vec((1u64..1_500, 1u64..1_200), 2..5),
        collected in 0u64..1_000,
    ) {
        let mut state = stage();
        if collected > 0 {
            state.collect(at(1), KEEPER, &[voucher(1, collected, 0)]).unwrap();
        }
        state.lapse(at(PERIODS.heartbeat + 1), KEEPER).unwrap();
        let pairs: Vec<_> = totals.iter().map(|(total, earned)| accepted(voucher(1, *total, *earned))).collect();
        let now = at(PERIODS.heartbeat + 2);
        let brought = |order: &[Pair]| {
            let mut state = state.clone();
            for pair in order {
                state.recover(now, KEEPER, &[*pair]).unwrap();
            }
            state.recovered.values().copied().next().unwrap_or_default()
        };
        let last = pairs.last().copied().unwrap();
        prop_assert!(brought(&pairs) >= brought(&[last]));
    }
}
