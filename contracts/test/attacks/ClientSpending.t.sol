// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Voucher} from "../../src/types/Messages.sol";
import {vm} from "../utils/Vm.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice A client pays at most what its session key signed, and at most its deposit; it need not watch the chain.
contract ClientSpendingAttacks is AttackFixture {
    function setUp() public override {
        super.setUp();
        _start();
    }

    function test_AKeeperCannotDebitMoreThanTheSessionKeySigned() external {
        bytes memory item = _item(_voucher(1, 40 * CAPA, ann, 39 * CAPA));
        // 41 CAPA in the bytes that the session key signed as 40.
        uint64 raised = 41 * CAPA;
        for (uint256 i; i < 8; ++i) {
            item[20 + i] = bytes8(raised)[i];
        }
        _collectMustFail(item, ISettlement.TotalAboveDeposit.selector);
        vm.assertEq(_channel().spent, 0, "nothing was debited");
    }

    function test_AKeeperCannotDebitMoreThanTheDeposit() external {
        bytes memory item = _item(_voucher(1, 100 * CAPA + 1, ann, 99 * CAPA));
        _collectMustFail(item, ISettlement.TotalAboveDeposit.selector);
        _collectItems(_item(_voucher(1, 100 * CAPA, ann, 99 * CAPA)));
        vm.assertEq(_channel().spent, 100 * CAPA, "all of the deposit, and no more");
    }

    function test_ARecoveryCannotTakeMoreThanTheDeposit() external {
        Voucher memory v = _voucher(1, 150 * CAPA, ann, 150 * CAPA);
        _lapse();
        _recover(_recovery(v, 150 * CAPA));
        vm.assertEq(token.balanceOf(ann), 100 * CAPA + BOND * 9 / 10 / 10, "the deposit, and a tenth of the bond left");
        vm.assertEq(token.balanceOf(address(settlement)), 0, "which was all there was");
    }

    function test_AnOlderVoucherDebitsNothingMore() external {
        _collectItems(_item(_voucher(1, 40 * CAPA, ann, 39 * CAPA)));
        _collectMustFail(_item(_voucher(1, 30 * CAPA, ann, 29 * CAPA)), ISettlement.TotalNotAbove.selector);
        _collectMustFail(_item(_voucher(1, 40 * CAPA, ann, 39 * CAPA)), ISettlement.TotalNotAbove.selector);
        vm.assertEq(_keeper().debits, 40 * CAPA, "40, not 70 or 80");
    }

    function test_AListCannotDebitOneVoucherTwice() external {
        bytes memory item = _item(_voucher(1, 40 * CAPA, ann, 39 * CAPA));
        _collectMustFail(bytes.concat(item, item), ISettlement.TotalNotAbove.selector);
    }

    function test_TheWalletKeyOfAPayerSpendsNothing() external {
        bytes memory item = _sign(CLIENT_KEY, _voucher(1, 40 * CAPA, ann, 39 * CAPA));
        _collectMustFail(item, ISettlement.TotalAboveDeposit.selector);
    }

    function test_ASessionKeySpendsOnlyItsOwnChannelOfAPayer() external {
        vm.prank(client);
        settlement.open(mallorySession, keeper, 5 * CAPA);
        // Mallory holds a small session key of this payer, whose other channel has 100 CAPA.
        bytes memory item = _sign(MALLORY_SESSION_KEY, _voucher(1, 40 * CAPA, ann, 39 * CAPA));
        _collectMustFail(item, ISettlement.TotalAboveDeposit.selector);
        _collectItems(_sign(MALLORY_SESSION_KEY, _voucher(1, 5 * CAPA, ann, 4 * CAPA)));
        vm.assertEq(_channel().spent, 0, "the other channel is untouched");
    }

    function test_AStrangerCannotOpenADebtForAPayer() external {
        // Mallory signs as the session key of a channel that the client never opened.
        bytes memory item = _sign(MALLORY_SESSION_KEY, _voucher(1, CAPA, ann, CAPA));
        _collectMustFail(item, ISettlement.TotalAboveDeposit.selector);
    }

    /// @dev Everything at once: debit, hidden leaves, a self-made challenge, a recovery for an accomplice.
    function test_AClientThatNeverLooksLosesWhatItSignedAndNoMore() external {
        Voucher memory v = _voucher(1, 40 * CAPA, mallory, 40 * CAPA);
        _collectItems(_item(v));
        _commitGarbage();
        _void(mallory, 1);
        _recover(_recovery(v, 40 * CAPA));
        _skip(X);
        vm.assertEq(_withdraw(), 60 * CAPA, "100 less the 40 that its session key signed");
    }
}
