// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract ApproveTest is TokenFixture {
    function test_RevertWhen_TheSpenderIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidSpender.selector, address(0)));
        vm.prank(ann);
        token.approve(address(0), 1);
    }

    function test_WhenASpenderIsNamed() external {
        vm.startPrank(ann);
        token.approve(bob, 9);
        vm.expectEmit(address(token));
        emit IERC20.Approval(ann, bob, 5);
        vm.assertTrue(token.approve(bob, 5), "returns true");
        vm.assertEq(token.allowance(ann, bob), 5, "replaces what was there");
    }
}
