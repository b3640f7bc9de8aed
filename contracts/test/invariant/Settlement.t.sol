// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Settlement} from "../../src/Settlement.sol";
import {Batch} from "../../src/types/Batch.sol";
import {Channel} from "../../src/types/Channel.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {vm} from "../utils/Vm.sol";
import {Handler} from "./Handler.sol";

/// @notice Numbers are those of the README in this folder.
contract SettlementInvariants {
    Handler private handler;
    Settlement private settlement;

    function setUp() public {
        handler = new Handler();
        settlement = handler.settlement();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev The public functions that only the handler itself calls.
    function excludeSelectors() external view returns (FuzzSelector[] memory excluded) {
        bytes4[] memory selectors = new bytes4[](2);
        selectors[0] = Handler.leave.selector;
        selectors[1] = Handler.endPending.selector;
        excluded = new FuzzSelector[](1);
        excluded[0] = FuzzSelector(address(handler), selectors);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev One campaign checks them all, because a campaign costs more than its checks.
    function invariant_Settlement() external view {
        _check1ChannelOrder();
        _check2DebitsOfLiveKeepers();
        _check3Conservation();
        _check4NoBatchPaysMoreThanItsSum();
        _check6AClientPaysAtMostWhatItSigned();
        _check8TheHonestKeeperLives();
    }

    function afterInvariant() external {
        handler.leave();
    }

    function _channel(uint256 c) private view returns (Channel memory) {
        return settlement.channel(handler.channelIdAt(c));
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
            uint256 debits = uint256(s.debits) + pending.sum + pending.fee;
            vm.assertEq(handler.unsettledOf(k), debits, "2: unsettled = debits + sum + fee");
        }
    }

    function _check3Conservation() private view {
        uint256 owed = settlement.fees() + handler.donated();
        for (uint256 c; c < handler.CHANNELS(); ++c) {
            Channel memory ch = _channel(c);
            owed += ch.deposit - ch.spent;
        }
        for (uint256 k; k < handler.KEEPERS(); ++k) {
            address keeper = handler.keeperAt(k);
            KeeperState memory s = settlement.keeper(keeper);
            owed += s.bond + handler.unsettledOf(k);
            for (uint32 n = 1; n < s.batch; ++n) {
                owed += settlement.batch(keeper, n).sum - handler.paidOf(k, n);
            }
        }
        vm.assertEq(handler.token().balanceOf(address(settlement)), owed, "3: every nano held is owed to somebody");
    }

    function _check4NoBatchPaysMoreThanItsSum() private view {
        for (uint256 k; k < handler.KEEPERS(); ++k) {
            address keeper = handler.keeperAt(k);
            uint32 last = settlement.keeper(keeper).batch;
            for (uint32 n = last > 4 ? last - 4 : 1; n <= last; ++n) {
                uint256 paid = handler.paidOf(k, n);
                vm.assertLe(paid, settlement.batch(keeper, n).sum, "4: paid <= sum");
                if (n == last || handler.isInflated(k, n)) vm.assertEq(paid, 0, "4: paid without right");
            }
        }
    }

    /// @dev After a wind-down the withdrawal lowers `spent` and `deposit` together.
    function _check6AClientPaysAtMostWhatItSigned() private view {
        for (uint256 c; c < handler.CHANNELS(); ++c) {
            Channel memory ch = _channel(c);
            uint256 gone = handler.depositedIn(c) - handler.withdrawnFrom(c) - (ch.deposit - ch.spent);
            vm.assertLe(gone, handler.signedMost(c), "6: gone <= highest total signed");
        }
    }

    function _check8TheHonestKeeperLives() private view {
        KeeperStatus status = settlement.keeper(handler.keeperAt(0)).status;
        vm.assertTrue(status != KeeperStatus.WoundDown, "8: an honest keeper was wound down");
    }
}
