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

    function test_RevertWhen_TooLong() external {
        vm.startPrank(ann);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.UriTooLong.selector, 257, 256));
        registry.register(string(new bytes(257)), TERMS_URI, TERMS);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.UriTooLong.selector, 300, 256));
        registry.register(ENDPOINT, string(new bytes(300)), TERMS);
    }

    function test_WhenEmptyOrLongest() external {
        vm.prank(ann);
        registry.register("", "", 0);
        vm.assertEq(registry.provider(ann).registeredAt, block.timestamp, "registered without texts");
        vm.assertEq(registry.provider(ann).endpoint, "", "empty");
        string memory longest = string(new bytes(256));
        vm.prank(bob);
        registry.register(longest, longest, TERMS);
        vm.assertEq(registry.provider(bob).endpoint, longest, "longest endpoint");
        vm.assertEq(registry.provider(bob).termsUri, longest, "longest terms URI");
    }

    function test_GivenNew() external {
        vm.expectEmit(address(registry));
        emit IProviderRegistry.ProviderRegistered(ann, ENDPOINT, TERMS_URI, TERMS);
        _register(ann);
        Provider memory p = registry.provider(ann);
        vm.assertEq(p.registeredAt, block.timestamp, "registered at");
        vm.assertEq(p.endpoint, ENDPOINT, "endpoint");
        vm.assertEq(p.termsUri, TERMS_URI, "terms URI");
        vm.assertEq(p.terms, TERMS, "terms");
        vm.assertEq(p.workers, 0, "workers");
        vm.assertEq(registry.provider(bob).registeredAt, 0, "a stranger");
    }
}
