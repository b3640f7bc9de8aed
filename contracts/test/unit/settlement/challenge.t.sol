// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {ISettlement} from "../../../src/interfaces/ISettlement.sol";
import {Packed} from "../../../src/libraries/Packed.sol";
import {KeeperStatus} from "../../../src/types/KeeperState.sol";
import {Acceptance} from "../../../src/types/Messages.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {Signing} from "../../utils/Signing.sol";
import {vm} from "../../utils/Vm.sol";

contract ChallengeTest is SettlementFixture {
    function setUp() public override {
        super.setUp();
        _start();
    }

    function _send(bytes memory packed) private {
        vm.prank(stranger);
        settlement.challenge(keeper, packed);
    }

    function test_RevertWhen_TheSizeIsWrong() external {
        _heartbeat();
        vm.expectRevert(abi.encodeWithSelector(Packed.MalformedList.selector, 129, 128));
        _send(new bytes(129));
    }

    function test_RevertGiven_NotLive() external {
        bytes memory packed = _acceptance(ann, 1, 1);
        _lapse();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, keeper, KeeperStatus.WoundDown));
        _send(packed);
    }

    function test_RevertGiven_NothingPending() external {
        bytes memory packed = _acceptance(ann, 1, 1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.BatchNotPending.selector, keeper, 1));
        _send(packed);
        _heartbeat();
        _skip(W);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.BatchNotPending.selector, keeper, 2));
        _send(packed);
    }

    function test_RevertWhen_ThePeriodIsOver() external {
        _heartbeat();
        uint256 end = block.timestamp + W;
        vm.warp(end - 1);
        // Another open challenge keeps the batch pending beyond its period.
        _challenge(bob, 1);
        bytes memory packed = _acceptance(ann, 1, 1);
        vm.warp(end);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.TooLate.selector, end));
        _send(packed);
    }

    function test_RevertWhen_TheProviderIsZero() external {
        _heartbeat();
        bytes memory packed = _acceptance(address(0), 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroAddress.selector));
        _send(packed);
    }

    function test_RevertWhen_AnotherBatch() external {
        _heartbeat();
        bytes memory packed = _acceptance(ann, 2, 1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.WrongBatch.selector, 2, 1));
        _send(packed);
    }

    function test_RevertWhen_TheKeeperDidNotSign() external {
        _heartbeat();
        Acceptance memory a = Acceptance({voucher: keccak256("voucher"), provider: ann, batch: 1, owed: 1});
        bytes memory packed = Signing.acceptance(messages, domain, SESSION_KEY, a);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NotSignedByKeeper.selector, session, keeper));
        _send(packed);
    }

    function test_RevertWhen_NobodySigned() external {
        _heartbeat();
        bytes memory packed = abi.encodePacked(keccak256("voucher"), ann, uint32(1), uint64(1), bytes32(0), bytes32(0));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.InvalidSignature.selector));
        _send(packed);
    }

    function test_RevertWhen_NotRaising() external {
        _heartbeat();
        _challenge(ann, 5);
        bytes memory packed = _acceptance(ann, 1, 5);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.OwedNotAbove.selector, 5, 5));
        _send(packed);
        packed = _acceptance(bob, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.OwedNotAbove.selector, 0, 0));
        _send(packed);
    }

    function test_WhenTheFirst() external {
        _heartbeat();
        uint256 committedAt = block.timestamp;
        vm.warp(committedAt + W - 1);
        uint32 deadline = uint32(block.timestamp + R);
        bytes memory packed = _acceptance(ann, 1, 5);
        vm.expectEmit(address(settlement));
        emit ISettlement.Challenged(keeper, 1, ann, 5, deadline);
        _send(packed);
        vm.assertEq(settlement.challenged(keeper, 1, ann).owed, 5, "owed");
        vm.assertEq(settlement.challenged(keeper, 1, ann).deadline, deadline, "deadline");
        vm.assertEq(_keeper().open, 1, "open");
        vm.warp(committedAt + 10 * W);
        vm.assertFalse(settlement.isFinal(keeper, 1), "an open challenge keeps it pending");
    }

    function test_WhenRaisingAnOpenOne() external {
        _heartbeat();
        _challenge(ann, 5);
        _skip(10);
        _challenge(ann, 6);
        vm.assertEq(_keeper().open, 1, "counted once");
        vm.assertEq(settlement.challenged(keeper, 1, ann).owed, 6, "owed");
        vm.assertEq(settlement.challenged(keeper, 1, ann).deadline, block.timestamp + R, "deadline");
        _challenge(bob, 1);
        vm.assertEq(_keeper().open, 2, "another provider counts");
    }

    function test_WhenRaisingAnAnsweredOne() external {
        _commitAnn(100);
        _challenge(ann, 5);
        settlement.answer(keeper, ann, 99, 0, "");
        _challenge(ann, 6);
        vm.assertEq(_keeper().open, 1, "open again");
        vm.assertEq(settlement.challenged(keeper, 1, ann).owed, 6, "owed");
    }
}
