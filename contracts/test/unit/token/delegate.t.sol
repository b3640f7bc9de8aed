// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract DelegateTest is TokenFixture {
    function _delegate(address holder, address delegatee) private {
        vm.prank(holder);
        token.delegate(delegatee);
    }

    function test_GivenNobodyDelegated() external view {
        vm.assertEq(token.getVotes(ann), 0, "votes");
    }

    function test_WhenAHolderDelegates() external {
        vm.expectEmit(address(token));
        emit IVotes.DelegateChanged(ann, address(0), bob);
        _delegate(ann, bob);
        vm.assertEq(token.delegates(ann), bob, "delegate");
        vm.assertEq(token.getVotes(bob), 1000, "votes");
        vm.assertEq(token.balanceOf(ann), 1000, "balance");
        _delegate(ann, stranger);
        vm.assertEq(token.getVotes(bob), 0, "votes moved away");
        vm.assertEq(token.getVotes(stranger), 1000, "votes moved");
        _delegate(ann, address(0));
        vm.assertEq(token.getVotes(stranger), 0, "votes taken back");
        vm.assertEq(token.balanceOf(ann), 1000, "balance after");
    }

    function test_WhenTokensMove() external {
        _delegate(ann, ann);
        _delegate(bob, bob);
        vm.prank(ann);
        token.transfer(bob, 300);
        vm.assertEq(token.getVotes(ann), 700, "sender");
        vm.assertEq(token.getVotes(bob), 300, "receiver");
        vm.prank(bob);
        token.burn(100);
        vm.assertEq(token.getVotes(bob), 200, "burned");
        vm.assertEq(token.numCheckpoints(bob), 1, "one checkpoint a second");
        vm.warp(EMISSION_START + 1);
        vm.prank(minter);
        token.mint(ann, 5);
        vm.assertEq(token.getVotes(ann), 705, "minted");
    }

    function test_WhenAskedAboutThePast() external {
        uint256 first = block.timestamp;
        _delegate(ann, ann);
        vm.warp(first + 100);
        vm.prank(ann);
        token.burn(400);
        vm.warp(first + 200);
        vm.assertEq(token.getPastVotes(ann, first + 99), 1000, "before");
        vm.assertEq(token.getPastVotes(ann, first + 100), 600, "after");
        vm.assertEq(token.getPastTotalSupply(first + 99), 1000, "supply before");
        vm.assertEq(token.getPastTotalSupply(first + 100), 600, "supply after");
    }
}
