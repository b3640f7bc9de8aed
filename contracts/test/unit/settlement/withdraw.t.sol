// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract WithdrawTest is SettlementFixture {
    function _close() private {
        vm.prank(client);
        settlement.close(session, keeper);
    }

    function _withdraw() private {
        vm.prank(client);
        settlement.withdraw(session, keeper);
    }

    function _assertPays(uint256 amount, string memory label) private {
        uint256 before = token.balanceOf(client);
        _withdraw();
        vm.assertEq(token.balanceOf(client) - before, amount, label);
    }

    function test_RevertGiven_NotClosing() external {
        _start();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotClosing.selector, channelId));
        _withdraw();
    }

    function test_RevertGiven_NotThawed() external {
        _start();
        _close();
        uint256 thawAt = block.timestamp + THAW;
        vm.warp(thawAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.TooEarly.selector, thawAt));
        _withdraw();
    }

    function test_GivenThawed() external {
        _start();
        _close();
        _collect(30 * CAPA);
        _skip(THAW);
        vm.expectEmit(address(settlement));
        emit IEscrow.Withdrawn(channelId, 70 * CAPA);
        _assertPays(70 * CAPA, "paid");
        vm.assertEq(_channel().deposit, 30 * CAPA, "deposit");
        vm.assertEq(_channel().spent, 30 * CAPA, "spent stays");
        vm.assertEq(_channel().thawAt, 0, "no longer closing");
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotClosing.selector, channelId));
        _withdraw();
    }

    function test_GivenThawedDirect() external {
        _open(DEPOSIT);
        _close();
        _skip(THAW);
        _assertPays(DEPOSIT, "paid");
    }

    function test_GivenClosed() external {
        _start();
        vm.prank(bondOwner);
        settlement.retire(keeper);
        _skip(U);
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        _assertPays(DEPOSIT, "paid without a close");
        _assertPays(0, "and only once");
    }

    function test_RevertGiven_WoundDownTooEarly() external {
        _start();
        _close();
        _skip(THAW);
        _lapse();
        uint256 end = block.timestamp + X;
        vm.warp(end - 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.TooEarly.selector, end));
        _withdraw();
    }

    function test_GivenWoundDownWithDebits() external {
        _start();
        _collect(30 * CAPA);
        _lapse();
        _skip(X);
        _assertPays(DEPOSIT, "the void batch's debit comes back");
        vm.assertEq(_channel().deposit, 0, "deposit");
        vm.assertEq(_channel().spent, 0, "spent");
        _assertPays(0, "and only once");
    }

    function test_GivenWoundDownAfterAFinalBatch() external {
        _start();
        _commitAnn(30 * CAPA);
        _skip(W);
        _lapse();
        _skip(X);
        _assertPays(70 * CAPA, "the final batch stays paid");
        vm.assertEq(_channel().deposit, 30 * CAPA, "deposit");
        vm.assertEq(_channel().settled, 30 * CAPA, "settled");
    }

    function test_GivenWoundDownWithBoth() external {
        _start();
        _commitAnn(30 * CAPA);
        _skip(W);
        _collect(50 * CAPA);
        _lapse();
        _skip(X);
        _assertPays(70 * CAPA, "all but the final batch");
    }
}
