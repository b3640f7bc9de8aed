// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IProviderStake} from "../../../src/interfaces/IProviderStake.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract UnstakeTest is RegistryFixture {
    function setUp() public override {
        super.setUp();
        _begin(ann);
    }

    function test_RevertWhen_TheAmountIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.ZeroAmount.selector));
        _unstake(ann, 0);
    }

    function test_RevertWhen_AboveTheStake() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.AmountAboveStake.selector, STAKE + 1, STAKE));
        _unstake(ann, STAKE + 1);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.AmountAboveStake.selector, 1, 0));
        _unstake(stranger, 1);
        _unstake(ann, STAKE);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.AmountAboveStake.selector, 1, 0));
        _unstake(ann, 1);
    }

    function test_RevertWhen_LessThanTheMinimumWouldBeLeft() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.StakeTooSmall.selector, MINIMUM - 1, MINIMUM));
        _unstake(ann, STAKE - MINIMUM + 1);
    }

    function test_WhenTheMinimumIsLeft() external {
        uint32 withdrawAt = uint32(block.timestamp) + DELAY;
        vm.expectEmit(address(registry));
        emit IProviderStake.Unstaked(ann, STAKE - MINIMUM, STAKE - MINIMUM, withdrawAt);
        _unstake(ann, STAKE - MINIMUM);
        _assertStake(ann, MINIMUM, STAKE - MINIMUM, withdrawAt);
    }

    function test_WhenAllOfIt() external {
        _unstake(ann, STAKE);
        _assertStake(ann, 0, STAKE, block.timestamp + DELAY);
        vm.assertEq(token.balanceOf(address(registry)), STAKE, "still held");
    }

    function test_GivenAnExitUnderWay() external {
        _unstake(ann, MINIMUM);
        _skip(DELAY - 1);
        uint32 withdrawAt = uint32(block.timestamp) + DELAY;
        vm.expectEmit(address(registry));
        emit IProviderStake.Unstaked(ann, 5, MINIMUM + 5, withdrawAt);
        _unstake(ann, 5);
        _assertStake(ann, STAKE - MINIMUM - 5, MINIMUM + 5, withdrawAt);
        _skip(DELAY - 1);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.TooEarly.selector, withdrawAt));
        _withdrawStake(ann);
    }

    function test_RevertGiven_AnExitIsOver() external {
        _unstake(ann, MINIMUM);
        _skip(DELAY);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.ExitReady.selector, MINIMUM));
        _unstake(ann, 1);
        _withdrawStake(ann);
        _unstake(ann, 1);
        _assertStake(ann, STAKE - MINIMUM - 1, 1, block.timestamp + DELAY);
    }

    function test_GivenASlashLeftLessThanTheMinimum() external {
        _unstake(ann, STAKE - MINIMUM);
        _skip(DELAY);
        _withdrawStake(ann);
        _nextEpoch();
        _slash(ann, MINIMUM, 0);
        uint64 left = MINIMUM - MINIMUM / 10;
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.StakeTooSmall.selector, left - 1, MINIMUM));
        _unstake(ann, 1);
        _unstake(ann, left);
        _assertStake(ann, 0, left, block.timestamp + DELAY);
    }

    function test_GivenTheEpochHasBegun() external {
        _unstake(ann, STAKE);
        vm.assertEq(registry.slashable(ann), BUDGET, "this epoch's budget");
        _nextEpoch();
        vm.assertEq(registry.slashable(ann), BUDGET, "the next one's");
    }
}
