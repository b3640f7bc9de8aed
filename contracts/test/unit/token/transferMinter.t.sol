// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IComputeToken} from "../../../src/interfaces/IComputeToken.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract TransferMinterTest is TokenFixture {
    function test_RevertWhen_NotTheMinter() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotMinter.selector, stranger, minter));
        vm.prank(stranger);
        token.transferMinter(stranger);
    }

    function test_WhenTheMinterOffers() external {
        vm.expectEmit(address(token));
        emit IComputeToken.MinterTransferStarted(minter, bob);
        vm.prank(minter);
        token.transferMinter(bob);
        vm.assertEq(token.pendingMinter(), bob, "pending");
        vm.assertEq(token.minter(), minter, "the minter stays until it is accepted");
    }

    function test_WhenTheMinterTakesTheOfferBack() external {
        vm.startPrank(minter);
        token.transferMinter(bob);
        token.transferMinter(address(0));
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.NotPendingMinter.selector, bob, address(0)));
        vm.prank(bob);
        token.acceptMinter();
    }
}
