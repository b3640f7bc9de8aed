// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {ProviderRegistry} from "../../../src/ProviderRegistry.sol";
import {IProviderStake} from "../../../src/interfaces/IProviderStake.sol";
import {BlockingToken} from "../../utils/BlockingToken.sol";
import {CallingToken} from "../../utils/CallingToken.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

/// @notice Withdraws again when its token tells it of the withdrawal.
contract GreedyLeaver {
    ProviderRegistry private immutable REGISTRY;
    bool private _leaving;

    constructor(ProviderRegistry registry) {
        REGISTRY = registry;
        registry.register("", "", 0);
    }

    function enter(uint64 amount) external {
        REGISTRY.stake(amount);
        REGISTRY.unstake(amount);
    }

    function leave() external {
        _leaving = true;
        REGISTRY.withdrawStake();
    }

    function moved() external {
        if (_leaving) REGISTRY.withdrawStake();
    }
}

contract WithdrawStakeTest is RegistryFixture {
    function setUp() public override {
        super.setUp();
        _begin(ann);
    }

    function test_RevertGiven_NothingExiting() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NothingExiting.selector, ann));
        _withdrawStake(ann);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NothingExiting.selector, stranger));
        _withdrawStake(stranger);
    }

    function test_RevertGiven_TheDelayIsNotOver() external {
        _unstake(ann, STAKE);
        uint256 withdrawAt = block.timestamp + DELAY;
        _skip(DELAY - 1);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.TooEarly.selector, withdrawAt));
        _withdrawStake(ann);
    }

    function test_GivenTheDelayIsOver() external {
        _unstake(ann, STAKE / 4);
        _skip(DELAY);
        vm.expectEmit(address(registry));
        emit IProviderStake.StakeWithdrawn(ann, STAKE / 4);
        _withdrawStake(ann);
        _assertStake(ann, STAKE - STAKE / 4, 0, 0);
        vm.assertEq(token.balanceOf(ann), FUNDS - STAKE + STAKE / 4, "paid");
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NothingExiting.selector, ann));
        _withdrawStake(ann);
    }

    function test_GivenASlashTookAPart() external {
        _unstake(ann, STAKE);
        _slash(ann, 7, 0);
        _skip(DELAY);
        _withdrawStake(ann);
        vm.assertEq(token.balanceOf(ann), FUNDS - 7, "the rest");
        _assertStake(ann, 0, 0, 0);
    }

    function test_RevertGiven_ASlashTookAll() external {
        _unstake(ann, BUDGET);
        _slash(ann, BUDGET, 0);
        _skip(DELAY);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NothingExiting.selector, ann));
        _withdrawStake(ann);
        _assertStake(ann, STAKE - BUDGET, 0, 0);
    }

    function test_GivenTheExitIsOverWhenAVerdictComes() external {
        _unstake(ann, STAKE);
        _skip(DELAY);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NothingSlashable.selector, ann));
        _slash(ann, 1, 0);
        _withdrawStake(ann);
        vm.assertEq(token.balanceOf(ann), FUNDS, "all of it");
    }

    function test_RevertWhen_TheProviderIsCalledAndWithdrawsAgain() external {
        CallingToken calling = new CallingToken();
        registry = _deploy(address(calling), _settings());
        GreedyLeaver greedy = new GreedyLeaver(registry);
        calling.mint(address(greedy), STAKE);
        calling.mint(address(registry), STAKE);
        greedy.enter(STAKE);
        _skip(DELAY);
        vm.expectRevert(abi.encodeWithSelector(SafeTransferLib.TransferFailed.selector));
        greedy.leave();
    }

    function test_GivenTheTokenRefusesTheProvider() external {
        BlockingToken blocking = new BlockingToken();
        registry = _deploy(address(blocking), _settings());
        blocking.mint(ann, STAKE);
        _begin(ann);
        _unstake(ann, STAKE);
        _skip(DELAY);
        blocking.setBlocked(ann, true);
        vm.expectRevert(abi.encodeWithSelector(SafeTransferLib.TransferFailed.selector));
        _withdrawStake(ann);
        blocking.setBlocked(ann, false);
        _withdrawStake(ann);
        vm.assertEq(blocking.balanceOf(ann), STAKE, "paid after all");
    }
}
