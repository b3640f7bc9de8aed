// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {LeafTransfers} from "../../src/libraries/LeafTransfers.sol";
import {TokenMoves} from "../../src/libraries/TokenMoves.sol";
import {KeeperStatus} from "../../src/types/KeeperState.sol";
import {Voucher} from "../../src/types/Messages.sol";
import {ClaimItem, ClaimItems} from "../utils/ClaimItems.sol";
import {CallingToken, Puppet, RefusingToken, SilentToken} from "../utils/HostileTokens.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {TaxedToken} from "../utils/TaxedToken.sol";
import {vm} from "../utils/Vm.sol";

/// @notice What every ERC-20 has of these tokens.
interface IMintable {
    function mint(address to, uint256 amount) external;
    function approve(address spender, uint256 amount) external;
    function balanceOf(address account) external view returns (uint256);
}

/// @notice Settlements of tokens that take a fee, return false or nothing, fail, or call back: such a token is refused at
/// the first deposit, or its payments fail as a whole and can be repeated.
contract HostileTokensTest is SettlementFixture {
    using ReferenceTree for Leaf[];

    uint64 private constant TOTAL = 10 * CAPA;
    uint64 private constant FEE = TOTAL / 100;
    uint64 private constant PAID = TOTAL - FEE;

    IMintable private coin;
    Puppet private puppet;

    /// @dev The fixture's settlement from now on; client, keeper and a puppet can pay.
    function _use(address token_) private {
        coin = IMintable(token_);
        puppet = new Puppet();
        settlement = _settle(token_);
        domain = settlement.domainSeparator();
        coin.mint(client, 10 * BOND);
        coin.mint(keeper, 10 * BOND);
        coin.mint(address(puppet), 10 * BOND);
        vm.prank(client);
        coin.approve(address(settlement), type(uint256).max);
        vm.prank(keeper);
        coin.approve(address(settlement), type(uint256).max);
        vm.prank(address(puppet));
        coin.approve(address(settlement), type(uint256).max);
    }

    function _claimData() private view returns (bytes memory) {
        bytes memory items = ClaimItems.pack(ClaimItem({batch: 1, amount: PAID, index: 0, proof: ""}));
        return abi.encodeCall(settlement.claim, (keeper, ann, items));
    }

    function _distributeData() private view returns (bytes memory) {
        return abi.encodeCall(settlement.distribute, (keeper, 1, _leaves(ann, PAID).pack()));
    }

    /// @dev A call that must succeed.
    function _call(address caller, bytes memory data) private {
        vm.prank(caller);
        (bool success,) = address(settlement).call(data);
        vm.assertTrue(success, "the call");
    }

    /// @dev Ready to be paid: a client that closed, a direct payment, a final batch, fees, and a keeper that may leave.
    function _everythingDue() private {
        _start();
        vm.prank(client);
        settlement.open(session, bob, DEPOSIT);
        Leaf[] memory leaves = _commitAnn(TOTAL);
        vm.assertEq(leaves[0].amount, PAID, "the leaf");
        vm.prank(client);
        settlement.close(session, keeper);
        vm.prank(bondOwner);
        settlement.retire(keeper);
        _skip(U);
    }

    function _redeemData() private view returns (bytes memory) {
        Voucher memory v = _voucher(0, TOTAL, bob, TOTAL);
        v.keeper = bob;
        return abi.encodeCall(settlement.redeem, (bob, _item(v)));
    }

    function _payEverything() private {
        uint256 before = coin.balanceOf(client);
        _call(client, abi.encodeCall(settlement.withdraw, (session, keeper)));
        vm.assertEq(coin.balanceOf(client) - before, DEPOSIT - TOTAL, "withdraw");
        _call(stranger, _distributeData());
        vm.assertEq(coin.balanceOf(ann), PAID, "distribute");
        _call(stranger, _redeemData());
        vm.assertEq(coin.balanceOf(bob), PAID, "redeem");
        _call(stranger, abi.encodeCall(settlement.sweepFees, ()));
        vm.assertEq(coin.balanceOf(treasury), 2 * FEE, "sweepFees");
        _call(bondOwner, abi.encodeCall(settlement.unbond, (keeper)));
        vm.assertEq(coin.balanceOf(bondOwner), BOND, "unbond");
        vm.assertEq(coin.balanceOf(address(settlement)), DEPOSIT - TOTAL, "only the direct channel's rest is left");
    }

    /* FEES AND REFUSALS */

    function test_ATokenThatTakesAFeeIsRefused() external {
        settlement = _settle(address(new TaxedToken()));
        vm.expectRevert(abi.encodeWithSelector(TokenMoves.InexactPull.selector, DEPOSIT - 1, DEPOSIT));
        _open(DEPOSIT);
        vm.expectRevert(abi.encodeWithSelector(TokenMoves.InexactPull.selector, BOND - 1, BOND));
        _bond();
    }

    function _refusesToPull(RefusingToken.Mode mode, bytes memory reasonOfOpen, bytes memory reasonOfBond) private {
        RefusingToken(address(coin)).setMode(mode);
        vm.expectRevert(reasonOfOpen);
        _open(DEPOSIT);
        vm.expectRevert(reasonOfBond);
        _bond();
        vm.assertEq(_channel().deposit, 0, "no deposit");
        vm.assertEq(_keeper().bond, 0, "no bond");
    }

    function test_ARefusedPullIsNoDeposit() external {
        _use(address(new RefusingToken()));
        bytes memory failed = abi.encodeWithSelector(SafeTransferLib.TransferFromFailed.selector);
        _refusesToPull(RefusingToken.Mode.Revert, failed, failed);
        _refusesToPull(RefusingToken.Mode.ReturnFalse, failed, failed);
        bytes4 inexact = TokenMoves.InexactPull.selector;
        _refusesToPull(
            RefusingToken.Mode.ReturnTrue,
            abi.encodeWithSelector(inexact, 0, DEPOSIT),
            abi.encodeWithSelector(inexact, 0, BOND)
        );
    }

    function _refuses(address caller, bytes memory data, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(caller);
        // The call's outcome is what expectRevert looks at.
        (bool outcome,) = address(settlement).call(data);
        outcome;
    }

    function _refusesEveryPayout() private {
        bytes memory failed = abi.encodeWithSelector(SafeTransferLib.TransferFailed.selector);
        _refuses(client, abi.encodeCall(settlement.withdraw, (session, keeper)), failed);
        _refuses(stranger, _claimData(), failed);
        _refuses(stranger, _redeemData(), failed);
        _refuses(stranger, abi.encodeCall(settlement.sweepFees, ()), failed);
        _refuses(bondOwner, abi.encodeCall(settlement.unbond, (keeper)), failed);
        bytes memory leafFailed = abi.encodeWithSelector(LeafTransfers.LeafTransferFailed.selector, ann, PAID);
        _refuses(stranger, _distributeData(), leafFailed);
    }

    function test_ARefusedPayoutIsNotLost() external {
        _use(address(new RefusingToken()));
        _everythingDue();
        RefusingToken(address(coin)).setMode(RefusingToken.Mode.Revert);
        _refusesEveryPayout();
        RefusingToken(address(coin)).setMode(RefusingToken.Mode.ReturnFalse);
        _refusesEveryPayout();
        RefusingToken(address(coin)).setMode(RefusingToken.Mode.Pay);
        _payEverything();
    }

    function _windsDown(RefusingToken.Mode mode) private {
        _use(address(new RefusingToken()));
        _start();
        _commitAnn(TOTAL);
        RefusingToken(address(coin)).setMode(mode);
        _void(ann, TOTAL);
        _assertStatus(KeeperStatus.WoundDown);
        vm.assertEq(_keeper().bond, 0, "forfeited");
        vm.assertEq(coin.balanceOf(ann), 0, "no reward");
    }

    function test_ARefusedRewardDoesNotSaveAKeeper() external {
        _windsDown(RefusingToken.Mode.Revert);
        _windsDown(RefusingToken.Mode.ReturnFalse);
    }

    function test_ATokenThatReturnsNothingPays() external {
        _use(address(new SilentToken()));
        _everythingDue();
        _payEverything();
    }

    /* CALLS BACK */

    /// @dev Makes every payment of the token call the settlement again, by way of the puppet.
    function _callBack(bytes memory data) private {
        CallingToken(address(coin)).callBack(address(puppet), abi.encodeCall(Puppet.run, (address(settlement), data)));
    }

    /// @dev The token did call back, so often, and the settlement took so many of these calls.
    function _assertCalls(uint256 calls, uint256 successes) private view {
        vm.assertEq(CallingToken(address(coin)).calls(), calls, "calls back");
        vm.assertEq(CallingToken(address(coin)).successes(), successes, "of which the settlement took");
    }

    /// @dev Calls it, and again in the middle of its payment. Returns what it paid.
    function _payTwice(bytes memory data) private returns (uint256) {
        uint256 before = coin.balanceOf(address(settlement));
        _callBack(data);
        _call(stranger, data);
        return before - coin.balanceOf(address(settlement));
    }

    function _payable() private {
        _use(address(new CallingToken()));
        _everythingDue();
    }

    function test_PaymentsThatCallThemselvesPayOnce() external {
        _payable();
        vm.assertEq(_payTwice(_distributeData()), PAID, "distribute");
        _assertCalls(1, 0);
        _payable();
        vm.assertEq(_payTwice(_redeemData()), PAID, "redeem");
        _assertCalls(1, 0);
        // A claim of what is paid and a sweep of nothing are no errors, and pay nothing.
        _payable();
        vm.assertEq(_payTwice(_claimData()), PAID, "claim");
        _assertCalls(1, 1);
        vm.assertEq(_payTwice(abi.encodeCall(settlement.sweepFees, ())), FEE, "sweepFees");
        _assertCalls(2, 2);
    }

    function test_AWithdrawalThatCallsItselfPaysOnce() external {
        _use(address(new CallingToken()));
        _everythingDue();
        bytes memory withdraw = abi.encodeCall(settlement.withdraw, (session, bob));
        puppet.run(address(settlement), abi.encodeCall(settlement.open, (session, bob, DEPOSIT)));
        puppet.run(address(settlement), abi.encodeCall(settlement.close, (session, bob)));
        _skip(THAW);
        uint256 before = coin.balanceOf(address(puppet));
        _callBack(withdraw);
        puppet.run(address(settlement), withdraw);
        vm.assertEq(coin.balanceOf(address(puppet)) - before, DEPOSIT, "paid once");
        _assertCalls(1, 0);
    }

    function test_ADepositThatCallsBackIsRefused() external {
        _use(address(new CallingToken()));
        bytes memory open = abi.encodeCall(settlement.open, (session, bob, DEPOSIT));
        _callBack(open);
        // Two deposits arrive within the first one's measurement.
        vm.expectRevert(abi.encodeWithSelector(TokenMoves.InexactPull.selector, 2 * DEPOSIT, DEPOSIT));
        puppet.run(address(settlement), open);
        vm.assertEq(coin.balanceOf(address(settlement)), 0, "nothing moved");
    }

    function test_AVoidThatCallsItselfRewardsOnce() external {
        _use(address(new CallingToken()));
        _start();
        _commitAnn(TOTAL);
        _challenge(ann, TOTAL);
        _skip(R + 1);
        _callBack(abi.encodeCall(settlement.void, (keeper, ann)));
        settlement.void(keeper, ann);
        vm.assertEq(coin.balanceOf(ann), BOND / 10, "rewarded once");
        _assertCalls(1, 0);
    }

    function test_ARecoveryThatCallsItselfPaysOnce() external {
        _use(address(new CallingToken()));
        _start();
        _commitAnn(TOTAL);
        _void(cat, 1);
        bytes memory data = abi.encodeCall(settlement.recover, (keeper, _recovery(_voucher(1, TOTAL, ann, PAID), PAID)));
        _callBack(data);
        _call(stranger, data);
        vm.assertEq(coin.balanceOf(ann), PAID, "paid once");
        // The repetition finds the item paid, skips it, and pays nothing.
        _assertCalls(1, 1);
    }

    /// @dev A provider that is paid directly lets the client's withdrawal in before its own payment returns.
    function test_AWithdrawalWithinARedemptionPaysTheRest() external {
        _use(address(new CallingToken()));
        puppet.run(address(settlement), abi.encodeCall(settlement.open, (session, bob, DEPOSIT)));
        puppet.run(address(settlement), abi.encodeCall(settlement.close, (session, bob)));
        _skip(THAW);
        Voucher memory v = _voucher(0, TOTAL, bob, TOTAL);
        (v.payer, v.keeper) = (address(puppet), bob);
        uint256 before = coin.balanceOf(address(puppet));
        _callBack(abi.encodeCall(settlement.withdraw, (session, bob)));
        settlement.redeem(bob, _item(v));
        _assertCalls(1, 1);
        vm.assertEq(coin.balanceOf(bob), PAID, "redeemed");
        vm.assertEq(coin.balanceOf(address(puppet)) - before, DEPOSIT - TOTAL, "withdrawn");
        vm.assertEq(coin.balanceOf(address(settlement)), FEE, "only the fee is left");
    }

    /// @dev The other way round the client has left before the provider's voucher arrives.
    function test_ARedemptionWithinAWithdrawalPaysNothing() external {
        _use(address(new CallingToken()));
        puppet.run(address(settlement), abi.encodeCall(settlement.open, (session, bob, DEPOSIT)));
        puppet.run(address(settlement), abi.encodeCall(settlement.close, (session, bob)));
        _skip(THAW);
        Voucher memory v = _voucher(0, TOTAL, bob, TOTAL);
        (v.payer, v.keeper) = (address(puppet), bob);
        _callBack(abi.encodeCall(settlement.redeem, (bob, _item(v))));
        puppet.run(address(settlement), abi.encodeCall(settlement.withdraw, (session, bob)));
        _assertCalls(1, 0);
        vm.assertEq(coin.balanceOf(bob), 0, "not redeemed");
        vm.assertEq(coin.balanceOf(address(settlement)), 0, "nothing is left");
    }
}
