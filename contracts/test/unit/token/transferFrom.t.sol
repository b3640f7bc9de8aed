// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract TransferFromTest is TokenFixture {
    function _approve(uint256 amount) private {
        vm.prank(ann);
        token.approve(bob, amount);
    }

    function test_RevertWhen_TheAllowanceIsTooLow() external {
        _approve(5);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, bob, 5, 6));
        vm.prank(bob);
        token.transferFrom(ann, bob, 6);
    }

    function test_RevertWhen_TheBalanceIsTooLow() external {
        _approve(type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, ann, 1000, 1001));
        vm.prank(bob);
        token.transferFrom(ann, bob, 1001);
    }

    function test_RevertWhen_TheReceiverIsZero() external {
        _approve(5);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        vm.prank(bob);
        token.transferFrom(ann, address(0), 5);
    }

    function test_WhenAllIsInOrder() external {
        _approve(6);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(ann, stranger, 5);
        vm.prank(bob);
        vm.assertTrue(token.transferFrom(ann, stranger, 5), "returns true");
        vm.assertEq(token.balanceOf(ann), 995, "holder");
        vm.assertEq(token.balanceOf(stranger), 5, "receiver");
        vm.assertEq(token.allowance(ann, bob), 1, "allowance");
    }

    function test_GivenTheAllowanceIsUnlimited() external {
        _approve(type(uint256).max);
        vm.prank(bob);
        token.transferFrom(ann, stranger, 5);
        vm.assertEq(token.allowance(ann, bob), type(uint256).max, "allowance");
    }
}
