// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract RemoveWorkerTest is RegistryFixture {
    function _send(address provider) private {
        vm.prank(provider);
        registry.removeWorker(worker);
    }

    function test_RevertGiven_NotRegistered() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.NotRegistered.selector, bob));
        _send(bob);
    }

    function test_RevertGiven_NotTheCallers() external {
        _register(ann);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.NotWorkerOf.selector, worker, ann));
        _send(ann);
        _addWorker(ann);
        _register(bob);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.NotWorkerOf.selector, worker, bob));
        _send(bob);
    }

    function test_GivenTheCallers() external {
        _register(ann);
        _addWorker(ann);
        vm.expectEmit(address(registry));
        emit IProviderRegistry.WorkerRemoved(ann, worker);
        _send(ann);
        vm.assertEq(registry.providerOf(worker), address(0), "nobody's");
        vm.assertEq(registry.provider(ann).workers, 0, "workers");
        _register(bob);
        _addWorker(bob);
        vm.assertEq(registry.providerOf(worker), bob, "another's");
    }
}
