// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {Leaf} from "../utils/ReferenceTree.sol";
import {Calls} from "../utils/Calls.sol";
import {vm} from "../utils/Vm.sol";
import {HonestKeeper} from "./HonestKeeper.sol";
import {Held} from "./World.sol";

/// @notice Provider 0 as section 9 wants it: which acceptances it counts, and what it does about them.
abstract contract HonestProvider is HonestKeeper {
    /// @dev The counted acceptance with the highest `owed`.
    mapping(uint256 k => mapping(uint32 number => Held)) internal owedMost;
    /// @dev The newest counted acceptance of each channel, and their earnings added up.
    mapping(uint32 number => mapping(uint256 c => Held)) internal counted;
    mapping(uint256 k => mapping(uint32 number => uint64)) private earnedIn;
    /// @dev It has seen the batch's commit: no more acceptances for it.
    mapping(uint256 k => mapping(uint32 number => bool)) internal hasSeenCommit;
    /// @dev It has seen the wind-down.
    mapping(uint256 k => bool) internal hasSeenEnd;
    /// @dev When a closing channel was closed.
    mapping(uint256 c => uint256) internal closedAt;
    /// @dev The contract forgets it when the keeper is wound down.
    mapping(uint256 k => uint256) internal retiredAt;
    /// @dev What a keeper refused of the vouchers that honest clients signed in a channel.
    mapping(uint256 c => uint64) internal refused;
    uint256 public countedTimes;

    /// @dev Section 9, "before counting an acceptance", on the oldest view of the chain that it may act on.
    function _count(Held memory h) internal {
        uint256 k = keeperOf(h.channel);
        if (h.provider != _provider(HONEST) || hasSeenEnd[k] || hasSeenCommit[k][h.batch]) return;
        Held storage last = counted[h.batch][h.channel];
        if (h.total > _channel(h.channel).deposit || h.earned <= last.earned) return;
        uint64 sum = earnedIn[k][h.batch] + h.earned - last.earned;
        if (h.owed < sum || !_isCountable(k, h)) return;

        earnedIn[k][h.batch] = sum;
        counted[h.batch][h.channel] = h;
        countedTimes += 1;
        if (h.owed > owedMost[k][h.batch].owed) owedMost[k][h.batch] = h;
    }

    /// @dev Whether some view of the chain, at most D old, shows the channel open, the keeper Active, and the batch as
    /// the open one or the next. A late commit is told by the clock, which no view delays.
    function _isCountable(uint256 k, Held memory h) private view returns (bool) {
        KeeperState memory s = _state(k);
        if (s.status == KeeperStatus.None || s.status == KeeperStatus.Closed) return false;
        uint256 view_ = block.timestamp;
        if (s.endedAt != 0) view_ = _min(view_, s.endedAt);
        if (retiredAt[k] != 0) view_ = _min(view_, retiredAt[k]);
        if (_channel(h.channel).thawAt != 0) view_ = _min(view_, closedAt[h.channel]);
        uint32 number = _number(k);
        uint32 committedAt = _batch(k, number).committedAt;
        if (committedAt == 0 && block.timestamp > _since(k) + T) return false;
        if (h.batch == number && committedAt != 0) view_ = _min(view_, committedAt);
        return (h.batch == number || h.batch == number + 1) && block.timestamp - view_ <= D;
    }

    /// @dev It has money in the batch that comes next to be final, or in the one after it.
    function _isInterested(uint256 k) internal view returns (bool) {
        uint32 number = _number(k);
        return owedMost[k][number].owed != 0 || owedMost[k][number + 1].owed != 0;
    }

    /// @dev Holds the proof of a leaf that is large enough, from the published leaves or from an answer.
    function _knowsLeaf(uint256 k, uint32 number, uint64 least) internal view returns (bool) {
        address self = _provider(HONEST);
        uint256 at = isPublished[k][number] ? _largestLeaf(k, number, self) : shownLeaf[k][number][self];
        if (at == 0 || isInflated[k][number]) return false;
        return leavesOf(k, number)[at - 1].amount >= least;
    }

    /// @dev Section 9, "after a commit". Empty if it holds its proof.
    function _challengeCall(uint256 k, uint32 number) internal returns (bytes memory) {
        hasSeenCommit[k][number] = true;
        Held memory h = owedMost[k][number];
        if (h.owed == 0 || _knowsLeaf(k, number, h.owed)) return "";
        return abi.encodeCall(ISettlement.challenge, (keeperAt(k), _acceptance(h)));
    }

    /// @dev Section 9, "after a wind-down": everything it holds, in one list. Of each channel the higher total comes first,
    /// because it raises what the channel has spent, from which the other is paid too.
    function _recoverCall(uint256 k) internal returns (bytes memory) {
        hasSeenEnd[k] = true;
        uint32 number = _state(k).batch;
        bytes memory items;
        for (uint256 c = 4 * k; c < 4 * k + 4; ++c) {
            (Held memory a, Held memory b) = (counted[number][c], counted[number + 1][c]);
            if (a.total < b.total) (a, b) = (b, a);
            if (a.earned != 0) items = bytes.concat(items, _recoverItem(a));
            if (b.earned != 0) items = bytes.concat(items, _recoverItem(b));
        }
        if (items.length == 0) return "";
        return abi.encodeCall(ISettlement.recover, (keeperAt(k), items));
    }

    function _check11ShortMeansForfeit(uint256 k) internal view {
        KeeperState memory s = _state(k);
        for (uint256 c = 4 * k; c < 4 * k + 4; ++c) {
            uint64 due = _due(c, s.batch) + _due(c, s.batch + 1);
            if (due != 0) vm.assertEq(s.bond, 0, "11: a short recovery forfeits the bond");
        }
    }

    /// @dev The money of a channel is there until every acceptance for it is settled one way or the other.
    function _check10NothingOutstanding(uint256 c) internal view {
        uint256 k = keeperOf(c);
        if (!_isLive(k)) return;
        uint32 number = _number(k);
        uint64 open = counted[number][c].earned + counted[number + 1][c].earned;
        vm.assertEq(open, 0, "10: a withdrawal came before the batch of a counted acceptance was settled");
    }

    /// @dev Claims what it can prove with what it knows, and compares with what it counted. Once nothing is pending.
    function _check9ReceivedAll(uint256 k) internal {
        KeeperState memory s = _state(k);
        for (uint32 n = 1; n < s.batch; ++n) {
            uint64 owed = owedMost[k][n].owed;
            if (owed != 0) vm.assertLe(owed, _receiveFrom(k, n), "9: a final batch paid less than was accepted");
        }
        if (s.status != KeeperStatus.WoundDown) return;
        for (uint256 c = 4 * k; c < 4 * k + 4; ++c) {
            if (!_isHonestClient(c)) continue;
            uint256 due = _due(c, s.batch) + _due(c, s.batch + 1);
            vm.assertLe(due, uint256(refused[c]), "9: a wind-down paid less than was accepted and not refused");
        }
    }

    /// @dev What is missing from a channel for a void batch.
    function _due(uint256 c, uint32 number) private view returns (uint64) {
        uint64 got = settlement.recovered(channelIdAt(c), _provider(HONEST), number);
        uint64 earned = counted[number][c].earned;
        return earned > got ? earned - got : 0;
    }

    function _receiveFrom(uint256 k, uint32 number) private returns (uint256 received) {
        address self = _provider(HONEST);
        Leaf[] memory list = leavesOf(k, number);
        if (settlement.distributed(keeperAt(k), number)) {
            for (uint256 i; i < list.length; ++i) {
                if (list[i].provider == self) received += list[i].amount;
            }
            return received;
        }
        if (_knowsLeaf(k, number, 1)) {
            uint256 i = _largestLeaf(k, number, self) - 1;
            _pay(k, self, Calls.claim(keeperAt(k), number, list, i));
        }
        return settlement.paid(keeperAt(k), self, number);
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
