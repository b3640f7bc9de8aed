// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IComputeToken} from "../../../src/interfaces/IComputeToken.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract MintTest is TokenFixture {
    function _refuses(uint256 amount, uint256 available) private {
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.EmissionExceeded.selector, amount, available));
        vm.prank(minter);
        token.mint(bob, amount);
    }

    function _mint(uint256 amount) private {
        vm.prank(minter);
        token.mint(bob, amount);
    }

    function test_RevertWhen_NotTheMinter() external {
        vm.warp(EMISSION_START + EMISSION_DURATION);
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotMinter.selector, stranger, minter));
        vm.prank(stranger);
        token.mint(stranger, 1);
    }

    function test_RevertWhen_TheScheduleHasNotStarted() external {
        _refuses(1, 0);
        vm.warp(EMISSION_START);
        _refuses(1, 0);
    }

    function test_RevertWhen_TheScheduleLeavesLess() external {
        vm.warp(EMISSION_START + 3);
        _refuses(601, 600);
        // 2^64 more than what is left: must not be cut to 64 bits.
        _refuses(600 + (1 << 64), 600);
        _refuses(type(uint256).max, 600);
        _mint(600);
        _refuses(1, 0);
    }

    function test_RevertWhen_TheReceiverIsZero() external {
        vm.warp(EMISSION_START + 3);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        vm.prank(minter);
        token.mint(address(0), 1);
    }

    function test_WhenTheScheduleLeavesEnough() external {
        vm.warp(EMISSION_START + 3);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(address(0), bob, 400);
        _mint(400);
        vm.assertEq(token.balanceOf(bob), 400, "balance");
        vm.assertEq(token.totalSupply(), 1400, "supply");
        vm.assertEq(token.minted(), 400, "minted");
        vm.assertEq(token.mintable(), 200, "what is left");
        _mint(150);
        vm.assertEq(token.minted(), 550, "minted in all");
        vm.assertEq(token.mintable(), 50, "what is still left");
    }

    function test_WhenTheMinterWaits() external {
        vm.warp(EMISSION_START + EMISSION_DURATION + 1);
        _refuses(EMISSION + 1, EMISSION);
        _mint(EMISSION);
        vm.warp(EMISSION_START + 1_000_000);
        _refuses(1, 0);
    }
}
