// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Channel} from "../../src/types/Channel.sol";
import {KeeperStatus} from "../../src/types/KeeperState.sol";
import {Leaf} from "../utils/ReferenceTree.sol";
import {Ledger} from "./Ledger.sol";
import {Held} from "./World.sol";

/// @notice Keeper 0 as section 9 wants it: what it accepts, how it closes a batch, and what it commits.
abstract contract HonestKeeper is Ledger {
    /// @dev Nano per voucher.
    uint64 internal constant OWN_FEE = 3;

    /// @dev The batch that vouchers are accepted for: the first that is not final, or the one after it.
    uint32 internal filling = 1;
    mapping(uint256 c => uint64) internal lastTotal;
    mapping(bytes32 key => uint64) private lastEarned;
    mapping(uint32 number => mapping(address provider => uint64)) private owedBy;
    mapping(uint32 number => mapping(uint256 c => Held)) private newest;

    /// @dev Section 9, "before accepting". Writes into `h` what the keeper then owes, and remembers the voucher.
    function _accept(Held memory h) internal returns (bool) {
        Channel memory ch = _channel(h.channel);
        if (_state(HONEST).status != KeeperStatus.Active || ch.thawAt != 0 || h.total > ch.deposit) return false;
        bytes32 key = keyOf(h.channel, h.provider, h.batch);
        uint64 last = lastTotal[h.channel];
        if (h.batch != filling || h.earned <= lastEarned[key] || h.total <= last) return false;
        uint64 rise = h.total - last;
        uint64 more = h.earned - lastEarned[key];
        if (rise < more + _feeUp(rise, _rate(HONEST, h.batch)) + OWN_FEE) return false;

        lastTotal[h.channel] = h.total;
        lastEarned[key] = h.earned;
        h.owed = owedBy[h.batch][h.provider] + more;
        owedBy[h.batch][h.provider] = h.owed;
        newest[h.batch][h.channel] = h;
        _remember(h);
        return true;
    }

    /// @dev Closes the open batch for all channels in one step and signs both transactions. The commit is right whatever
    /// else happens until it lands, because nobody but the keeper changes its debits.
    function _closeBatch() internal returns (bytes memory collectCall, bytes memory commitCall) {
        uint32 number = _number(HONEST);
        if (filling == number) filling = number + 1;
        bytes memory items;
        uint64 debits;
        for (uint256 c; c < 4; ++c) {
            Held memory h = newest[number][c];
            if (h.total == 0) continue;
            items = bytes.concat(items, _collectItem(h));
            debits += h.total - _channel(c).spent;
        }
        uint64 sum = debits - uint64(uint256(debits) * _rate(HONEST, number) / BPS);
        Leaf[] memory leaves = _earnings(number, sum);
        _fix(HONEST, number, leaves, false, true);
        if (items.length != 0) collectCall = abi.encodeCall(ISettlement.collect, (items));
        commitCall = _commitCall(leaves, sum, "published");
    }

    /// @dev What each provider is owed; the rest is the keeper's.
    function _earnings(uint32 number, uint64 sum) private view returns (Leaf[] memory leaves) {
        for (uint256 i; i < PROVIDERS; ++i) {
            uint64 owed = owedBy[number][_provider(i)];
            if (owed == 0) continue;
            leaves = _append(leaves, Leaf(_provider(i), owed));
            sum -= owed;
        }
        leaves = _append(leaves, Leaf(keeperAt(HONEST), sum));
    }

    /// @dev It does not take its bond while it owes for a batch that is not final.
    function _owesNothing() internal view returns (bool) {
        uint32 number = _number(HONEST);
        for (uint256 i; i < PROVIDERS; ++i) {
            if (owedBy[number][_provider(i)] + owedBy[number + 1][_provider(i)] != 0) return false;
        }
        return true;
    }

    /// @dev The keeper may stop filling a batch long before it commits it, but not before the previous one is final.
    function closeBatchEarly(uint256 chance) external step {
        if (chance % 4 == 0 && _isLive(HONEST) && !_isPending(HONEST)) filling = _number(HONEST) + 1;
    }
}
