// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {ISettlement} from "../../../src/interfaces/ISettlement.sol";
import {Packed} from "../../../src/libraries/Packed.sol";
import {KeeperStatus} from "../../../src/types/KeeperState.sol";
import {Voucher} from "../../../src/types/Messages.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {Signing} from "../../utils/Signing.sol";
import {vm} from "../../utils/Vm.sol";

contract RecoverTest is SettlementFixture {
    function setUp() public override {
        super.setUp();
        _start();
    }

    function _send(bytes memory items) private {
        vm.prank(stranger);
        settlement.recover(keeper, items);
    }

    /// @dev An accepted voucher for a batch: `earned` for the provider, everything so far in `total`.
    function _accepted(uint32 number, uint64 total, address provider, uint64 earned)
        private
        view
        returns (bytes memory)
    {
        return _recovery(_voucher(number, total, provider, earned), earned);
    }

    function test_RevertGiven_NotWoundDown() external {
        bytes memory item = _accepted(1, CAPA, ann, CAPA);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, keeper, KeeperStatus.Active));
        _send(item);
    }

    function test_RevertWhen_ThePeriodIsOver() external {
        bytes memory item = _accepted(1, CAPA, ann, CAPA);
        _lapse();
        uint256 end = block.timestamp + X;
        vm.warp(end);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.TooLate.selector, end));
        _send(item);
        vm.warp(end - 1);
        _send(item);
        vm.assertEq(token.balanceOf(ann), CAPA, "the last second counts");
    }

    function test_RevertWhen_TheListIsMalformed() external {
        _lapse();
        vm.expectRevert(abi.encodeWithSelector(Packed.MalformedList.selector, 0, 228));
        _send("");
        vm.expectRevert(abi.encodeWithSelector(Packed.MalformedList.selector, 229, 228));
        _send(new bytes(229));
    }

    function test_RevertWhen_TheBatchIsFinal() external {
        _commitAnn(CAPA);
        _skip(W);
        _lapse();
        bytes memory item = _accepted(1, CAPA, ann, CAPA);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.WrongBatch.selector, 1, 2));
        _send(item);
    }

    function test_RevertWhen_TheKeeperDidNotSign() external {
        _lapse();
        Voucher memory v = _voucher(1, CAPA, ann, CAPA);
        bytes memory item = Signing.recoverItem(messages, domain, SESSION_KEY, CLIENT_KEY, v, CAPA);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NotSignedByKeeper.selector, client, keeper));
        _send(item);
    }

    function test_RevertWhen_TheAcceptanceIsForAnotherVoucher() external {
        _lapse();
        bytes memory item = _accepted(1, CAPA, ann, CAPA);
        // More earned than the accepted voucher says: the voucher's hash and so the acceptance's digest change.
        bytes memory richer = _accepted(1, CAPA, ann, 2 * CAPA);
        for (uint256 i = 52; i < 60; ++i) {
            item[i] = richer[i];
        }
        vm.expectPartialRevert(ISettlement.NotSignedByKeeper.selector);
        _send(item);
    }

    function test_RevertWhen_TheSessionKeyDidNotSign() external {
        _lapse();
        Voucher memory v = _voucher(1, CAPA, ann, CAPA);
        bytes memory item = Signing.recoverItem(messages, domain, CLIENT_KEY, KEEPER_KEY, v, CAPA);
        bytes32 other = settlement.channelId(client, client, keeper);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ChannelEmpty.selector, other));
        _send(item);
    }

    function test_WhenTheChannelHoldsEnough() external {
        _collect(10 * CAPA);
        _lapse();
        bytes memory item = _accepted(1, 30 * CAPA, ann, 20 * CAPA);
        vm.expectEmit(address(settlement));
        emit ISettlement.Recovered(channelId, ann, 1, 20 * CAPA);
        _send(item);
        vm.assertEq(token.balanceOf(ann), 20 * CAPA, "paid");
        vm.assertEq(_channel().spent, 30 * CAPA, "spent rises to the voucher's total");
        vm.assertEq(_channel().settled, 20 * CAPA, "settled");
        vm.assertEq(settlement.recovered(channelId, ann, 1), 20 * CAPA, "recovered");
        vm.assertEq(_keeper().bond, BOND - BOND / 10, "the bond is untouched");
    }

    function test_GivenClosing() external {
        vm.prank(client);
        settlement.close(session, keeper);
        uint32 thawAt = _channel().thawAt;
        bytes memory item = _accepted(1, CAPA, ann, CAPA);
        _lapse();
        _send(item);
        vm.assertEq(_channel().thawAt, thawAt, "the close goes on");
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
    }

    function test_WhenRecoveredAlready() external {
        _lapse();
        bytes memory old = _accepted(1, 10 * CAPA, ann, 10 * CAPA);
        bytes memory last = _accepted(1, 15 * CAPA, ann, 12 * CAPA);
        _send(old);
        _send(bytes.concat(old, last, last, old));
        vm.assertEq(token.balanceOf(ann), 12 * CAPA, "each nano once");
        _send(_accepted(1, 15 * CAPA, bob, 3 * CAPA));
        vm.assertEq(token.balanceOf(bob), 3 * CAPA, "nobody else lost");
        vm.assertEq(_keeper().bond, BOND - BOND / 10, "nothing was short");
    }

    function test_WhenALaterBatch() external {
        _commitAnn(10 * CAPA);
        bytes memory later = _accepted(2, 14 * CAPA, ann, 4 * CAPA);
        bytes memory first = _accepted(1, 10 * CAPA, ann, 99 * CAPA / 10);
        _void(bob, 1);
        uint256 before = token.balanceOf(ann);
        _send(bytes.concat(later, first));
        vm.assertEq(token.balanceOf(ann) - before, 4 * CAPA + 99 * CAPA / 10, "both batches");
    }

    function test_WhenTheLastBatchIsFinal() external {
        _commitAnn(60 * CAPA);
        _skip(W);
        _lapse();
        _send(_accepted(2, 70 * CAPA, bob, 10 * CAPA));
        vm.assertEq(token.balanceOf(bob), 10 * CAPA, "paid");
        vm.assertEq(_channel().settled, 70 * CAPA, "the final batch counts as settled");
        vm.assertEq(_channel().batch, 2, "batch");
    }

    function test_WhenTheTotalExceedsTheDeposit() external {
        _lapse();
        _send(_accepted(1, DEPOSIT + 5, ann, DEPOSIT));
        vm.assertEq(token.balanceOf(ann), DEPOSIT, "paid");
        vm.assertEq(_channel().spent, DEPOSIT, "spent");
        vm.assertEq(_keeper().bond, BOND - BOND / 10, "not short");
    }

    function test_WhenTheChannelIsShort() external {
        // The client and the keeper spent the deposit twice.
        bytes memory a = _accepted(1, DEPOSIT, ann, 70 * CAPA);
        bytes memory b = _accepted(1, DEPOSIT, bob, 70 * CAPA);
        bytes memory c = _accepted(1, DEPOSIT, cat, 70 * CAPA);
        _lapse();
        uint64 left = BOND - BOND / 10;
        uint256 supply = token.totalSupply();
        vm.expectEmit(address(settlement));
        emit ISettlement.BondForfeited(keeper, bob, left / 10, left - left / 10);
        _send(bytes.concat(a, b, c));
        vm.assertEq(token.balanceOf(ann), 70 * CAPA, "the first is paid");
        vm.assertEq(token.balanceOf(bob), 30 * CAPA + left / 10, "the second gets the rest, and a tenth of the bond");
        vm.assertEq(token.balanceOf(cat), 0, "the third nothing");
        vm.assertEq(supply - token.totalSupply(), left - left / 10, "burned");
        vm.assertEq(_keeper().bond, 0, "bond");
    }

    function testFuzz_InAnyOrder(uint64 one, uint64 two, bool swap) external {
        one = uint64(1 + one % (DEPOSIT / 2));
        two = uint64(1 + two % (DEPOSIT / 2));
        bytes memory a = _accepted(1, one, ann, one);
        bytes memory b = _accepted(1, one + two, bob, two);
        _lapse();
        _send(swap ? bytes.concat(b, a) : bytes.concat(a, b));
        vm.assertEq(token.balanceOf(ann), one, "ann");
        vm.assertEq(token.balanceOf(bob), two, "bob");
    }
}
