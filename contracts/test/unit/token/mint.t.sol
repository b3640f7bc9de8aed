// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IComputeToken} from "../../../src/interfaces/IComputeToken.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract MintTest is TokenFixture {
    function test_RevertWhen_NotTheMinter() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotMinter.selector, stranger, minter));
        vm.prank(stranger);
        token.mint(stranger, 1);
    }

    function test_RevertWhen_TheCapIsExceeded() external {
        vm.startPrank(minter);
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.CapExceeded.selector, 1000, CAP - 999, CAP));
        token.mint(bob, CAP - 999);
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.CapExceeded.selector, 1000, type(uint256).max, CAP));
        token.mint(bob, type(uint256).max);
    }

    function test_WhenItFits() external {
        vm.prank(minter);
        token.mint(bob, CAP - 1000);
        vm.assertEq(token.balanceOf(bob), CAP - 1000, "minted");
        vm.assertEq(token.totalSupply(), CAP, "supply");
    }
}
