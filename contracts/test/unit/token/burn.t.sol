// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract BurnTest is TokenFixture {
    function test_RevertWhen_TheBalanceIsTooLow() external {
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, ann, 1000, 1001));
        vm.prank(ann);
        token.burn(1001);
    }

    function test_WhenItSuffices() external {
        vm.expectEmit(address(token));
        emit IERC20.Transfer(ann, address(0), 100);
        vm.prank(ann);
        token.burn(100);
        vm.assertEq(token.balanceOf(ann), 900, "balance");
        vm.assertEq(token.totalSupply(), 900, "supply");
    }

    function test_WhenMintedTokensAreBurned() external {
        vm.warp(EMISSION_START + EMISSION_DURATION);
        vm.prank(minter);
        token.mint(bob, EMISSION);
        vm.prank(bob);
        token.burn(EMISSION);
        vm.assertEq(token.totalSupply(), 1000, "supply");
        vm.assertEq(token.minted(), EMISSION, "still counted");
        vm.assertEq(token.mintable(), 0, "they do not come back");
    }
}
