// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {ISettlement} from "../../../src/interfaces/ISettlement.sol";
import {Batch} from "../../../src/types/Batch.sol";
import {KeeperStatus} from "../../../src/types/KeeperState.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract CommitTest is SettlementFixture {
    bytes32 private constant ROOT = keccak256("root");
    bytes32 private constant LINES = keccak256("lines");
    bytes32 private constant DATA = keccak256("data");

    function setUp() public override {
        super.setUp();
        _start();
    }

    function _send(uint64 sum, uint64 linesSum) private {
        vm.prank(keeper);
        settlement.commit(ROOT, sum, LINES, linesSum, 3, DATA);
    }

    function test_RevertGiven_NotAKeeper() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, stranger, KeeperStatus.None));
        vm.prank(stranger);
        settlement.commit(0, 0, 0, 0, 0, 0);
    }

    function test_RevertGiven_WoundDown() external {
        _lapse();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, keeper, KeeperStatus.WoundDown));
        _send(0, 0);
    }

    function test_RevertGiven_Pending() external {
        _send(0, 0);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BatchPending.selector, keeper, 1));
        _send(0, 0);
    }

    function test_RevertWhen_TheSumIsWrong() external {
        _collect(100);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.SumMismatch.selector, 100, 99));
        _send(100, 0);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.SumMismatch.selector, 98, 99));
        _send(98, 0);
    }

    function test_RevertWhen_TheLinesExceedTheSum() external {
        _collect(100);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.LinesAboveSum.selector, 100, 99));
        _send(99, 100);
    }

    function test_WhenEmpty() external {
        _skip(7);
        _heartbeat();
        vm.assertEq(settlement.batch(keeper, 1).committedAt, block.timestamp, "committed");
        vm.assertEq(_keeper().since, block.timestamp, "since");
        _skip(W);
        vm.assertTrue(settlement.isFinal(keeper, 1), "final");
        vm.assertEq(_number(), 2, "current batch");
    }

    function test_WhenLate() external {
        _collect(CAPA);
        _skip(10 * T);
        _send(CAPA - CAPA / 100, 0);
        vm.assertEq(_keeper().debits, 0, "committed");
    }

    function test_WhenAllIsInOrder() external {
        _collect(199);
        vm.expectEmit(address(settlement));
        emit ISettlement.BatchCommitted(keeper, 1, ROOT, 198, 1, LINES, 198, 3, DATA);
        _send(198, 198);
        Batch memory b = settlement.batch(keeper, 1);
        vm.assertEq(b.sum, 198, "sum");
        vm.assertEq(b.fee, 1, "199 nano at 1 % cost 1, rounded down");
        vm.assertEq(b.linesSum, 198, "lines' sum");
        vm.assertEq(b.committedAt, block.timestamp, "committed at");
        vm.assertEq(_keeper().open, 0, "open challenges");
        vm.assertEq(b.earnings, keccak256(abi.encode(ROOT, 198)), "earnings");
        vm.assertEq(b.lines, keccak256(abi.encode(LINES, 198)), "lines");
        vm.assertEq(_keeper().debits, 0, "debits");
        vm.assertEq(_keeper().batch, 1, "pending");
        vm.assertFalse(settlement.isFinal(keeper, 1), "not final");
        vm.assertEq(settlement.fees(), 0, "no fee before final");
    }

    function test_TheFeeIsCountedOnceFinal() external {
        _collect(10_000);
        _send(9900, 0);
        _skip(W);
        _collect(10_001);
        vm.assertEq(settlement.fees(), 100, "fees");
    }

    function test_ANewFeeRateWaits() external {
        vm.prank(governor);
        settlement.setFeeBps(500);
        _collect(100);
        _send(99, 0);
        vm.assertEq(_keeper().feeBps, FEE_BPS, "batch 2 keeps the rate known before");
        vm.assertEq(_keeper().nextFeeBps, 500, "batch 3 has the new one");
        _skip(W);
        _collect(200);
        _send(99, 0);
        _skip(W);
        _collect(300);
        _send(95, 0);
        vm.assertEq(settlement.batch(keeper, 3).fee, 5, "batch 3 pays 5 %");
    }

    function testFuzz_SumAndFeeAreTheDebits(uint64 debits, uint16 bps) external {
        debits = uint64(1 + debits % DEPOSIT);
        bps %= 501;
        vm.prank(governor);
        settlement.setFeeBps(bps);
        for (uint256 i; i < 2; ++i) {
            _heartbeat();
            _skip(W);
        }
        _collect(debits);
        uint64 fee = uint64(uint256(debits) * bps / 10_000);
        _send(debits - fee, 0);
        Batch memory b = settlement.batch(keeper, 3);
        vm.assertEq(uint256(b.sum) + b.fee, debits, "sum and fee");
    }
}
