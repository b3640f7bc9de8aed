// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IComputeToken} from "../../../src/interfaces/IComputeToken.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract AcceptMinterTest is TokenFixture {
    function setUp() public override {
        super.setUp();
        vm.prank(minter);
        token.transferMinter(bob);
        vm.warp(EMISSION_START + 1);
    }

    function test_RevertWhen_ItWasNotOfferedToTheCaller() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotPendingMinter.selector, stranger, bob));
        vm.prank(stranger);
        token.acceptMinter();
    }

    function test_WhenItWasOffered() external {
        vm.expectEmit(address(token));
        emit IComputeToken.MinterChanged(minter, bob);
        vm.startPrank(bob);
        token.acceptMinter();
        token.mint(bob, 200);
        vm.stopPrank();
        vm.assertEq(token.balanceOf(bob), 200, "the new minter mints");
        vm.assertEq(token.pendingMinter(), address(0), "no offer is left");
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotMinter.selector, minter, bob));
        vm.prank(minter);
        token.mint(minter, 0);
    }

    function test_WhenItWasAcceptedBefore() external {
        vm.startPrank(bob);
        token.acceptMinter();
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotPendingMinter.selector, bob, address(0)));
        token.acceptMinter();
    }
}
