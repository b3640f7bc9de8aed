// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {Leaf} from "../utils/ReferenceTree.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";
import {Authorization} from "../../src/types/Authorization.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice Funds can always leave: only `open` and `bond` can be paused, and withdrawal is delayed, never refused.
contract ExitAttacks is AttackFixture {
    function setUp() public override {
        super.setUp();
        _start();
    }

    function test_APauseStopsNoExit() external {
        vm.prank(client);
        settlement.open(session, ann, 50 * CAPA);
        Leaf[] memory leaves = _commitAnn(40 * CAPA);
        _skip(W);
        vm.prank(guardian);
        settlement.pause();
        _claim(1, leaves, 0);
        settlement.redeem(ann, _sign(SESSION_KEY, _voucherOf(client, ann, 0, 10 * CAPA, ann, 10 * CAPA)));
        vm.assertEq(token.balanceOf(ann), 39_600_000_000 + 9_900_000_000, "claimed and redeemed");
        settlement.sweepFees();
        vm.assertEq(token.balanceOf(treasury), 500_000_000, "swept");
        _close();
        _lapse();
        _recover(_recovery(_voucher(2, 50 * CAPA, ann, 9 * CAPA), 9 * CAPA));
        vm.assertEq(token.balanceOf(ann), 58_500_000_000, "recovered");
        _skip(X);
        vm.assertEq(_withdraw(), 51 * CAPA, "withdrawn");
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        vm.assertEq(token.balanceOf(bondOwner), BOND * 9 / 10, "unbonded");
        vm.assertEq(token.balanceOf(address(settlement)), 40 * CAPA, "left is the open direct channel");
    }

    function test_AKeeperThatVanishedHoldsADepositForThawAtMost() external {
        _close();
        _skip(THAW - 1);
        _mustFail(client, abi.encodeCall(IEscrow.withdraw, (session, keeper)), IEscrow.TooEarly.selector);
        _skip(1);
        vm.assertEq(_withdraw(), 100 * CAPA, "all of it, without anybody's help");
    }

    function test_AnUnansweredChallengeThatNobodyFollowsUpHoldsNoDeposit() external {
        _collect(40 * CAPA);
        _commitGarbage();
        _challenge(mallory, 1);
        _close();
        _skip(THAW);
        vm.assertEq(_withdraw(), 60 * CAPA, "the batch is pending for ever; the rest of the deposit is not");
    }

    function test_CollectingUntilTheLastSecondTakesOnlyWhatWasSigned() external {
        bytes memory item = _item(_voucher(1, 40 * CAPA, ann, 39 * CAPA));
        _close();
        _skip(THAW);
        _collectItems(item);
        vm.assertEq(_withdraw(), 60 * CAPA, "the rest is paid in the same second");
    }

    function test_OnlyThePayerDecidesAboutItsChannel() external {
        bytes4 empty = IEscrow.ChannelEmpty.selector;
        _mustFail(session, abi.encodeCall(IEscrow.close, (session, keeper)), empty);
        _mustFail(keeper, abi.encodeCall(IEscrow.close, (session, keeper)), empty);
        _close();
        // Mallory's deposit for the same session key is a channel of her own, and ends no other's close.
        vm.prank(mallory);
        settlement.open(session, keeper, CAPA);
        vm.assertEq(_channel().thawAt, block.timestamp + THAW, "the close goes on");
    }

    function test_TheOwnerCanRaiseFeesToFivePercentAndNoMore() external {
        vm.startPrank(governor);
        settlement.setFeeBps(500);
        settlement.setMinimumBond(1e15);
        settlement.setTreasury(mallory);
        settlement.setGuardian(mallory);
        vm.stopPrank();
        _mustFail(governor, abi.encodeCall(IEscrow.setFeeBps, (501)), IEscrow.FeeTooHigh.selector);
        _close();
        _skip(THAW);
        vm.assertEq(_withdraw(), 100 * CAPA, "no parameter touches a deposit");
    }

    function test_ABondLeavesAfterRetirementThoughNothingIsLeftToDo() external {
        vm.prank(bondOwner);
        settlement.retire(keeper);
        // Silence costs a tenth; a heartbeat until the end costs nothing.
        for (uint256 time; time < U; time += W + T) {
            _heartbeat();
            _skip(W + T);
        }
        _heartbeat();
        _skip(W);
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        vm.assertEq(token.balanceOf(bondOwner), BOND, "all of the bond");
    }

    /// @dev A payer's own signature, which somebody kept and uses after it closed.
    function test_AnOldAuthorizationDoesNotDelayTheExit() external {
        Authorization memory a = _authorize(50 * CAPA);
        _close();
        _skip(THAW - 1);
        bytes memory data = abi.encodeCall(IEscrow.openWithAuthorization, (client, session, keeper, 50 * CAPA, a));
        _mustFail(mallory, data, IEscrow.AlreadyClosing.selector);
        _skip(1);
        vm.assertEq(_withdraw(), 100 * CAPA, "the deposit, in time");
    }

    function _authorize(uint64 amount) private view returns (Authorization memory a) {
        a.validBefore = type(uint256).max;
        bytes32 typeHash = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        bytes32 nonce = settlement.authorizationNonce(session, keeper, a.salt);
        bytes32 hash =
            keccak256(abi.encode(typeHash, client, address(settlement), amount, a.validAfter, a.validBefore, nonce));
        (a.v, a.r, a.s) = vm.sign(CLIENT_KEY, Signing.digest(token.DOMAIN_SEPARATOR(), hash));
    }
}
