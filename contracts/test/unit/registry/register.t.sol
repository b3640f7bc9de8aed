// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {Provider} from "../../../src/types/Provider.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract RegisterTest is RegistryFixture {
    function test_RevertGiven_Registered() external {
        _register(ann);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.AlreadyRegistered.selector, ann));
        _register(ann);
    }

    function test_GivenNew() external {
        vm.expectEmit(address(registry));
        emit IProviderRegistry.ProviderRegistered(ann, "https://provider.example", TERMS);
        _register(ann);
        Provider memory p = registry.provider(ann);
        vm.assertEq(p.registeredAt, block.timestamp, "registered at");
        vm.assertEq(p.endpoint, "https://provider.example", "endpoint");
        vm.assertEq(p.terms, TERMS, "terms");
        vm.assertEq(p.workers, 0, "workers");
        vm.assertEq(registry.provider(bob).registeredAt, 0, "a stranger");
    }
}
