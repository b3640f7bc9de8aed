// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract BurnTest is TokenFixture {
    function test_RevertWhen_TooLow() external {
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, ann, 1000, 1001));
        vm.prank(ann);
        token.burn(1001);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, bob, 0, 1));
        vm.prank(bob);
        token.burnFrom(ann, 1);
    }

    function test_WhenItSuffices() external {
        vm.prank(ann);
        token.burn(100);
        vm.prank(ann);
        token.approve(bob, 50);
        vm.prank(bob);
        token.burnFrom(ann, 50);
        vm.assertEq(token.balanceOf(ann), 850, "balance");
        vm.assertEq(token.totalSupply(), 850, "supply");
        vm.prank(minter);
        token.mint(bob, CAP - 850);
        vm.assertEq(token.totalSupply(), CAP, "room under the cap");
    }
}
