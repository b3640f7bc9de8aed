// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Settlement} from "../../src/Settlement.sol";
import {Batch} from "../../src/types/Batch.sol";
import {Channel} from "../../src/types/Channel.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {vm} from "../utils/Vm.sol";
import {SettlementHandler} from "./SettlementHandler.sol";

/// @notice Numbers are those of the README in this folder.
contract SettlementInvariants {
    SettlementHandler private handler;
    Settlement private settlement;

    function setUp() public {
        handler = new SettlementHandler();
        settlement = handler.settlement();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev One campaign checks them all, because a campaign costs more than its checks.
    function invariant_Settlement() external view {
        _check1ChannelOrder();
        _check2DebitsOfLiveKeepers();
        _check3Conservation();
        _check4NoBatchPaysMoreThanItsSum();
        _check6AClientPaysAtMostWhatItSigned();
    }

    function _channel(uint256 c) private view returns (Channel memory) {
        return settlement.channel(handler.channelIdAt(c));
    }

    /// @dev Spent and not settled, over the channels of the keeper's batch: the left side of invariant 2.
    function _unsettled(uint256 k) private view returns (uint256 sum) {
        uint32 number = settlement.keeper(handler.keeperAt(k)).batch;
        for (uint256 c; c < handler.CHANNELS(); ++c) {
            Channel memory ch = _channel(c);
            if ((c / 4) % 2 == k && ch.batch == number) sum += ch.spent - ch.settled;
        }
    }

    function _paidOf(address keeper, uint32 number) private view returns (uint256 sum) {
        if (settlement.distributed(keeper, number)) return settlement.batch(keeper, number).sum;
        for (uint256 i; i < handler.PROVIDERS(); ++i) {
            sum += settlement.paid(keeper, handler.providerAt(i), number);
        }
    }

    function _check1ChannelOrder() private view {
        for (uint256 c; c < handler.CHANNELS(); ++c) {
            Channel memory ch = _channel(c);
            vm.assertLe(ch.settled, ch.spent, "1: settled <= spent");
            vm.assertLe(ch.spent, ch.deposit, "1: spent <= deposit");
        }
    }

    function _check2DebitsOfLiveKeepers() private view {
        for (uint256 k; k < handler.KEEPERS(); ++k) {
            address keeper = handler.keeperAt(k);
            KeeperState memory s = settlement.keeper(keeper);
            if (s.status != KeeperStatus.Active && s.status != KeeperStatus.Retiring) continue;
            Batch memory pending = settlement.batch(keeper, s.batch);
            vm.assertEq(
                _unsettled(k), uint256(s.debits) + pending.sum + pending.fee, "2: unsettled = debits + sum + fee"
            );
        }
    }

    function _check3Conservation() private view {
        uint256 owed = settlement.fees();
        for (uint256 c; c < handler.CHANNELS(); ++c) {
            Channel memory ch = _channel(c);
            owed += ch.deposit - ch.spent;
        }
        for (uint256 k; k < handler.KEEPERS(); ++k) {
            address keeper = handler.keeperAt(k);
            KeeperState memory s = settlement.keeper(keeper);
            owed += s.bond + _unsettled(k);
            for (uint32 n = 1; n < s.batch; ++n) {
                owed += settlement.batch(keeper, n).sum - _paidOf(keeper, n);
            }
        }
        vm.assertEq(handler.token().balanceOf(address(settlement)), owed, "3: every nano held is owed to somebody");
    }

    function _check4NoBatchPaysMoreThanItsSum() private view {
        for (uint256 k; k < handler.KEEPERS(); ++k) {
            address keeper = handler.keeperAt(k);
            uint32 last = settlement.keeper(keeper).batch;
            for (uint32 n = 1; n <= last; ++n) {
                uint256 paid = _paidOf(keeper, n);
                vm.assertLe(paid, settlement.batch(keeper, n).sum, "4: paid <= sum");
                if (n == last || handler.isInflated(handler.keyOf(k, n))) {
                    vm.assertEq(paid, 0, "4: paid without right");
                }
            }
        }
    }

    function _check6AClientPaysAtMostWhatItSigned() private view {
        for (uint256 c; c < handler.CHANNELS(); ++c) {
            bytes32 id = handler.channelIdAt(c);
            uint256 gone = handler.depositedIn(id) - handler.withdrawnFrom(id) - settlement.available(id);
            vm.assertLe(gone, handler.signedMost(id), "6: gone <= highest total signed");
        }
    }
}
