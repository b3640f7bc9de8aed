// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../../src/interfaces/ISettlement.sol";
import {Packed} from "../../../src/libraries/Packed.sol";
import {Voucher} from "../../../src/types/Messages.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {Signing} from "../../utils/Signing.sol";
import {vm} from "../../utils/Vm.sol";

contract RedeemTest is SettlementFixture {
    uint256 private before;

    function setUp() public override {
        super.setUp();
        _open(DEPOSIT);
        before = token.balanceOf(keeper);
    }

    function _send(bytes memory items) private {
        vm.prank(stranger);
        settlement.redeem(keeper, items);
    }

    function _sendAsKeeper(bytes memory items) private {
        vm.prank(keeper);
        settlement.redeem(keeper, items);
    }

    function _earned() private view returns (uint256) {
        return token.balanceOf(keeper) - before;
    }

    function test_RevertWhen_TheListIsMalformed() external {
        vm.expectRevert(abi.encodeWithSelector(Packed.MalformedList.selector, 0, 124));
        _send("");
        vm.expectRevert(abi.encodeWithSelector(Packed.MalformedList.selector, 125, 124));
        _send(new bytes(125));
    }

    function test_RevertWhen_ItIsForABatch() external {
        Voucher memory v = _voucher(1, CAPA, keeper, CAPA);
        bytes memory item = Signing.collectItem(messages, domain, SESSION_KEY, v);
        vm.expectPartialRevert(ISettlement.TotalAboveDeposit.selector);
        _send(item);
    }

    function test_RevertWhen_AStrangerSigned() external {
        bytes memory item = Signing.collectItem(messages, domain, CLIENT_KEY, _voucher(0, CAPA, keeper, CAPA));
        bytes32 other = settlement.channelId(client, client, keeper);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.TotalAboveDeposit.selector, other, CAPA, 0));
        _send(item);
    }

    function test_RevertWhen_TheTotalIsWrong() external {
        bytes memory item = _direct(DEPOSIT + 1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.TotalAboveDeposit.selector, channelId, DEPOSIT + 1, DEPOSIT));
        _send(item);
        item = _direct(CAPA);
        _send(item);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.TotalNotAbove.selector, channelId, CAPA, CAPA));
        _send(item);
    }

    function test_WhenAllIsInOrder() external {
        bytes memory item = _direct(199);
        vm.expectEmit(address(settlement));
        emit ISettlement.Redeemed(channelId, keeper, 197, 2);
        _send(item);
        vm.assertEq(_earned(), 197, "199 nano at 1 % cost 2, rounded up");
        vm.assertEq(settlement.fees(), 2, "fees");
        vm.assertEq(_channel().spent, 199, "spent");
        vm.assertEq(_channel().settled, 199, "settled");
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
    }

    function test_TheCurrentRateCounts() external {
        vm.prank(governor);
        settlement.setFeeBps(0);
        _send(_direct(199));
        vm.assertEq(_earned(), 199, "no fee");
    }

    function testFuzz_AnyPath(uint64 first, uint64 second) external {
        first = uint64(1 + first % (DEPOSIT - 1));
        second = first + 1 + second % (DEPOSIT - first);
        _send(bytes.concat(_direct(first), _direct(second)));
        vm.assertEq(_earned() + settlement.fees(), second, "paid and fee are the rise");
        uint256 least = (uint256(second) * FEE_BPS + 9999) / 10_000;
        vm.assertLe(least, settlement.fees(), "each voucher rounds up");
        vm.assertLe(settlement.fees(), least + 1, "by one nano at most");
        vm.assertEq(_channel().settled, second, "settled");
    }

    function test_OneTransferForAll() external {
        vm.expectCall(address(token), abi.encodeWithSelector(token.transfer.selector), 1);
        _send(bytes.concat(_direct(100), _direct(200), _direct(300)));
        vm.assertEq(_earned(), 297, "keeper");
        vm.assertEq(settlement.fees(), 3, "fees");
    }

    /// @dev The keeper is not in the item: it is part of what was signed, so under another one the key is a stranger.
    function test_RevertWhen_ItIsForAnotherKeeper() external {
        bytes memory item = _direct(CAPA);
        vm.expectPartialRevert(ISettlement.TotalAboveDeposit.selector);
        settlement.redeem(bob, item);
    }

    function test_GivenAlsoAKeeper() external {
        _send(_direct(10 * CAPA));
        _bond();
        _collect(30 * CAPA);
        vm.assertEq(_channel().settled, 10 * CAPA, "what was redeemed before the bond is settled");
        bytes memory item = _direct(40 * CAPA);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NotTheKeeper.selector, stranger, keeper));
        _send(item);
        _sendAsKeeper(item);
        vm.assertEq(_keeper().debits, 20 * CAPA, "the batch's account is apart");
        vm.assertEq(_channel().spent - _channel().settled, 20 * CAPA, "the batch's debits stay unsettled");
        _commit(_leaves(ann, 20 * CAPA - 20 * CAPA / 100));
        _sendAsKeeper(_direct(50 * CAPA));
        vm.assertEq(_channel().spent - _channel().settled, 20 * CAPA, "while pending too");
        _skip(W);
        _sendAsKeeper(_direct(60 * CAPA));
        vm.assertEq(_channel().settled, 60 * CAPA, "a final batch is settled");
        _lapse();
        _sendAsKeeper(_direct(70 * CAPA));
        vm.assertEq(_channel().settled, 70 * CAPA, "after a wind-down too");
    }
}
