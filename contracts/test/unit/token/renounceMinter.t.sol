// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IComputeToken} from "../../../src/interfaces/IComputeToken.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract RenounceMinterTest is TokenFixture {
    function test_RevertWhen_NotTheMinter() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotMinter.selector, stranger, minter));
        vm.prank(stranger);
        token.renounceMinter();
    }

    function test_WhenTheMinterRenounces() external {
        vm.warp(EMISSION_START + 1);
        vm.expectEmit(address(token));
        emit IComputeToken.MinterChanged(minter, address(0));
        vm.prank(minter);
        token.renounceMinter();
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotMinter.selector, minter, address(0)));
        vm.prank(minter);
        token.mint(bob, 1);
    }

    function test_GivenAnOfferIsOpen() external {
        vm.startPrank(minter);
        token.transferMinter(bob);
        token.renounceMinter();
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotPendingMinter.selector, bob, address(0)));
        vm.prank(bob);
        token.acceptMinter();
    }
}
