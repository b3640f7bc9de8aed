// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract RegistryOwnershipTest is RegistryFixture {
    function _refuses(address caller) private {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, caller));
        vm.prank(caller);
    }

    function test_RevertWhen_NotTheOwner() external {
        _refuses(stranger);
        registry.transferOwnership(stranger);
        _refuses(stranger);
        registry.renounceOwnership();
    }

    function test_InTwoSteps() external {
        vm.prank(governor);
        registry.transferOwnership(bob);
        vm.assertEq(registry.owner(), governor, "not before it is accepted");
        _refuses(stranger);
        registry.acceptOwnership();
        vm.prank(bob);
        registry.acceptOwnership();
        vm.assertEq(registry.owner(), bob, "accepted");
        _refuses(governor);
        registry.setSlasher(governor);
    }

    function test_WhenGivenUp() external {
        _begin(ann);
        vm.prank(governor);
        registry.renounceOwnership();
        vm.assertEq(registry.owner(), address(0), "nobody's");
        vm.assertEq(registry.slasher(), slasher, "the slasher stays");
        _unstake(ann, STAKE);
        _skip(DELAY);
        _withdrawStake(ann);
        vm.assertEq(token.balanceOf(ann), FUNDS, "stakes leave");
    }

    /// @dev Everything that the owner may call, while a provider stakes, unstakes and leaves.
    function test_TheOwnerTakesNothing() external {
        _begin(ann);
        vm.startPrank(governor);
        registry.setSlasher(governor);
        registry.setSlasher(address(0));
        registry.setSlasher(governor);
        registry.transferOwnership(bob);
        vm.stopPrank();
        _assertStake(ann, STAKE, 0, 0);
        _unstake(ann, STAKE);
        _skip(DELAY);
        _withdrawStake(ann);
        vm.assertEq(token.balanceOf(ann), FUNDS, "all of it, before the new slasher is in office");
        vm.assertEq(registry.slasher(), address(0), "not yet");
    }
}
