// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Calls} from "../utils/Calls.sol";
import {vm} from "../utils/Vm.sol";
import {AttackFixture} from "./AttackFixture.sol";

/// @notice In a direct channel a provider needs no one. Mallory is the provider here, because she can also keep batches; she
/// holds a voucher of 40 CAPA of 100.
contract DirectChannelAttacks is AttackFixture {
    bytes private item;

    function setUp() public override {
        super.setUp();
        vm.prank(client);
        settlement.open(session, mallory, DEPOSIT);
        item = _sign(SESSION_KEY, _voucherOf(client, mallory, 0, 40 * CAPA, mallory, 40 * CAPA));
    }

    function _earned() private view returns (uint256) {
        return token.balanceOf(mallory) - 10_000 * CAPA;
    }

    function test_ARedemptionPaysAtOnceWhoeverSendsIt() external {
        vm.prank(stranger);
        settlement.redeem(mallory, item);
        vm.assertEq(_earned(), 39_600_000_000, "40 less 1 %");
        vm.assertEq(settlement.fees(), 400_000_000, "the fee");
    }

    function test_AClientCannotLeaveBeforeItsProviderHadThaw() external {
        vm.startPrank(client);
        settlement.close(session, mallory);
        _skip(THAW - 1);
        vm.stopPrank();
        _mustFail(client, abi.encodeCall(IEscrow.withdraw, (session, mallory)), IEscrow.TooEarly.selector);
        settlement.redeem(mallory, item);
        vm.assertEq(_earned(), 39_600_000_000, "redeemed in the last second");
        _skip(1);
        vm.prank(client);
        settlement.withdraw(session, mallory);
        vm.assertEq(_channelOf(client, session, mallory).deposit, 40 * CAPA, "60 left, the redeemed 40 stay paid");
    }

    function test_ARedemptionAfterTheExitPaysNothing() external {
        vm.startPrank(client);
        settlement.close(session, mallory);
        _skip(THAW);
        settlement.withdraw(session, mallory);
        vm.stopPrank();
        _mustFail(mallory, Calls.redeem(mallory, item), ISettlement.TotalAboveDeposit.selector);
    }

    function test_NoStateOfTheAddressAsAKeeperStopsARedemption() external {
        uint64 total = 10 * CAPA;
        _bondMallory();
        _redeemUpTo(total);
        vm.prank(bondOwner);
        settlement.retire(mallory);
        _redeemUpTo(2 * total);
        _skip(T + 1);
        settlement.lapse(mallory);
        _redeemUpTo(3 * total);
        _skip(X);
        _redeemUpTo(4 * total);
        uint256 held = token.balanceOf(mallory) + BOND;
        vm.assertEq(held - 10_000 * CAPA, 39_600_000_000, "four times 10 less 1 %, beside the bond that was put in");
    }

    function _redeemUpTo(uint64 total) private {
        bytes memory list = _sign(SESSION_KEY, _voucherOf(client, mallory, 0, total, mallory, total));
        vm.prank(mallory);
        settlement.redeem(mallory, list);
    }

    function test_ManySmallRedemptionsPayNoLessFee() external {
        for (uint64 i = 1; i <= 20; ++i) {
            _redeemUpTo(i * 7);
        }
        vm.assertEq(settlement.fees(), 20, "each rounds its fee up, so splitting saves nothing");
        vm.assertEq(_earned(), 120, "140 less 20");
    }

    /// @dev The one known nuisance: a list fails if one of its vouchers was redeemed before. Nothing is lost by it.
    function test_AStrangerThatRedeemsFirstOnlyPaysTheGas() external {
        _openMallory(mallory, 10 * CAPA);
        bytes memory own = _sign(MALLORY_SESSION_KEY, _voucherOf(mallory, mallory, 0, CAPA, mallory, CAPA));
        uint256 before = token.balanceOf(mallory);
        vm.prank(stranger);
        settlement.redeem(mallory, own);
        bytes memory list = bytes.concat(item, own);
        _mustFail(mallory, Calls.redeem(mallory, list), ISettlement.TotalNotAbove.selector);
        settlement.redeem(mallory, item);
        vm.assertEq(token.balanceOf(mallory) - before, 39_600_000_000 + 990_000_000, "both are paid");
    }

    function test_OneDepositCannotBePromisedToTwoProviders() external {
        bytes memory other = _sign(SESSION_KEY, _voucherOf(client, bob, 0, 40 * CAPA, bob, 40 * CAPA));
        _mustFail(bob, Calls.redeem(bob, other), ISettlement.TotalAboveDeposit.selector);
        _mustFail(bob, Calls.redeem(mallory, other), ISettlement.TotalAboveDeposit.selector);
    }
}
