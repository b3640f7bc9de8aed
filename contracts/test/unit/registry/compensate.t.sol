// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {ProviderRegistry} from "../../../src/ProviderRegistry.sol";
import {IProviderStake} from "../../../src/interfaces/IProviderStake.sol";
import {BlockingToken} from "../../utils/BlockingToken.sol";
import {CallingToken} from "../../utils/CallingToken.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

/// @notice Asks for its compensation again when its token tells it of the payment.
contract GreedyClient {
    ProviderRegistry private immutable REGISTRY;

    constructor(ProviderRegistry registry) {
        REGISTRY = registry;
    }

    function moved() external {
        REGISTRY.compensate(address(this));
    }
}

contract CompensateTest is RegistryFixture {
    function test_RevertGiven_NothingIsOwed() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NothingOwed.selector, client));
        registry.compensate(client);
    }

    function test_GivenSomethingIsOwed() external {
        _begin(ann);
        _slash(ann, 10, 4);
        _slash(ann, 10, 3);
        vm.expectEmit(address(registry));
        emit IProviderStake.Compensated(client, 7);
        vm.prank(stranger);
        registry.compensate(client);
        vm.assertEq(token.balanceOf(client), 7, "paid");
        vm.assertEq(token.balanceOf(stranger), 0, "nothing for the caller");
        vm.assertEq(registry.compensationOf(client), 0, "nothing owed");
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NothingOwed.selector, client));
        registry.compensate(client);
    }

    function test_GivenTheTokenRefusesTheClient() external {
        BlockingToken blocking = new BlockingToken();
        registry = _deploy(address(blocking), _settings());
        blocking.mint(ann, STAKE);
        _begin(ann);
        address blocked = client;
        blocking.setBlocked(blocked, true);
        (uint64 slashed,) = _slash(ann, 10, 4);
        vm.assertEq(slashed, 10, "the verdict is carried out");
        vm.expectRevert(abi.encodeWithSelector(SafeTransferLib.TransferFailed.selector));
        registry.compensate(blocked);
        vm.assertEq(registry.compensationOf(blocked), 4, "still owed");

        client = address(0xc12e);
        _slash(ann, 10, 5);
        registry.compensate(client);
        vm.assertEq(blocking.balanceOf(client), 5, "another client is paid");
        _unstake(ann, STAKE - 20);
        _skip(DELAY);
        _withdrawStake(ann);
        vm.assertEq(blocking.balanceOf(ann), STAKE - 20, "the provider leaves");

        blocking.setBlocked(blocked, false);
        registry.compensate(blocked);
        vm.assertEq(blocking.balanceOf(blocked), 4, "paid after all");
    }

    function test_RevertWhen_TheClientIsCalledAndAsksAgain() external {
        CallingToken calling = new CallingToken();
        registry = _deploy(address(calling), _settings());
        calling.mint(ann, STAKE);
        _begin(ann);
        client = address(new GreedyClient(registry));
        _slash(ann, 10, 10);
        vm.expectRevert(abi.encodeWithSelector(SafeTransferLib.TransferFailed.selector));
        registry.compensate(client);
        vm.assertEq(registry.compensationOf(client), 10, "still owed");
    }
}
