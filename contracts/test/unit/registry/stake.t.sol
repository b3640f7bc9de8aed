// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {ProviderRegistry} from "../../../src/ProviderRegistry.sol";
import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {IProviderStake} from "../../../src/interfaces/IProviderStake.sol";
import {RegistrySettings} from "../../../src/types/Stake.sol";
import {CallingToken} from "../../utils/CallingToken.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {TaxedToken} from "../../utils/TaxedToken.sol";
import {vm} from "../../utils/Vm.sol";

/// @notice Stakes a second time when its token tells it of the first.
contract GreedyStaker {
    ProviderRegistry private immutable REGISTRY;
    bool private _again = true;

    constructor(ProviderRegistry registry) {
        REGISTRY = registry;
        registry.register("", "", 0);
    }

    function stake(uint64 amount) external {
        REGISTRY.stake(amount);
    }

    function moved() external {
        if (!_again) return;
        _again = false;
        REGISTRY.stake(1e12);
    }
}

contract StakeTest is RegistryFixture {
    function test_RevertGiven_NotRegistered() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.NotRegistered.selector, ann));
        _stake(ann, STAKE);
    }

    function test_RevertWhen_TheAmountIsZero() external {
        _register(ann);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.ZeroAmount.selector));
        _stake(ann, 0);
    }

    function test_RevertWhen_BelowTheMinimum() external {
        _register(ann);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.StakeTooSmall.selector, MINIMUM - 1, MINIMUM));
        _stake(ann, MINIMUM - 1);
    }

    function test_RevertWhen_TheCallerHasTooLittle() external {
        _register(ann);
        vm.expectRevert(abi.encodeWithSelector(SafeTransferLib.TransferFromFailed.selector));
        _stake(ann, uint64(FUNDS) + 1);
    }

    function test_RevertWhen_TheTokenDeliversLess() external {
        registry = _deploy(address(new TaxedToken()), _settings());
        _register(ann);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.InexactPull.selector, STAKE - 1, STAKE));
        _stake(ann, STAKE);
    }

    function test_RevertWhen_TheStakerIsCalledAndStakesAgain() external {
        CallingToken calling = new CallingToken();
        registry = _deploy(address(calling), _settings());
        GreedyStaker greedy = new GreedyStaker(registry);
        calling.mint(address(greedy), 3 * STAKE);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.InexactPull.selector, 2 * STAKE, STAKE));
        greedy.stake(STAKE);
    }

    function test_GivenNoStake() external {
        _register(ann);
        vm.expectEmit(address(registry));
        emit IProviderStake.Staked(ann, MINIMUM, MINIMUM);
        _stake(ann, MINIMUM);
        _assertStake(ann, MINIMUM, 0, 0);
        vm.assertEq(token.balanceOf(address(registry)), MINIMUM, "held");
        vm.assertEq(token.balanceOf(ann), FUNDS - MINIMUM, "paid");
        vm.assertEq(registry.slashable(ann), 0, "not in this epoch");
        _nextEpoch();
        vm.assertEq(registry.slashable(ann), MINIMUM / 10, "in the next one");
    }

    function test_GivenAStake() external {
        _begin(ann);
        vm.expectEmit(address(registry));
        emit IProviderStake.Staked(ann, 1, STAKE + 1);
        _stake(ann, 1);
        _assertStake(ann, STAKE + 1, 0, 0);
    }

    function test_GivenASlashLeftLessThanTheMinimum() external {
        _register(ann);
        _stake(ann, MINIMUM);
        _nextEpoch();
        _slash(ann, MINIMUM, 0);
        uint64 left = MINIMUM - MINIMUM / 10;
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.StakeTooSmall.selector, left + 1, MINIMUM));
        _stake(ann, 1);
        _stake(ann, MINIMUM / 10);
        _assertStake(ann, MINIMUM, 0, 0);
    }

    function test_GivenAnExit() external {
        _begin(ann);
        _unstake(ann, STAKE);
        uint256 withdrawAt = block.timestamp + DELAY;
        _skip(7);
        _stake(ann, MINIMUM);
        _assertStake(ann, MINIMUM, STAKE, withdrawAt);
    }

    /// @dev Two amounts of 64 bits at once, one staked and one exiting: a slash must not overflow.
    function test_GivenTheLargestAmounts() external {
        CallingToken huge = new CallingToken();
        RegistrySettings memory s = _settings();
        s.slashCapBps = 5000;
        registry = _deploy(address(huge), s);
        huge.mint(ann, uint256(1) << 72);
        _register(ann);
        _stake(ann, type(uint64).max);
        _unstake(ann, type(uint64).max);
        _stake(ann, type(uint64).max);
        _nextEpoch();
        vm.assertEq(registry.slashable(ann), type(uint64).max, "half of both");
        _slash(ann, type(uint64).max, 1);
        _nextEpoch();
        _slash(ann, type(uint64).max, 0);
        vm.assertEq(registry.compensationOf(client), 1, "the client's part");
        vm.assertEq(registry.forfeits(), uint256(type(uint64).max) + type(uint64).max / 2 - 1, "more than 64 bits");
    }
}
