// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {KeeperState, KeeperStatus} from "../../../src/types/KeeperState.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract BondTest is SettlementFixture {
    function test_RevertWhen_Paused() external {
        vm.prank(guardian);
        settlement.pause();
        vm.expectRevert(abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        _bond();
    }

    function test_RevertWhen_TheAmountIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        vm.prank(keeper);
        settlement.bond(0, bondOwner);
    }

    function test_RevertWhen_TheOwnerIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroAddress.selector));
        vm.prank(keeper);
        settlement.bond(BOND, address(0));
    }

    function test_RevertWhen_BelowTheMinimum() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BondTooSmall.selector, BOND - 1, BOND));
        vm.prank(keeper);
        settlement.bond(BOND - 1, bondOwner);
    }

    function test_WhenItIsEnough() external {
        vm.expectEmit(address(settlement));
        emit IEscrow.Bonded(keeper, bondOwner, BOND, BOND);
        _bond();
        KeeperState memory k = _keeper();
        _assertStatus(KeeperStatus.Active);
        vm.assertEq(k.bond, BOND, "bond");
        vm.assertEq(k.owner, bondOwner, "owner");
        vm.assertEq(k.batch, 1, "batch");
        vm.assertEq(k.since, block.timestamp, "since");
        vm.assertEq(k.feeBps, FEE_BPS, "fee rate");
        vm.assertEq(k.nextFeeBps, FEE_BPS, "next fee rate");
        vm.assertEq(token.balanceOf(address(settlement)), BOND, "pulled");
    }

    function test_RevertWhen_AnotherOwnerIsNamed() external {
        _bond();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.OwnerMismatch.selector, stranger, bondOwner));
        vm.prank(keeper);
        settlement.bond(BOND, stranger);
    }

    function test_GivenActive() external {
        _bond();
        vm.expectEmit(address(settlement));
        emit IEscrow.Bonded(keeper, bondOwner, 1, BOND + 1);
        vm.prank(keeper);
        settlement.bond(1, bondOwner);
        vm.assertEq(_keeper().bond, BOND + 1, "bond");
        vm.assertEq(_keeper().batch, 1, "batch");
    }

    function _refuses(KeeperStatus status) private {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.WrongKeeperStatus.selector, keeper, status));
        _bond();
    }

    function test_RevertGiven_RetiringThenClosed() external {
        _bond();
        vm.prank(bondOwner);
        settlement.retire(keeper);
        _refuses(KeeperStatus.Retiring);
        _skip(U);
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        _refuses(KeeperStatus.Closed);
    }

    function test_RevertGiven_WoundDown() external {
        _bond();
        _lapse();
        _refuses(KeeperStatus.WoundDown);
    }
}
