// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC3009Cancel} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {AuthorizationFixture} from "../../utils/AuthorizationFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract CancelAuthorizationTest is AuthorizationFixture {
    function test_RevertWhen_AnotherSigned() external {
        Signature memory s = _cancellation(0xbad, ann, NONCE);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        _cancel(ann, NONCE, s);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        token.cancelAuthorization(ann, NONCE, _packed(s));
    }

    function test_RevertWhen_TheNonceWasUsed() external {
        Authorization memory a = _authorization();
        _transfer(a, _signature(ANN_KEY, TRANSFER_WITH_AUTHORIZATION, a));
        Signature memory s = _cancellation(ANN_KEY, ann, NONCE);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, NONCE));
        _cancel(ann, NONCE, s);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, NONCE));
        token.cancelAuthorization(ann, NONCE, _packed(s));
    }

    function _cancels(bytes32 nonce, bool packed) private {
        Signature memory s = _cancellation(ANN_KEY, ann, nonce);
        vm.expectEmit(address(token));
        emit IERC3009Cancel.AuthorizationCanceled(ann, nonce);
        vm.prank(stranger);
        packed ? token.cancelAuthorization(ann, nonce, _packed(s)) : _cancel(ann, nonce, s);
        vm.assertTrue(token.authorizationState(ann, nonce), "used up");
        Authorization memory a = _authorization();
        a.nonce = nonce;
        s = _signature(ANN_KEY, TRANSFER_WITH_AUTHORIZATION, a);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, nonce));
        _transfer(a, s);
    }

    function test_WhenTheAuthorizerSigned() external {
        _cancels("first", false);
        _cancels("second", true);
    }
}
