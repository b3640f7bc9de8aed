// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Channel} from "../../src/types/Channel.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {Leaf} from "../utils/ReferenceTree.sol";
import {vm} from "../utils/Vm.sol";
import {Griefers} from "./Griefers.sol";

/// @notice What the fuzzer calls: every party's actions, and at the end of each campaign the exit of everybody.
contract Handler is Griefers {
    constructor() {
        for (uint256 k; k < 2; ++k) {
            _must(k, keeperAt(k), abi.encodeCall(IEscrow.bond, (BOND, bondOwner)));
        }
        for (uint256 c; c < CHANNELS; ++c) {
            (address payer, address signer, address keeper) = _parties(c);
            _must(keeperOf(c), payer, abi.encodeCall(IEscrow.open, (signer, keeper, 1e12)));
            depositedIn[c] = 1e12;
        }
        _goOn();
    }

    /// @notice Invariants 9 and 16: all keepers vanish; what the others can do alone must pay everything out in THAW + X.
    function leave() external {
        uint256 start = block.timestamp;
        hasEveryoneLeft = true;
        for (uint256 c; c < CHANNELS; ++c) {
            _close(c);
        }
        for (uint256 k; k < KEEPERS; ++k) {
            if (_state(k).status == KeeperStatus.Active) {
                _must(k, bondOwner, abi.encodeCall(IEscrow.retire, (keeperAt(k))));
                retiredAt[k] = block.timestamp;
            }
        }
        _pass(start + THAW);
        _endWhatIsLate();
        _pass(start + THAW + X);
        _payOut();
        _check16NothingLeft();
    }

    /// @dev Keepers in whom the honest provider has no interest are ended by whoever wants its deposit back.
    function _endWhatIsLate() private {
        for (uint256 k; k < KEEPERS; ++k) {
            KeeperState memory s = _state(k);
            if (s.status == KeeperStatus.Retiring) _retireOrEnd(k, s);
        }
    }

    function _retireOrEnd(uint256 k, KeeperState memory s) private {
        bool isReady = !_isPending(k) && s.debits == 0 && block.timestamp >= uint256(s.endedAt) + U;
        if (isReady) _unbond(k);
        else if (_isPending(k)) this.endPending(k);
        else this.lapse(k, 0);
    }

    function endPending(uint256 k) external {
        for (uint256 i; i < PROVIDERS && _isLive(k); ++i) {
            this.void(k, i);
        }
    }

    function _payOut() private {
        for (uint256 k; k < KEEPERS; ++k) {
            _check9ReceivedAll(k);
            for (uint32 n = 1; n < _state(k).batch; ++n) {
                for (uint256 i; i < leavesOf(k, n).length; ++i) {
                    _claim(k, n, i);
                }
            }
            KeeperStatus status = _state(k).status;
            if (status != KeeperStatus.None && status != KeeperStatus.Closed) _unbond(k);
        }
        for (uint256 c; c < CHANNELS; ++c) {
            if (_channel(c).deposit != 0) _withdraw(c);
        }
        this.sweepFees();
    }

    /// @dev Left over: donations, and what a dishonest keeper committed so that nobody can prove it.
    function _check16NothingLeft() private view {
        uint256 left = donated;
        for (uint256 k; k < KEEPERS; ++k) {
            KeeperState memory s = _state(k);
            vm.assertEq(s.bond, 0, "16: a bond is stuck");
            vm.assertTrue(s.status != KeeperStatus.Active && s.status != KeeperStatus.Retiring, "16: a keeper lives on");
            for (uint32 n = 1; n < s.batch; ++n) {
                left += _unprovable(k, n);
            }
        }
        for (uint256 c; c < CHANNELS; ++c) {
            Channel memory ch = _channel(c);
            vm.assertEq(ch.deposit, ch.spent, "16: a deposit is stuck");
        }
        vm.assertEq(token.balanceOf(address(settlement)), left, "16: money is stuck");
    }

    /// @dev All of an inflated tree; of a tree with several leaves for one provider all but the largest, if claimed.
    function _unprovable(uint256 k, uint32 number) private view returns (uint256 sum) {
        sum = _batch(k, number).sum;
        if (isInflated[k][number]) return sum;
        if (settlement.distributed(keeperAt(k), number)) return 0;
        Leaf[] memory list = leavesOf(k, number);
        for (uint256 i; i <= PROVIDERS; ++i) {
            uint256 at = _largestLeaf(k, number, earnerAt(k, i));
            if (at != 0) sum -= list[at - 1].amount;
        }
    }
}
