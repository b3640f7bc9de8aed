// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IComputeToken} from "../../../src/interfaces/IComputeToken.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract SetMinterTest is TokenFixture {
    function test_RevertWhen_NotTheMinter() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotMinter.selector, stranger, minter));
        vm.prank(stranger);
        token.setMinter(stranger);
    }

    function test_WhenAnotherIsNamed() external {
        vm.expectEmit(address(token));
        emit IComputeToken.MinterChanged(minter, bob);
        vm.prank(minter);
        token.setMinter(bob);
        vm.prank(bob);
        token.mint(bob, 1);
        vm.assertEq(token.balanceOf(bob), 1, "the new minter mints");
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotMinter.selector, minter, bob));
        vm.prank(minter);
        token.mint(bob, 1);
    }

    function test_WhenZeroIsNamed() external {
        vm.prank(minter);
        token.setMinter(address(0));
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotMinter.selector, minter, address(0)));
        vm.prank(minter);
        token.mint(bob, 1);
    }
}
