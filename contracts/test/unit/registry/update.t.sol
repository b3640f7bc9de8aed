// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {Provider} from "../../../src/types/Provider.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract UpdateTest is RegistryFixture {
    function test_RevertGiven_NotRegistered() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.NotRegistered.selector, ann));
        vm.prank(ann);
        registry.update("", "", 0);
    }

    function test_RevertWhen_TooLong() external {
        _register(ann);
        vm.startPrank(ann);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.UriTooLong.selector, 257, 256));
        registry.update(string(new bytes(257)), TERMS_URI, TERMS);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.UriTooLong.selector, 257, 256));
        registry.update(ENDPOINT, string(new bytes(257)), TERMS);
    }

    function test_GivenRegistered() external {
        _register(ann);
        _addWorker(ann);
        uint256 registeredAt = block.timestamp;
        _skip(5);
        vm.expectEmit(address(registry));
        emit IProviderRegistry.ProviderUpdated(ann, "https://new.example", "ipfs://new", keccak256("new"));
        vm.prank(ann);
        registry.update("https://new.example", "ipfs://new", keccak256("new"));
        Provider memory p = registry.provider(ann);
        vm.assertEq(p.endpoint, "https://new.example", "endpoint");
        vm.assertEq(p.termsUri, "ipfs://new", "terms URI");
        vm.assertEq(p.terms, keccak256("new"), "terms");
        vm.assertEq(p.registeredAt, registeredAt, "registered at");
        vm.assertEq(p.workers, 1, "workers");
    }
}
