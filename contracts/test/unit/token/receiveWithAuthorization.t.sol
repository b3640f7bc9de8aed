// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {AuthorizationFixture} from "../../utils/AuthorizationFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract ReceiveWithAuthorizationTest is AuthorizationFixture {
    function _refuses(address caller, Authorization memory a, Signature memory s, bytes memory reason) private {
        vm.startPrank(caller);
        vm.expectRevert(reason);
        _receive(a, s);
        vm.expectRevert(reason);
        _receive(a, _packed(s));
        vm.stopPrank();
    }

    function test_RevertWhen_TheCallerIsNotTheReceiver() external {
        Authorization memory a = _authorization();
        Signature memory s = _signature(ANN_KEY, RECEIVE_WITH_AUTHORIZATION, a);
        _refuses(stranger, a, s, abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, bob));
    }

    function test_RevertWhen_TheTimeIsWrong() external {
        Authorization memory a = _authorization();
        a.validAfter = block.timestamp;
        Signature memory s = _signature(ANN_KEY, RECEIVE_WITH_AUTHORIZATION, a);
        bytes4 selector = ERC3009.ERC3009InvalidAuthorizationTime.selector;
        _refuses(bob, a, s, abi.encodeWithSelector(selector, block.timestamp, ALWAYS));
    }

    function test_RevertWhen_AnotherSigned() external {
        Authorization memory a = _authorization();
        bytes memory reason = abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector);
        _refuses(bob, a, _signature(0xbad, RECEIVE_WITH_AUTHORIZATION, a), reason);
        // An authorization to transfer is not one to receive.
        _refuses(bob, a, _signature(ANN_KEY, TRANSFER_WITH_AUTHORIZATION, a), reason);
    }

    function test_RevertWhen_TheNonceWasUsed() external {
        Authorization memory a = _authorization();
        Signature memory s = _signature(ANN_KEY, RECEIVE_WITH_AUTHORIZATION, a);
        vm.prank(bob);
        _receive(a, _packed(s));
        _refuses(bob, a, s, abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, NONCE));
    }

    function _moves(bytes32 nonce, bool packed) private {
        Authorization memory a = _authorization();
        a.nonce = nonce;
        Signature memory s = _signature(ANN_KEY, RECEIVE_WITH_AUTHORIZATION, a);
        uint256 before = token.balanceOf(bob);
        vm.expectEmit(address(token));
        emit IERC3009.AuthorizationUsed(ann, nonce);
        vm.prank(bob);
        packed ? _receive(a, _packed(s)) : _receive(a, s);
        vm.assertEq(token.balanceOf(bob), before + 7, "moved");
        vm.assertTrue(token.authorizationState(ann, nonce), "used");
    }

    function test_WhenTheHolderSigned() external {
        _moves("first", false);
        _moves("second", true);
    }
}
