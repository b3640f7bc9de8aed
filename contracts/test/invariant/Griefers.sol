// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Challenge} from "../../src/types/Batch.sol";
import {Channel} from "../../src/types/Channel.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {Acceptance, Allocation, Voucher} from "../../src/types/Messages.sol";
import {Calls} from "../utils/Calls.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";
import {Clients} from "./Clients.sol";
import {Held} from "./World.sol";

/// @notice Strangers: they call what anybody may call, with everything that was ever signed, and forge the rest. Also the
/// governor, who may change the fee rate and pause what takes money in.
abstract contract Griefers is Clients {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    uint256 private constant FORGER_KEY = 666;

    /// @dev Strangers are about at any time, above all while there is something to recover.
    function _trade(uint256 word) internal override {
        super._trade(word);
        uint256 k = (word >> 200) % KEEPERS;
        if (_state(k).status == KeeperStatus.WoundDown) _recoverSome(k, word >> 208);
        else if (word % 16 == 5) _challengeSome(k, word >> 208);
    }

    /* CHALLENGES */

    function challenge(uint256 k, uint256 i) external step {
        _challengeSome(k % KEEPERS, i);
    }

    function _challengeSome(uint256 k, uint256 i) private {
        uint256 count = accepted[k].length;
        // The newest ones are the ones that can still be challenged with.
        for (uint256 j; j < 12 && j < count; ++j) {
            Held memory h = accepted[k][count - 1 - (i % 12 + j) % _least(count, 12)];
            if (_challenge(k, h)) return;
        }
    }

    function _challenge(uint256 k, Held memory h) private returns (bool due) {
        bytes memory data = abi.encodeCall(ISettlement.challenge, (keeperAt(k), _acceptance(h)));
        uint32 number = _number(k);
        due = _isLive(k) && _isPending(k) && h.batch == number
            && block.timestamp < uint256(_batch(k, number).committedAt) + W
            && h.owed > settlement.challenged(keeperAt(k), number, h.provider).owed;
        if (due) _must(k, stranger, data);
        else _mustNot(k, stranger, data, "9: a challenge was taken that must not be");
    }

    function answer(uint256 k, uint256 p) external step {
        k %= KEEPERS;
        if (isPublished[k][_number(k)]) _answerIfProvable(k, _provider(p));
    }

    function void(uint256 k, uint256 p) external step {
        k %= KEEPERS;
        address provider = _provider(p);
        Challenge memory c = settlement.challenged(keeperAt(k), _number(k), provider);
        bytes memory data = abi.encodeCall(ISettlement.void, (keeperAt(k), provider));
        bool due = _isLive(k) && _isPending(k) && c.deadline != 0 && block.timestamp > c.deadline;
        if (!due) {
            _mustNot(k, stranger, data, "a keeper was wound down without an expired challenge");
            return;
        }
        uint64 reward = _state(k).bond / 10;
        uint256 before = token.balanceOf(provider);
        _must(k, stranger, data);
        vm.assertEq(token.balanceOf(provider) - before, reward, "11: the provider gets a tenth");
    }

    function lapse(uint256 k, uint256 chance) external step {
        k %= KEEPERS;
        bytes memory data = abi.encodeCall(ISettlement.lapse, (keeperAt(k)));
        bool due = _isLive(k) && !_isPending(k) && block.timestamp > _since(k) + T;
        if (!due) _mustNot(k, stranger, data, "a keeper was wound down in time");
        else if (chance % 4 == 0) _must(k, stranger, data);
    }

    /* PAYMENTS */

    function recover(uint256 k, uint256 i) external step {
        _recoverSome(k % KEEPERS, i);
    }

    function _recoverSome(uint256 k, uint256 i) private {
        KeeperState memory s = _state(k);
        if (accepted[k].length == 0) return;
        Held memory h = accepted[k][i % accepted[k].length];
        bytes memory data = abi.encodeCall(ISettlement.recover, (keeperAt(k), _recoverItem(h)));
        if (s.status != KeeperStatus.WoundDown || block.timestamp >= uint256(s.endedAt) + X || h.batch < s.batch) {
            _mustNot(k, stranger, data, "7: a recovery was paid that must not be");
        } else if (_channel(h.channel).deposit != 0) {
            _recover(k, h, data);
        }
    }

    function _recover(uint256 k, Held memory h, bytes memory data) private {
        uint64 had = settlement.recovered(channelIdAt(h.channel), h.provider, h.batch);
        uint64 bonded = _state(k).bond;
        uint256 before = token.balanceOf(h.provider);
        _pay(k, stranger, data);
        uint64 has = settlement.recovered(channelIdAt(h.channel), h.provider, h.batch);
        uint256 reward = _state(k).bond < bonded ? bonded / 10 : 0;
        vm.assertLe(had, has, "13: recovered fell");
        vm.assertLe(has, acceptedMost[keyOf(h.channel, h.provider, h.batch)], "7: more recovered than accepted");
        vm.assertEq(token.balanceOf(h.provider) - before, has - had + reward, "7: a recovery pays the provider");
        if (has < h.earned) vm.assertEq(_state(k).bond, 0, "11: a short recovery forfeits the bond");
        else if (had < h.earned) vm.assertEq(_state(k).bond, bonded, "11: a recovery in full forfeits nothing");
    }

    function claim(uint256 k, uint256 n, uint256 i) external step {
        k %= KEEPERS;
        uint32 number = _someBatch(k, n);
        Leaf[] memory list = leavesOf(k, number);
        if (list.length != 0) _claim(k, number, i % list.length);
    }

    function _claim(uint256 k, uint32 number, uint256 i) internal {
        Leaf[] memory list = leavesOf(k, number);
        Leaf memory l = list[i];
        address keeper = keeperAt(k);
        bytes memory data = Calls.claim(keeper, number, list, i);
        bool provable = settlement.isFinal(keeper, number) && !isInflated[k][number] && _batch(k, number).sum != 0;
        if (!provable) {
            _paysNothing(k, stranger, data);
            return;
        }
        uint64 had = settlement.paid(keeper, l.provider, number);
        bool due = !settlement.distributed(keeper, number) && l.amount > had;
        uint256 before = token.balanceOf(l.provider);
        _pay(k, stranger, data);
        uint256 paid = token.balanceOf(l.provider) - before;
        vm.assertEq(paid, due ? l.amount - had : 0, "13: a claim pays the leaf less what was paid");
    }

    function distribute(uint256 k, uint256 n) external step {
        k %= KEEPERS;
        _distribute(k, _someBatch(k, n));
    }

    function _distribute(uint256 k, uint32 number) internal {
        Leaf[] memory list = leavesOf(k, number);
        if (list.length == 0) return;
        bytes memory data = Calls.distribute(keeperAt(k), number, list);
        uint64 sum = _batch(k, number).sum;
        bool due = settlement.isFinal(keeperAt(k), number) && sum != 0 && !isInflated[k][number]
            && paidOf(k, number) == 0 && !settlement.distributed(keeperAt(k), number);
        if (due) vm.assertEq(_pay(k, stranger, data), sum, "4: a distribution pays the sum");
        else _paysNothing(k, stranger, data);
    }

    function sweepFees() external step {
        uint64 fees = settlement.fees();
        uint256 before = token.balanceOf(treasury);
        vm.assertEq(_pay(NOBODY, stranger, abi.encodeCall(IEscrow.sweepFees, ())), fees, "12: a sweep pays the fees");
        vm.assertEq(token.balanceOf(treasury) - before, fees, "12: the fees go to the treasury");
    }

    /// @dev Tokens sent to the contract belong to nobody and change nothing.
    function donate(uint64 amount) external step {
        amount = amount % 1e9;
        donated += amount;
        vm.prank(stranger);
        token.transfer(address(settlement), amount);
    }

    /* FORGERIES */

    /// @dev A stranger's signature in the place of a session key's or a keeper's.
    function forge(uint256 c, uint64 total, uint64 owed) external step {
        c %= CHANNELS;
        uint256 k = keeperOf(c);
        Held memory h = Held(c, _number(k), 1 + total % 1e12, _provider(total), 1 + total % 1e12, 1 + owed / 2);
        Voucher memory v = _voucher(h);
        bytes memory item = Signing.collectItem(messages, domain, FORGER_KEY, v);
        bytes memory data = abi.encodeCall(ISettlement.collect, (item));
        _mustNot(k, keeperAt(k), data, "6: a forged voucher was collected");
        v.batch = 0;
        data = Calls.redeem(keeperAt(k), Signing.collectItem(messages, domain, FORGER_KEY, v));
        _mustNot(k, stranger, data, "6: a forged voucher was redeemed");
        _forgeAcceptance(k, h);
    }

    function _forgeAcceptance(uint256 k, Held memory h) private {
        Acceptance memory a = Acceptance("voucher", h.provider, h.batch, h.owed);
        bytes memory packed = Signing.acceptance(messages, domain, FORGER_KEY, a);
        bytes memory data = abi.encodeCall(ISettlement.challenge, (keeperAt(k), packed));
        _mustNot(k, stranger, data, "8: a forged acceptance was taken");
        uint256 key = _sessionKey(h.channel);
        packed = Signing.recoverItem(messages, domain, key, FORGER_KEY, _voucher(h), h.owed);
        data = abi.encodeCall(ISettlement.recover, (keeperAt(k), packed));
        _mustNot(k, stranger, data, "7: a forged acceptance was recovered");
    }

    /// @dev A leaf of one nano more, or of somebody else, pays nothing.
    function forgeLeaf(uint256 k, uint256 n, uint256 i) external step {
        k %= KEEPERS;
        uint32 number = _someBatch(k, n);
        Leaf[] memory list = leavesOf(k, number);
        if (list.length == 0) return;
        i %= list.length;
        Leaf memory l = list[i];
        bytes memory proof = list.nodes().proof(i);
        bytes memory data = Calls.claim(keeperAt(k), l.provider, number, l.amount + 1, i, proof);
        _paysNothing(k, stranger, data);
        _paysNothing(k, stranger, Calls.claim(keeperAt(k), stranger, number, 1 + l.amount, i, proof));
        list[i].amount += 1;
        data = Calls.distribute(keeperAt(k), number, list);
        _mustNot(k, stranger, data, "4: other leaves were distributed");
    }

    /* GOVERNANCE */

    function setFeeBps(uint16 bps) external step {
        _must(NOBODY, governor, abi.encodeCall(IEscrow.setFeeBps, (bps % 501)));
    }

    function pause(uint256 chance) external step {
        if (isPaused || chance % 4 != 0) _pause(false);
        else _pause(true);
    }

    function _pause(bool on) private {
        if (on == isPaused) return;
        isPaused = on;
        _must(NOBODY, governor, on ? abi.encodeCall(IEscrow.pause, ()) : abi.encodeCall(IEscrow.unpause, ()));
    }

    /* INTERNAL */

    /// @dev Mostly one that has not been paid out long ago.
    function _someBatch(uint256 k, uint256 n) private view returns (uint32) {
        uint32 last = _number(k);
        if (last == 0) return 0;
        return n % 4 == 0 ? uint32(1 + (n / 4) % last) : last - uint32((n / 4) % _least(last, 3));
    }

    function _least(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
