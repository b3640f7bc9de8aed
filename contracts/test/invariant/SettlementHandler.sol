// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ClaimItem} from "../../src/types/Batch.sol";
import {Channel} from "../../src/types/Channel.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {Acceptance, Allocation, Voucher} from "../../src/types/Messages.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";
import {SettlementWorld} from "./SettlementWorld.sol";

/// @notice What the parties can do, honest or not. Every function is a legal call for any arguments: it picks parties from
/// them and returns where the step is impossible, so that a revert means a bug.
contract SettlementHandler is SettlementWorld {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    /// @dev Runs a step about one keeper and checks what no step may change.
    modifier step(uint256 k) {
        bytes32 other = _fingerprint((k + 1) % KEEPERS);
        _;
        vm.assertEq(_fingerprint((k + 1) % KEEPERS), other, "14: another keeper, its channels or batches changed");
        _checkHistory();
    }

    /* CLIENTS */

    function open(uint256 c, uint64 amount) external step(_keeperOf(c)) {
        (address payer, address signer, address keeper) = _parties(c);
        KeeperStatus status = _state(_keeperOf(c)).status;
        if (status != KeeperStatus.None && status != KeeperStatus.Active) return;
        amount = 1 + amount % 1e12;
        vm.prank(payer);
        settlement.open(signer, keeper, amount);
        depositedIn[_channelId(c)] += amount;
    }

    function close(uint256 c) external step(_keeperOf(c)) {
        (address payer, address signer, address keeper) = _parties(c);
        Channel memory ch = _channel(c);
        if (ch.deposit == 0 || ch.thawAt != 0) return;
        vm.prank(payer);
        settlement.close(signer, keeper);
    }

    function withdraw(uint256 c) external step(_keeperOf(c)) {
        (address payer, address signer, address keeper) = _parties(c);
        KeeperState memory k = _state(_keeperOf(c));
        Channel memory ch = _channel(c);
        if (k.status == KeeperStatus.WoundDown) {
            if (block.timestamp < k.woundAt + X) return;
            spentMayFall[_channelId(c)] = true;
        } else if (k.status != KeeperStatus.Closed) {
            if (ch.thawAt == 0 || block.timestamp < ch.thawAt) return;
        }
        uint256 before = token.balanceOf(payer);
        vm.prank(payer);
        settlement.withdraw(signer, keeper);
        withdrawnFrom[_channelId(c)] += token.balanceOf(payer) - before;
    }

    /* KEEPERS */

    function bond(uint256 k, uint64 amount) external step(k % KEEPERS) {
        k %= KEEPERS;
        KeeperStatus status = _state(k).status;
        if (status != KeeperStatus.None && status != KeeperStatus.Active) return;
        vm.prank(_keeper(k));
        settlement.bond(BOND + amount % BOND, bondOwner);
    }

    function retire(uint256 k, uint256 chance) external step(k % KEEPERS) {
        k %= KEEPERS;
        if (chance % 16 != 0 || _state(k).status != KeeperStatus.Active) return;
        vm.prank(bondOwner);
        settlement.retire(_keeper(k));
    }

    function unbond(uint256 k) external step(k % KEEPERS) {
        k %= KEEPERS;
        KeeperState memory s = _state(k);
        if (s.status == KeeperStatus.WoundDown) {
            if (block.timestamp < s.woundAt + X) return;
        } else if (s.status == KeeperStatus.Retiring) {
            if (block.timestamp < s.retiredAt + U || _isPending(k) || s.debits != 0) return;
        } else {
            return;
        }
        vm.prank(bondOwner);
        settlement.unbond(_keeper(k));
    }

    /// @dev Debits a channel, and often the one after it.
    function collect(uint256 c, uint64 rise) external {
        c %= CHANNELS;
        _collect(c, rise);
        if (rise % 4 != 0) _collect((c + 1) % CHANNELS, rise / 2);
    }

    function _collect(uint256 c, uint64 rise) private step(_keeperOf(c)) {
        uint256 k = _keeperOf(c);
        Channel memory ch = _channel(c);
        if (!_isLive(k) || _isPending(k) || ch.deposit == ch.spent) return;
        uint64 total = ch.spent + 1 + rise % (ch.deposit - ch.spent);
        bytes memory item = Signing.collectItem(messages, domain, _sessionKey(c), _voucher(c, _number(k), total, 0, 0));
        _signed(c, total);
        vm.prank(_keeper(k));
        settlement.collect(item);
    }

    /// @dev An honest tree, one that promises twice its sum, or a heartbeat.
    function commit(uint256 k, uint256 seed, uint64 rise) external {
        k %= KEEPERS;
        // A keeper rarely commits without debits.
        if (seed % 8 != 0) _collect(4 * k + seed % 4, rise);
        _commit(k, seed);
    }

    function _commit(uint256 k, uint256 seed) private step(k) {
        if (!_isLive(k) || _isPending(k)) return;
        KeeperState memory s = _state(k);
        uint32 number = _number(k);
        // The rates turn in `commit`, never in between: what is stored is what counts.
        uint64 sum = s.debits - uint64(uint256(s.debits) * s.feeBps / 10_000);
        Leaf[] memory leaves = _split(sum, seed);
        bool inflated = seed % 5 == 0;
        for (uint256 i; inflated && i < leaves.length; ++i) {
            leaves[i].amount *= 2;
        }
        _remember(k, number, leaves, inflated);
        ReferenceTree.Node memory root = leaves.nodes().root();
        vm.prank(_keeper(k));
        settlement.commit(sum == 0 ? bytes32(0) : root.hash, sum, root.hash, sum / 2, 1, bytes32(seed));
        _committed(k, number);
    }

    /* CHALLENGES */

    function challenge(uint256 k, uint256 p, uint64 owed) external step(k % KEEPERS) {
        k %= KEEPERS;
        uint32 number = _number(k);
        if (!_isLive(k) || !_isPending(k)) return;
        if (block.timestamp >= settlement.batch(_keeper(k), number).committedAt + W) return;
        address provider = _provider(p);
        // Low promises can be answered, high ones cannot.
        owed = settlement.challenged(_keeper(k), number, provider).owed + 1 + owed % 1e10;
        Acceptance memory a = Acceptance({voucher: "voucher", provider: provider, batch: number, owed: owed});
        settlement.challenge(_keeper(k), Signing.acceptance(messages, domain, _keeperKey(k), a));
    }

    /// @dev Answers every challenge that the committed leaves can answer.
    function answer(uint256 k) external step(k % KEEPERS) {
        k %= KEEPERS;
        uint32 number = _number(k);
        Leaf[] memory leaves = _leavesOf(k, number);
        if (!_isLive(k) || !_isPending(k) || isInflated[_key(k, number)]) return;
        if (settlement.batch(_keeper(k), number).sum == 0) return;
        for (uint256 i; i < leaves.length && _number(k) == number; ++i) {
            (uint64 owed, uint32 deadline) = _challengeOf(k, number, leaves[i].provider);
            if (deadline == 0 || block.timestamp > deadline || leaves[i].amount < owed) continue;
            bytes memory proof = leaves.nodes().proof(i);
            settlement.answer(_keeper(k), leaves[i].provider, leaves[i].amount, uint32(i), proof);
        }
    }

    function void(uint256 k, uint256 p) external step(k % KEEPERS) {
        k %= KEEPERS;
        address provider = _provider(p);
        (, uint32 deadline) = _challengeOf(k, _number(k), provider);
        if (!_isLive(k) || !_isPending(k) || deadline == 0 || block.timestamp <= deadline) return;
        settlement.void(_keeper(k), provider);
    }

    function lapse(uint256 k, uint256 chance) external step(k % KEEPERS) {
        k %= KEEPERS;
        if (chance % 2 != 0 || !_isLive(k) || _isPending(k) || block.timestamp <= _since(k) + T) return;
        settlement.lapse(_keeper(k));
    }

    /* PAYMENTS */

    /// @dev A session key and a keeper sign: honestly, or more than the deposit, or the same deposit to several providers.
    function accept(uint256 c, uint256 p, uint64 rise, uint64 earned, bool next) external {
        uint256 k = _keeperOf(c);
        Channel memory ch = _channel(c);
        if (!_isLive(k)) return;
        uint64 total = ch.spent + 1 + rise % 1e12;
        earned = 1 + earned % total;
        _signed(c, total);
        _storeAccepted(c, _number(k) + (next ? 1 : 0), total, _provider(p), earned);
    }

    function recover(uint256 i) external {
        // The first from the i-th on that counts.
        for (uint256 j; j < accepted.length; ++j) {
            Accepted memory a = accepted[(i % accepted.length + j) % accepted.length];
            KeeperState memory s = _state(_keeperOf(a.channel));
            bool open_ = s.status == KeeperStatus.WoundDown && block.timestamp < s.woundAt + X;
            if (open_ && a.batch >= s.batch && _channel(a.channel).deposit != 0) return _recover(a);
        }
    }

    function _recover(Accepted memory a) private step(_keeperOf(a.channel)) {
        uint256 k = _keeperOf(a.channel);
        KeeperState memory s = _state(k);
        Voucher memory v = _voucher(a.channel, a.batch, a.total, a.earned, uint160(a.provider));
        bytes memory item = Signing.recoverItem(messages, domain, _sessionKey(a.channel), _keeperKey(k), v, a.earned);
        settlement.recover(_keeper(k), item);
        bytes32 key = keccak256(abi.encode(_channelId(a.channel), a.provider, a.batch));
        uint64 recovered = settlement.recovered(_channelId(a.channel), a.provider, a.batch);
        vm.assertLe(recovered, acceptedMost[key], "7: recovered more than was accepted");
        if (s.bond != 0 && _state(k).bond != 0) {
            vm.assertTrue(recovered >= a.earned, "a recovery that was not short pays all");
        }
        _assertPaysNothing(abi.encodeCall(settlement.recover, (_keeper(k), item)));
    }

    function redeem(uint256 c, uint64 rise) external step(_keeperOf(c)) {
        (,, address keeper) = _parties(c);
        Channel memory ch = _channel(c);
        if (ch.deposit == ch.spent) return;
        uint64 total = ch.spent + 1 + rise % (ch.deposit - ch.spent);
        Voucher memory v = _voucher(c, 0, total, total, uint160(keeper));
        _signed(c, total);
        uint256 before = token.balanceOf(keeper);
        bytes memory item = Signing.redeemItem(messages, domain, _sessionKey(c), v);
        settlement.redeem(item);
        uint64 fee = uint64((uint256(total - ch.spent) * settlement.feeBps() + 9999) / 10_000);
        vm.assertEq(
            token.balanceOf(keeper) - before, total - ch.spent - fee, "15: a direct payment is the rise less fee"
        );
        _assertPaysNothing(abi.encodeCall(settlement.redeem, (item)));
    }

    function distribute(uint256 k, uint256 n) external step(k % KEEPERS) {
        k %= KEEPERS;
        uint32 number = _pick(k, n);
        if (number == 0 || !settlement.isFinal(_keeper(k), number) || wasPaid[_key(k, number)]) return;
        Leaf[] memory leaves = _leavesOf(k, number);
        if (leaves.length == 0) return;
        bytes memory call = abi.encodeCall(settlement.distribute, (_keeper(k), number, leaves.pack()));
        uint64 sum = settlement.batch(_keeper(k), number).sum;
        if (isInflated[_key(k, number)] || sum == 0) {
            _assertPaysNothing(call);
            return;
        }
        uint256 before = token.balanceOf(address(settlement));
        settlement.distribute(_keeper(k), number, leaves.pack());
        vm.assertEq(before - token.balanceOf(address(settlement)), sum, "4: a distribution pays the sum");
        wasPaid[_key(k, number)] = true;
        _assertPaysNothing(call);
    }

    function claim(uint256 k, uint256 n, uint256 i) external step(k % KEEPERS) {
        k %= KEEPERS;
        uint32 number = _pick(k, n);
        Leaf[] memory leaves = _leavesOf(k, number);
        if (number == 0 || leaves.length == 0) return;
        i %= leaves.length;
        ClaimItem[] memory items = new ClaimItem[](1);
        items[0] =
            ClaimItem({batch: number, amount: leaves[i].amount, index: uint32(i), proof: leaves.nodes().proof(i)});
        bytes memory call = abi.encodeCall(settlement.claim, (_keeper(k), leaves[i].provider, items));
        bool payable_ = settlement.isFinal(_keeper(k), number) && !isInflated[_key(k, number)]
            && settlement.batch(_keeper(k), number).sum != 0;
        if (payable_) {
            settlement.claim(_keeper(k), leaves[i].provider, items);
            if (!settlement.distributed(_keeper(k), number) && leaves[i].amount != 0) wasPaid[_key(k, number)] = true;
        }
        _assertPaysNothing(call);
    }

    function sweepFees() external {
        settlement.sweepFees();
    }

    function setFeeBps(uint16 bps) external {
        vm.prank(governor);
        settlement.setFeeBps(bps % 501);
    }

    function wait(uint256 time) external {
        vm.warp(block.timestamp + time % 60);
    }

    function waitLong(uint256 chance) external {
        if (chance % 8 == 0) vm.warp(block.timestamp + THAW);
    }

    /* INTERNAL */

    /// @dev Repeats a call that has paid, or tries one that must not: the contract's balance stays.
    function _assertPaysNothing(bytes memory call) private {
        uint256 before = token.balanceOf(address(settlement));
        (bool done,) = address(settlement).call(call);
        vm.assertEq(token.balanceOf(address(settlement)), before, done ? "13: a repetition paid" : "13: a refusal paid");
    }

    function _voucher(uint256 c, uint32 number, uint64 total, uint64 earned, uint160 provider)
        private
        view
        returns (Voucher memory)
    {
        (address payer,, address keeper) = _parties(c);
        Allocation memory latest = Allocation({provider: address(provider), earned: earned, receipt: "receipt"});
        return Voucher({payer: payer, keeper: keeper, batch: number, total: total, latest: latest});
    }
}
