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

contract CollectTest is SettlementFixture {
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    function setUp() public override {
        super.setUp();
        _start();
    }

    function _send(bytes memory items) private {
        vm.prank(keeper);
        settlement.collect(items);
    }

    function _total(uint64 total) private view returns (bytes memory) {
        return _item(_voucher(1, total, ann, total));
    }

    function test_RevertGiven_NotAKeeper() external {
        bytes memory item = _total(CAPA);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, stranger, KeeperStatus.None));
        vm.prank(stranger);
        settlement.collect(item);
    }

    function test_RevertGiven_WoundDown() external {
        bytes memory item = _total(CAPA);
        _lapse();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, keeper, KeeperStatus.WoundDown));
        _send(item);
    }

    function test_RevertGiven_Pending() external {
        _heartbeat();
        bytes memory item = _item(_voucher(2, CAPA, ann, CAPA));
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BatchPending.selector, keeper, 1));
        _send(item);
    }

    function test_RevertWhen_TheListIsMalformed() external {
        vm.expectRevert(abi.encodeWithSelector(Packed.MalformedList.selector, 0, 124));
        _send("");
        bytes memory cut = new bytes(123);
        vm.expectRevert(abi.encodeWithSelector(Packed.MalformedList.selector, 123, 124));
        _send(cut);
    }

    function _withSignature(bytes32 r, bytes32 vs) private view returns (bytes memory) {
        Voucher memory v = _voucher(1, CAPA, ann, CAPA);
        return abi.encodePacked(v.payer, v.total, messages.hashAllocation(v.latest), r, vs);
    }

    function test_RevertWhen_SIsHigh() external {
        // The least s above half of the curve's order.
        bytes memory item = _withSignature(bytes32(uint256(1)), bytes32(ORDER / 2 + 1));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.InvalidSignature.selector));
        _send(item);
    }

    function test_RevertWhen_NobodyIsRecovered() external {
        bytes memory item = _withSignature(bytes32(0), bytes32(uint256(1)));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.InvalidSignature.selector));
        _send(item);
        // A valid voucher in front must not lend its signer to the broken one behind it.
        item = bytes.concat(_total(CAPA), _withSignature(bytes32(ORDER), bytes32(uint256(1))));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.InvalidSignature.selector));
        _send(item);
    }

    function test_RevertWhen_AnotherBatch() external {
        bytes memory item = _item(_voucher(2, CAPA, ann, CAPA));
        vm.expectPartialRevert(ISettlement.TotalAboveDeposit.selector);
        _send(item);
    }

    function test_RevertWhen_AnotherKeeper() external {
        Voucher memory v = _voucher(1, CAPA, ann, CAPA);
        v.keeper = stranger;
        bytes memory item = _item(v);
        vm.expectPartialRevert(ISettlement.TotalAboveDeposit.selector);
        _send(item);
    }

    function test_RevertWhen_AStrangerSigned() external {
        Voucher memory v = _voucher(1, CAPA, ann, CAPA);
        bytes memory item = Signing.collectItem(messages, domain, KEEPER_KEY, v);
        bytes32 other = settlement.channelId(client, keeper, keeper);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.TotalAboveDeposit.selector, other, CAPA, 0));
        _send(item);
    }

    function test_RevertWhen_AnotherChain() external {
        bytes memory item = _total(CAPA);
        vm.chainId(777);
        vm.expectPartialRevert(ISettlement.TotalAboveDeposit.selector);
        _send(item);
    }

    function test_RevertWhen_AboveTheDeposit() external {
        bytes memory item = _total(DEPOSIT + 1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.TotalAboveDeposit.selector, channelId, DEPOSIT + 1, DEPOSIT));
        _send(item);
    }

    function test_RevertWhen_NotAboveSpent() external {
        _send(_total(CAPA));
        bytes memory item = _total(CAPA);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.TotalNotAbove.selector, channelId, CAPA, CAPA));
        _send(item);
    }

    function test_WhenOneItemIsRefused() external {
        bytes memory items = bytes.concat(_total(CAPA), _total(CAPA));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.TotalNotAbove.selector, channelId, CAPA, CAPA));
        _send(items);
        vm.assertEq(_channel().spent, 0, "none is collected");
    }

    function test_WhenAllIsInOrder() external {
        vm.prank(client);
        settlement.open(stranger, keeper, DEPOSIT);
        vm.expectEmit(address(settlement));
        emit ISettlement.Collected(keeper, 1, DEPOSIT, 2);
        _send(bytes.concat(_total(CAPA), _total(DEPOSIT)));
        vm.assertEq(_channel().spent, DEPOSIT, "spent");
        vm.assertEq(_channel().settled, 0, "settled");
        vm.assertEq(_channel().batch, 1, "batch");
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
        vm.assertEq(_keeper().debits, DEPOSIT, "debits");
        vm.assertEq(settlement.balances(client, session, keeper).available, 0, "available");
    }

    function test_SettlesEarlierBatches() external {
        _commitAnn(10 * CAPA);
        _skip(W);
        vm.expectEmit(address(settlement));
        emit IEscrow.BatchFinalized(keeper, 1);
        vm.expectEmit(address(settlement));
        emit ISettlement.Collected(keeper, 2, 2 * CAPA, 1);
        _send(_item(_voucher(2, 12 * CAPA, ann, 2 * CAPA)));
        vm.assertEq(_channel().settled, 10 * CAPA, "batch 1 is settled");
        vm.assertEq(_channel().batch, 2, "batch");
        _send(_item(_voucher(2, 13 * CAPA, ann, 3 * CAPA)));
        vm.assertEq(_channel().settled, 10 * CAPA, "once a batch");
        vm.assertEq(_keeper().debits, 3 * CAPA, "debits");
    }

    function testFuzz_AnyPath(uint64 first, uint64 second) external {
        first = uint64(1 + first % (DEPOSIT - 1));
        second = first + 1 + second % (DEPOSIT - first);
        _send(bytes.concat(_total(first), _total(second)));
        vm.assertEq(_channel().spent, second, "spent");
        vm.assertEq(_keeper().debits, second, "debits");
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
    }
}
