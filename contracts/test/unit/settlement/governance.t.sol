// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IEscrow} from "../../../src/interfaces/IEscrow.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract GovernanceTest is SettlementFixture {
    function _refusesStranger() private {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, stranger));
        vm.prank(stranger);
    }

    function test_RevertWhen_NotTheOwner() external {
        _refusesStranger();
        settlement.setFeeBps(1);
        _refusesStranger();
        settlement.setMinimumBond(1);
        _refusesStranger();
        settlement.setTreasury(stranger);
        _refusesStranger();
        settlement.setGuardian(stranger);
    }

    function test_RevertWhen_TheFeeIsTooHigh() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.FeeTooHigh.selector, 501, 500));
        vm.prank(governor);
        settlement.setFeeBps(501);
    }

    function test_RevertWhen_Zero() external {
        vm.startPrank(governor);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroAmount.selector));
        settlement.setMinimumBond(0);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroAddress.selector));
        settlement.setTreasury(address(0));
    }

    function test_WhenTheOwnerCalls() external {
        vm.startPrank(governor);
        vm.expectEmit(address(settlement));
        emit IEscrow.FeeBpsChanged(500);
        settlement.setFeeBps(500);
        vm.expectEmit(address(settlement));
        emit IEscrow.MinimumBondChanged(7);
        settlement.setMinimumBond(7);
        vm.expectEmit(address(settlement));
        emit IEscrow.TreasuryChanged(ann);
        settlement.setTreasury(ann);
        vm.expectEmit(address(settlement));
        emit IEscrow.GuardianChanged(bob);
        settlement.setGuardian(bob);
        vm.assertEq(settlement.feeBps(), 500, "fee rate");
        vm.assertEq(settlement.minimumBond(), 7, "minimum bond");
        vm.assertEq(settlement.treasury(), ann, "treasury");
        vm.assertEq(settlement.guardian(), bob, "guardian");
    }

    function test_OwnershipInTwoSteps() external {
        vm.prank(governor);
        settlement.transferOwnership(ann);
        vm.assertEq(settlement.owner(), governor, "not before it is accepted");
        vm.prank(ann);
        settlement.acceptOwnership();
        vm.assertEq(settlement.owner(), ann, "accepted");
    }
}
