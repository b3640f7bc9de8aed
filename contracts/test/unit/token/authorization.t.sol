// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC3009, IERC3009Cancel} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract AuthorizationTest is TokenFixture {
    bytes32 private constant TRANSFER = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant CANCEL = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");
    bytes32 private constant NONCE = keccak256("nonce");
    /// @dev The bit that the base contract would read as "this is a block height".
    uint256 private constant BLOCK_FLAG = 1 << 47;

    uint8 private v;
    bytes32 private r;
    bytes32 private s;

    function _authorize(uint256 key, bytes32 typeHash, uint256 afterTime, uint256 beforeTime) private {
        (v, r, s) = _sign(key, keccak256(abi.encode(typeHash, ann, bob, 7, afterTime, beforeTime, NONCE)));
    }

    function _transfer(uint256 afterTime, uint256 beforeTime) private {
        vm.prank(stranger);
        token.transferWithAuthorization(ann, bob, 7, afterTime, beforeTime, NONCE, v, r, s);
    }

    function _refuses(uint256 afterTime, uint256 beforeTime) private {
        _authorize(ANN_KEY, TRANSFER, afterTime, beforeTime);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, afterTime, beforeTime));
        _transfer(afterTime, beforeTime);
    }

    function test_RevertWhen_TheTimeIsWrong() external {
        _refuses(block.timestamp, block.timestamp + 1);
        _refuses(block.timestamp - 2, block.timestamp);
        // A block height of 0 to 2^46 would be valid now: times are seconds only.
        _refuses(BLOCK_FLAG, BLOCK_FLAG | (1 << 46));
    }

    function test_RevertWhen_AnotherSigned() external {
        _authorize(0xbad, TRANSFER, 0, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidSignature.selector));
        _transfer(0, type(uint256).max);
    }

    function test_WhenTheHolderSignedATransfer() external {
        _authorize(ANN_KEY, TRANSFER, block.timestamp - 1, block.timestamp + 1);
        vm.assertFalse(token.authorizationState(ann, NONCE), "unused");
        vm.expectEmit(address(token));
        emit IERC3009.AuthorizationUsed(ann, NONCE);
        _transfer(block.timestamp - 1, block.timestamp + 1);
        vm.assertEq(token.balanceOf(bob), 7, "moved");
        vm.assertTrue(token.authorizationState(ann, NONCE), "used");
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, NONCE));
        _transfer(block.timestamp - 1, block.timestamp + 1);
    }

    function test_WhenTheHolderSignedAReceive() external {
        _authorize(ANN_KEY, RECEIVE, 0, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, bob));
        vm.prank(stranger);
        token.receiveWithAuthorization(ann, bob, 7, 0, type(uint256).max, NONCE, v, r, s);
        vm.prank(bob);
        token.receiveWithAuthorization(ann, bob, 7, 0, type(uint256).max, NONCE, v, r, s);
        vm.assertEq(token.balanceOf(bob), 7, "moved");
    }

    function test_WhenTheHolderCancels() external {
        (v, r, s) = _sign(ANN_KEY, keccak256(abi.encode(CANCEL, ann, NONCE)));
        vm.expectEmit(address(token));
        emit IERC3009Cancel.AuthorizationCanceled(ann, NONCE);
        vm.prank(stranger);
        token.cancelAuthorization(ann, NONCE, v, r, s);
        _authorize(ANN_KEY, TRANSFER, 0, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, ann, NONCE));
        _transfer(0, type(uint256).max);
    }
}
