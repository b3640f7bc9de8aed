// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Channel} from "../../src/types/Channel.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {Leaf} from "../utils/ReferenceTree.sol";
import {HonestProvider} from "./HonestProvider.sol";
import {Held} from "./World.sol";

/// @notice Keepers 1 and 2: they collect whatever is signed, and commit what they like. They keep their heartbeat and
/// answer while it suits them, at the last moment.
abstract contract DishonestKeepers is HonestProvider {
    /// @dev What honest clients signed, accepted or not: all of it is in the keeper's hands.
    mapping(uint256 c => Held[]) internal vouchers;
    bool internal isPaused;

    function _dishonest(uint256 k) internal pure returns (uint256) {
        return 1 + k % 2;
    }

    function bond(uint256 k, uint64 amount) external step {
        k %= KEEPERS;
        KeeperStatus status = _state(k).status;
        bytes memory data = abi.encodeCall(IEscrow.bond, (BOND + amount % BOND, bondOwner));
        // The address with direct channels stays without a bond for some time.
        if (status == KeeperStatus.None && amount % 2 != 0) return;
        if (isPaused || (status != KeeperStatus.None && status != KeeperStatus.Active)) {
            _mustNot(k, keeperAt(k), data, "a bond was taken that must not be");
        } else {
            _must(k, keeperAt(k), data);
        }
    }

    function retire(uint256 k, uint256 chance) external step {
        k %= KEEPERS;
        if (chance % 16 != 0 || _state(k).status != KeeperStatus.Active) return;
        _must(k, bondOwner, abi.encodeCall(IEscrow.retire, (keeperAt(k))));
        retiredAt[k] = block.timestamp;
        if (k != HONEST) _unbond(k);
    }

    function unbond(uint256 k) external step {
        k %= KEEPERS;
        if (k == HONEST && !_owesNothing()) return;
        _unbond(k);
    }

    function _unbond(uint256 k) internal {
        KeeperState memory s = _state(k);
        bytes memory data = abi.encodeCall(IEscrow.unbond, (keeperAt(k)));
        bool due = s.status == KeeperStatus.WoundDown && block.timestamp >= uint256(s.endedAt) + X;
        if (s.status == KeeperStatus.Retiring) {
            due = block.timestamp >= uint256(s.endedAt) + U && !_isPending(k) && s.debits == 0;
        }
        if (due) _pay(k, bondOwner, data);
        else _mustNot(k, bondOwner, data, "a bond was paid that must not be");
    }

    function collect(uint256 k, uint256 seed) external step {
        _collectAnything(_dishonest(k), seed);
    }

    /// @dev Of honest clients the newest voucher for this batch, accepted or not; of others whatever they sign now.
    function _collectAnything(uint256 k, uint256 seed) internal {
        if (!_isLive(k)) return;
        bytes memory items;
        for (uint256 i; i < 4; ++i) {
            uint256 c = 4 * k + i;
            if ((seed >> (8 * i)) % 4 == 0) continue;
            Held memory h = _isHonestClient(c) ? _newestOf(c, _number(k)) : _signAnything(c, _number(k), seed);
            Channel memory ch = _channel(c);
            if (h.total <= ch.spent || h.total > ch.deposit) continue;
            _signed(h);
            items = bytes.concat(items, _collectItem(h));
        }
        if (items.length == 0) return;
        bytes memory data = abi.encodeCall(ISettlement.collect, (items));
        if (_isPending(k)) _mustNot(k, keeperAt(k), data, "2: collected while a batch is pending");
        else _must(k, keeperAt(k), data);
    }

    function _newestOf(uint256 c, uint32 number) private view returns (Held memory h) {
        for (uint256 i = vouchers[c].length; i != 0; --i) {
            h = vouchers[c][i - 1];
            if (h.batch == number) return h;
        }
        h.total = 0;
    }

    function _signAnything(uint256 c, uint32 number, uint256 seed) private view returns (Held memory h) {
        Channel memory ch = _channel(c);
        uint256 free = ch.deposit - ch.spent;
        h.channel = c;
        h.batch = number;
        h.provider = keeperAt(keeperOf(c));
        if (free != 0) h.total = ch.spent + 1 + uint64(uint256(keccak256(abi.encode(seed, c))) % free);
    }

    function commit(uint256 k, uint256 seed) external step {
        _commitAnything(_dishonest(k), seed);
    }

    function _commitAnything(uint256 k, uint256 seed) internal {
        if (!_isLive(k) || _isPending(k)) return;
        // A keeper rarely commits without debits.
        if (seed % 8 != 0) _collectAnything(k, seed >> 8);
        KeeperState memory s = _state(k);
        uint32 number = _number(k);
        uint64 sum = s.debits - uint64(uint256(s.debits) * _rate(k, number) / BPS);
        uint256 mode = (seed >> 3) % 8;
        Leaf[] memory leaves = mode < 6 ? _promisedLeaves(k, number, sum) : _split(k, sum, seed);
        bool inflated = mode == 7 && sum != 0;
        for (uint256 i; inflated && i < leaves.length; ++i) {
            leaves[i].amount *= 2;
        }
        _fix(k, number, leaves, inflated, (seed >> 6) % 3 != 0);
        _must(k, keeperAt(k), _commitCall(leaves, sum, bytes32(seed)));
    }

    /// @dev What the keeper promised, as far as the sum reaches: providers that come late in the list may get nothing.
    function _promisedLeaves(uint256 k, uint32 number, uint64 sum) private view returns (Leaf[] memory leaves) {
        for (uint256 i; i < PROVIDERS; ++i) {
            uint64 owed = promised[k][number][_provider(i)];
            if (owed == 0 || owed > sum) continue;
            leaves = _append(leaves, Leaf(_provider(i), owed));
            sum -= owed;
        }
        leaves = _append(leaves, Leaf(keeperAt(k), sum));
    }

    /// @dev Splits a sum in up to five leaves of any provider: some get several, some none.
    function _split(uint256 k, uint64 sum, uint256 seed) private view returns (Leaf[] memory leaves) {
        uint256 count = 1 + seed % 5;
        for (uint256 i; i < count; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            uint64 share = i + 1 < count ? uint64(word % (uint256(sum) + 1)) : sum;
            leaves = _append(leaves, Leaf(earnerAt(k, (word >> 128) % (PROVIDERS + 1)), share));
            sum -= share;
        }
    }

    /// @dev Shows the provider's largest leaf, if there is one. It does not help if it is too small.
    function _answerIfProvable(uint256 k, address provider) internal {
        if (!_isLive(k) || !_isPending(k)) return;
        uint32 number = _number(k);
        uint256 at = _largestLeaf(k, number, provider);
        if (at == 0 || isInflated[k][number] || _batch(k, number).sum == 0) return;
        uint64 owed = settlement.challenged(keeperAt(k), number, provider).owed;
        uint32 deadline = settlement.challenged(keeperAt(k), number, provider).deadline;
        if (deadline == 0 || block.timestamp > deadline) return;
        bytes memory data = _answerCall(k, number, at - 1);
        if (leavesOf(k, number)[at - 1].amount < owed) {
            _mustNot(k, keeperAt(k), data, "9: a challenge was answered with less than was promised");
            return;
        }
        _must(k, keeperAt(k), data);
        shownLeaf[k][number][provider] = at;
    }
}
