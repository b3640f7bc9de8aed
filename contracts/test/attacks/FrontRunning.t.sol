// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Authorization} from "../../src/types/Authorization.sol";
import {Calls} from "../utils/Calls.sol";
import {ClaimItem, ClaimItems} from "../utils/ClaimItems.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice A stranger sees a transaction and lands its own first: who is paid, and how much, stays the same.
contract FrontRunningAttacks is AttackFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    function setUp() public override {
        super.setUp();
        _start();
    }

    /// @dev Two final batches with 10 CAPA less the fee each for ann.
    function _twoBatches() private returns (Leaf[] memory one, Leaf[] memory two) {
        one = _commitAnn(10 * CAPA);
        _skip(W);
        two = _commitAnn(20 * CAPA);
        _skip(W);
    }

    function _item(uint32 number, Leaf memory l) private pure returns (ClaimItem memory) {
        return ClaimItem(number, l.amount, 0, "");
    }

    function test_AStrangersClaimCannotMakeAListFail() external {
        (Leaf[] memory one, Leaf[] memory two) = _twoBatches();
        bytes memory list = bytes.concat(ClaimItems.pack(_item(1, one[0])), ClaimItems.pack(_item(2, two[0])));
        _claim(2, two, 0);
        _mustSucceed(ann, abi.encodeCall(ISettlement.claim, (keeper, ann, list)));
        vm.assertEq(token.balanceOf(ann), 2 * 9_900_000_000, "both batches, once each");
    }

    function test_ADistributionCannotMakeAClaimFail() external {
        (Leaf[] memory one, Leaf[] memory two) = _twoBatches();
        bytes memory list = bytes.concat(ClaimItems.pack(_item(1, one[0])), ClaimItems.pack(_item(2, two[0])));
        _mustSucceed(stranger, Calls.distribute(keeper, 1, one));
        _mustSucceed(ann, abi.encodeCall(ISettlement.claim, (keeper, ann, list)));
        vm.assertEq(token.balanceOf(ann), 2 * 9_900_000_000, "one distributed, one claimed");
    }

    /// @dev A claim of one leaf blocks the distribution of its batch; then every leaf must be claimed, and can be.
    function test_AClaimThatBlocksADistributionTakesNothingFromAnybody() external {
        _collect(40 * CAPA);
        Leaf[] memory leaves = _leaves(mallory, 1, ann, 39_600_000_000 - 1);
        _commit(leaves);
        _skip(W);
        _claim(1, leaves, 0);
        _mustFail(keeper, Calls.distribute(keeper, 1, leaves), ISettlement.AlreadyPaid.selector);
        _claim(1, leaves, 1);
        vm.assertEq(token.balanceOf(ann), 39_600_000_000 - 1, "ann is paid all the same");
    }

    function test_AClaimPaysTheProviderWhoeverSendsIt() external {
        (Leaf[] memory one,) = _twoBatches();
        _mustSucceed(mallory, Calls.claim(keeper, 1, one, 0));
        vm.assertEq(token.balanceOf(ann), 9_900_000_000, "ann");
        bytes memory stolen = Calls.claim(keeper, mallory, 1, one[0].amount, 0, "");
        _mustFail(mallory, stolen, ISettlement.LeafNotProven.selector);
    }

    /// @dev A stranger recovers some of the items first, in its own order: the provider's list still goes through.
    function test_AStrangersRecoveryCannotMakeAListFail() external {
        vm.prank(client);
        settlement.open(mallorySession, keeper, 10 * CAPA);
        bytes memory a = _recovery(_voucher(1, 10 * CAPA, ann, 9 * CAPA), 9 * CAPA);
        bytes memory b = _recoveryBy(MALLORY_SESSION_KEY, _voucher(1, 10 * CAPA, ann, 9 * CAPA), 18 * CAPA);
        _lapse();
        _recover(b);
        _recover(bytes.concat(a, b));
        vm.assertEq(token.balanceOf(ann), 18 * CAPA, "9 from each channel");
    }

    function test_AUsedPermitDoesNotStopItsOwner() external {
        vm.prank(client);
        token.approve(address(settlement), 0);
        bytes32 hash =
            keccak256(abi.encode(PERMIT, client, address(settlement), DEPOSIT, token.nonces(client), block.timestamp));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(CLIENT_KEY, Signing.digest(token.DOMAIN_SEPARATOR(), hash));
        vm.prank(mallory);
        token.permit(client, address(settlement), DEPOSIT, block.timestamp, v, r, s);
        vm.prank(client);
        settlement.openWithPermit(session, keeper, DEPOSIT, block.timestamp, v, r, s);
        vm.assertEq(_channel().deposit, 2 * DEPOSIT, "the permit served its owner");
    }

    function _authorize(bytes32 salt) private view returns (Authorization memory a, bytes32 nonce) {
        a.salt = salt;
        a.validBefore = block.timestamp + 10;
        nonce = settlement.authorizationNonce(session, keeper, salt);
        bytes32 hash =
            keccak256(abi.encode(RECEIVE, client, address(settlement), DEPOSIT, a.validAfter, a.validBefore, nonce));
        (a.v, a.r, a.s) = vm.sign(CLIENT_KEY, Signing.digest(token.DOMAIN_SEPARATOR(), hash));
    }

    /// @dev The authorization's nonce names the channel, so a copy can open only the channel that was meant.
    function test_ACopiedAuthorizationOpensTheSameChannelOrNone() external {
        (Authorization memory a,) = _authorize("salt");
        uint256 held = token.balanceOf(client);
        vm.startPrank(mallory);
        try settlement.openWithAuthorization(client, mallorySession, keeper, DEPOSIT, a) {
            vm.assertTrue(false, "mallory's session key spends the client's deposit");
        } catch {}
        try settlement.openWithAuthorization(client, session, mallory, DEPOSIT, a) {
            vm.assertTrue(false, "mallory keeps the client's deposit");
        } catch {}
        vm.assertEq(token.balanceOf(client), held, "nothing was pulled");
        settlement.openWithAuthorization(client, session, keeper, DEPOSIT, a);
        vm.stopPrank();
        vm.assertEq(_channel().deposit, 2 * DEPOSIT, "the channel that the client signed");
    }

    /// @dev Sent to the token itself, it would pay the settlement without opening a channel: only the payee may do that.
    function test_AnAuthorizationCannotBeSentPastTheSettlement() external {
        (Authorization memory a, bytes32 nonce) = _authorize("salt");
        uint256 held = token.balanceOf(client);
        vm.prank(mallory);
        try token.receiveWithAuthorization(
            client, address(settlement), DEPOSIT, a.validAfter, a.validBefore, nonce, a.v, a.r, a.s
        ) {
            vm.assertTrue(false, "the client's money went in without a channel");
        } catch {}
        vm.assertEq(token.balanceOf(client), held, "nothing was pulled");
    }
}
