// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IProviderStake} from "../../../src/interfaces/IProviderStake.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract SetSlasherTest is RegistryFixture {
    address private next = address(0x51a6);

    function _set(address given) private {
        vm.prank(governor);
        registry.setSlasher(given);
    }

    function _assertAppointment(address appointed, uint256 from) private view {
        (address a, uint32 f) = registry.appointment();
        vm.assertEq(a, appointed, "appointed");
        vm.assertEq(f, from, "from");
    }

    function test_RevertWhen_NotTheOwner() external {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, slasher));
        vm.prank(slasher);
        registry.setSlasher(next);
    }

    function test_WhenZero() external {
        _set(next);
        _skip(5);
        vm.expectEmit(address(registry));
        emit IProviderStake.SlasherAppointed(address(0), uint32(block.timestamp));
        _set(address(0));
        vm.assertEq(registry.slasher(), address(0), "dismissed");
        vm.assertEq(registry.settings().slasher, address(0), "in the settings too");
        _assertAppointment(address(0), block.timestamp);
        _skip(DELAY + EPOCH);
        vm.assertEq(registry.slasher(), address(0), "the announced one too");
    }

    function test_WhenAnAddress() external {
        uint32 from = uint32(block.timestamp) + DELAY + EPOCH;
        vm.expectEmit(address(registry));
        emit IProviderStake.SlasherAppointed(next, from);
        _set(next);
        _assertAppointment(next, from);
        vm.assertEq(registry.slasher(), slasher, "not yet");
        vm.warp(from - 1);
        vm.assertEq(registry.slasher(), slasher, "still not");
        vm.warp(from);
        vm.assertEq(registry.slasher(), next, "in office");
        vm.assertEq(registry.settings().slasher, next, "in the settings too");
    }

    function test_GivenAnotherOneIsAnnounced() external {
        _set(address(0x51a7));
        _skip(DELAY + EPOCH - 1);
        _set(next);
        vm.assertEq(registry.slasher(), slasher, "the first stays");
        _skip(1);
        vm.assertEq(registry.slasher(), slasher, "the second never comes");
        _skip(DELAY + EPOCH - 1);
        vm.assertEq(registry.slasher(), next, "the third after the whole notice");
    }

    function test_GivenASuccessorIsInOffice() external {
        _set(next);
        _skip(DELAY + EPOCH);
        _set(address(0x51a7));
        vm.assertEq(registry.slasher(), next, "the successor stays until its own successor comes");
    }

    function test_GivenNoSlasher() external {
        _set(address(0));
        _set(next);
        vm.assertEq(registry.slasher(), address(0), "nobody until then");
        _skip(DELAY + EPOCH);
        vm.assertEq(registry.slasher(), next, "in office");
    }

    function test_GivenAProviderLeaves() external {
        _begin(ann);
        _set(next);
        _skip(EPOCH);
        _unstake(ann, STAKE);
        _skip(DELAY);
        vm.assertEq(registry.slasher(), next, "in office");
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NothingSlashable.selector, ann));
        vm.prank(next);
        registry.slash(ann, STAKE, client, STAKE, "verdict");
        _withdrawStake(ann);
        vm.assertEq(token.balanceOf(ann), FUNDS, "all of it");
    }
}
