// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract TransferTest is TokenFixture {
    function test_RevertWhen_TheBalanceIsTooLow() external {
        vm.startPrank(ann);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, ann, 1000, 1001));
        token.transfer(bob, 1001);
        // 2^64 more than the balance: must not be cut to 64 bits.
        uint256 wide = 1000 + (1 << 64);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, ann, 1000, wide));
        token.transfer(bob, wide);
        // A delegate, in the same word, is no money.
        token.delegate(bob);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, ann, 1000, wide));
        token.transfer(bob, wide);
    }

    function test_RevertWhen_TheReceiverIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        vm.prank(ann);
        token.transfer(address(0), 1);
    }

    function testFuzz_WhenAllIsInOrder(uint256 amount, bool toSelf) external {
        amount %= 1001;
        address to = toSelf ? ann : bob;
        vm.prank(ann);
        token.delegate(stranger);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(ann, to, amount);
        vm.prank(ann);
        vm.assertTrue(token.transfer(to, amount), "returns true");
        vm.assertEq(token.balanceOf(ann), toSelf ? 1000 : 1000 - amount, "sender");
        vm.assertEq(token.balanceOf(ann) + token.balanceOf(bob), 1000, "sum");
        vm.assertEq(token.totalSupply(), 1000, "supply");
        vm.assertEq(token.getVotes(stranger), token.balanceOf(ann), "votes follow the tokens");
        vm.assertEq(token.delegates(ann), stranger, "the sender's delegate");
        vm.assertEq(token.delegates(bob), address(0), "the receiver's delegate");
    }

    function test_WhenBothHaveOneDelegate() external {
        vm.prank(ann);
        token.delegate(stranger);
        vm.prank(bob);
        token.delegate(stranger);
        uint256 checkpoints = token.numCheckpoints(stranger);
        vm.warp(block.timestamp + 1);
        vm.prank(ann);
        token.transfer(bob, 300);
        vm.assertEq(token.getVotes(stranger), 1000, "votes");
        vm.assertEq(token.numCheckpoints(stranger), checkpoints, "nothing to write down");
    }
}
