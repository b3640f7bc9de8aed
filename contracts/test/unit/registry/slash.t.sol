// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IProviderStake} from "../../../src/interfaces/IProviderStake.sol";
import {RegistrySettings} from "../../../src/types/Stake.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract SlashTest is RegistryFixture {
    function setUp() public override {
        super.setUp();
        _begin(ann);
    }

    function _refusesNothingSlashable(address provider) private {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NothingSlashable.selector, provider));
        _slash(provider, 1, 0);
    }

    function _assertTaken(uint64 slashed, uint64 compensated, uint64 left) private {
        (uint64 s, uint64 c) = _slash(ann, slashed + 1, compensated);
        vm.assertEq(s, slashed, "slashed");
        vm.assertEq(c, compensated, "compensated");
        _assertStake(ann, left, 0, 0);
    }

    /* CHECKS */

    function test_RevertWhen_NotTheSlasher() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NotSlasher.selector, governor, slasher));
        vm.prank(governor);
        registry.slash(ann, 1, client, 0, "verdict");
        vm.prank(governor);
        registry.setSlasher(address(0));
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NotSlasher.selector, slasher, address(0)));
        vm.prank(slasher);
        registry.slash(ann, 1, client, 0, "verdict");
    }

    function test_RevertWhen_TheAmountIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.ZeroAmount.selector));
        _slash(ann, 0, 0);
    }

    function test_RevertWhen_TheCompensationIsAboveTheAmount() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.CompensationAboveAmount.selector, 3, 2));
        _slash(ann, 2, 3);
    }

    function test_RevertWhen_TheClientCannotBePaid() external {
        client = address(0);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.InvalidClient.selector, address(0)));
        _slash(ann, 2, 1);
        client = address(registry);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.InvalidClient.selector, address(registry)));
        _slash(ann, 2, 1);
    }

    function test_RevertGiven_TheVerdictWasExecuted() external {
        vm.startPrank(slasher);
        vm.assertFalse(registry.isExecuted("verdict"), "before");
        registry.slash(ann, 1, client, 0, "verdict");
        vm.assertTrue(registry.isExecuted("verdict"), "after");
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.VerdictExecuted.selector, bytes32("verdict")));
        registry.slash(bob, 1, client, 0, "verdict");
    }

    function test_RevertGiven_NothingSlashable() external {
        _refusesNothingSlashable(stranger);
        _register(bob);
        _stake(bob, STAKE);
        _refusesNothingSlashable(bob);
        _slash(ann, BUDGET, 0);
        _refusesNothingSlashable(ann);
        _unstake(ann, STAKE - BUDGET);
        _skip(DELAY);
        _refusesNothingSlashable(ann);
        vm.assertFalse(registry.isExecuted(bytes32(verdicts)), "the verdict can still be passed");
    }

    /* WHAT IT TAKES */

    function test_WhenWithinTheBudget() external {
        vm.expectEmit(address(registry));
        emit IProviderStake.Slashed(ann, client, bytes32(verdicts + 1), 10, 4);
        (uint64 slashed, uint64 compensated) = _slash(ann, 10, 4);
        vm.assertEq(slashed, 10, "slashed");
        vm.assertEq(compensated, 4, "compensated");
        _assertStake(ann, STAKE - 10, 0, 0);
        vm.assertEq(registry.compensationOf(client), 4, "the client's part");
        vm.assertEq(registry.forfeits(), 6, "the rest");
        vm.assertEq(token.balanceOf(address(registry)), STAKE, "nothing moved");
        _slash(ann, 5, 5);
        vm.assertEq(registry.compensationOf(client), 9, "compensations add up");
        vm.assertEq(registry.forfeits(), 6, "nothing to forfeit");
    }

    function test_WhenThereIsNoCompensation() external {
        client = address(0);
        _slash(ann, 10, 0);
        vm.assertEq(registry.forfeits(), 10, "all of it");
        vm.assertEq(registry.compensationOf(client), 0, "nobody's");
    }

    function test_WhenAboveTheBudget() external {
        _assertTaken(BUDGET, 0, STAKE - BUDGET);
        vm.assertEq(registry.slashable(ann), 0, "budget used up");
    }

    function test_WhenLessIsTakenThanTheCompensation() external {
        (uint64 slashed, uint64 compensated) = _slash(ann, STAKE, STAKE / 2);
        vm.assertEq(slashed, BUDGET, "slashed");
        vm.assertEq(compensated, BUDGET, "the client comes first");
        vm.assertEq(registry.compensationOf(client), BUDGET, "the client's part");
        vm.assertEq(registry.forfeits(), 0, "nothing is left to burn");
    }

    /* THE EPOCH'S CAP */

    function test_GivenEarlierSlashes() external {
        for (uint256 i; i < 9; ++i) {
            _slash(ann, BUDGET / 9, 0);
        }
        _assertTaken(BUDGET - BUDGET / 9 * 9, 0, STAKE - BUDGET);
    }

    function test_GivenANewEpoch() external {
        _slash(ann, BUDGET, 0);
        _nextEpoch();
        uint64 second = (STAKE - BUDGET) / 10;
        _assertTaken(second, 0, STAKE - BUDGET - second);
    }

    function test_GivenMoreWasStaked() external {
        _stake(ann, STAKE);
        vm.assertEq(registry.slashable(ann), BUDGET, "not before the next epoch");
        _assertTaken(BUDGET, 0, 2 * STAKE - BUDGET);
    }

    function test_GivenEverythingWasUnstaked() external {
        _unstake(ann, STAKE);
        (uint64 slashed,) = _slash(ann, STAKE, 0);
        vm.assertEq(slashed, BUDGET, "unstaking evades nothing");
        _assertStake(ann, 0, STAKE - BUDGET, block.timestamp + DELAY);
    }

    function test_GivenAFractionalCap() external {
        _stake(ann, 9);
        _nextEpoch();
        vm.assertEq(registry.slashable(ann), BUDGET, "rounded down");
        _stake(ann, 1);
        _nextEpoch();
        vm.assertEq(registry.slashable(ann), BUDGET + 1, "a whole number");
    }

    /// @dev The least stake under the least cap: not even that rounds to nothing.
    function test_GivenTheSmallestStakeAndCap() external {
        registry = _deploy(address(token), RegistrySettings(slasher, 10_000, 2 * EPOCH, EPOCH, 1));
        _approve(bob);
        _register(bob);
        _stake(bob, 10_000);
        _nextEpoch();
        (uint64 slashed,) = _slash(bob, 10_000, 0);
        vm.assertEq(slashed, 1, "a nano");
    }

    /* EXITS */

    function test_GivenAnExitUnderWay() external {
        _unstake(ann, BUDGET / 2);
        uint256 withdrawAt = block.timestamp + DELAY;
        _slash(ann, BUDGET / 4, 0);
        _assertStake(ann, STAKE - BUDGET / 2, BUDGET / 4, withdrawAt);
        _slash(ann, BUDGET, 0);
        _assertStake(ann, STAKE - BUDGET, 0, 0);
    }

    function test_GivenTheLastSecondOfTheDelay() external {
        _unstake(ann, STAKE);
        _skip(DELAY - 1);
        (uint64 slashed,) = _slash(ann, 1, 0);
        vm.assertEq(slashed, 1, "still within reach");
        _skip(1);
        vm.assertEq(registry.slashable(ann), 0, "out of reach");
        _refusesNothingSlashable(ann);
    }

    function test_GivenANewStakeWasUnstakedAtOnce() external {
        _register(bob);
        _stake(bob, STAKE);
        _unstake(bob, STAKE);
        _refusesNothingSlashable(bob);
        _nextEpoch();
        (uint64 slashed,) = _slash(bob, STAKE, 0);
        vm.assertEq(slashed, BUDGET, "an exit spans the start of an epoch");
    }

    function test_GivenAnExitWasOverBeforeTheEpoch() external {
        _unstake(ann, STAKE / 2);
        _skip(DELAY);
        _nextEpoch();
        (uint64 slashed,) = _slash(ann, STAKE, 0);
        vm.assertEq(slashed, BUDGET / 2, "the cap of the other half");
        _assertStake(ann, STAKE / 2 - BUDGET / 2, STAKE / 2, block.timestamp - block.timestamp % EPOCH - EPOCH / 2);
    }

    function test_GivenAnExitEndsWithinTheEpoch() external {
        _unstake(ann, STAKE - MINIMUM);
        // The delay ends in the middle of the third epoch from here.
        _skip(DELAY);
        (uint64 slashed,) = _slash(ann, STAKE, 0);
        vm.assertEq(slashed, MINIMUM, "what is within reach, by the budget of the whole");
        _assertStake(ann, 0, STAKE - MINIMUM, block.timestamp);
        _withdrawStake(ann);
        vm.assertEq(token.balanceOf(ann), FUNDS - MINIMUM, "the exit is untouched");
    }

    /// @dev Whatever is staked, unstaked and slashed in between: an epoch's verdicts take at most the cap of its start.
    function testFuzz_AnEpochTakesAtMostItsCap(uint64 more, uint64 less, uint64[5] calldata amounts) external {
        more = MINIMUM + more % STAKE;
        uint256 taken;
        for (uint256 i; i < amounts.length; ++i) {
            if (i == 1) _stake(ann, more);
            if (i == 3) _unstake(ann, 1 + less % (STAKE - MINIMUM - BUDGET));
            if (registry.slashable(ann) == 0) continue;
            (uint64 slashed,) = _slash(ann, 1 + amounts[i] % BUDGET, 0);
            taken += slashed;
        }
        vm.assertLe(taken, BUDGET, "the cap of the stake at the epoch's start");
        vm.assertEq(registry.slashable(ann), BUDGET - taken, "what is left of it");
        vm.assertEq(registry.forfeits(), taken, "on the books");
    }
}
