// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract BurnFromTest is TokenFixture {
    function _approve(uint256 amount) private {
        vm.prank(ann);
        token.approve(bob, amount);
    }

    function test_RevertWhen_TheAllowanceIsTooLow() external {
        _approve(5);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, bob, 5, 6));
        vm.prank(bob);
        token.burnFrom(ann, 6);
    }

    function test_RevertWhen_TheBalanceIsTooLow() external {
        _approve(2000);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, ann, 1000, 1001));
        vm.prank(bob);
        token.burnFrom(ann, 1001);
    }

    function test_WhenBothSuffice() external {
        _approve(50);
        vm.prank(bob);
        token.burnFrom(ann, 20);
        vm.assertEq(token.balanceOf(ann), 980, "balance");
        vm.assertEq(token.totalSupply(), 980, "supply");
        vm.assertEq(token.allowance(ann, bob), 30, "allowance");
    }
}
