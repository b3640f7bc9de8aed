// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IProviderStake} from "../../../src/interfaces/IProviderStake.sol";
import {BlockingToken} from "../../utils/BlockingToken.sol";
import {CallingToken} from "../../utils/CallingToken.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract BurnForfeitsTest is RegistryFixture {
    function test_RevertGiven_NothingIsForfeited() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NothingForfeited.selector));
        registry.burnForfeits();
        _begin(ann);
        _slash(ann, 10, 10);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.NothingForfeited.selector));
        registry.burnForfeits();
    }

    function test_GivenForfeits() external {
        _begin(ann);
        _slash(ann, 10, 4);
        _slash(ann, 10, 3);
        uint256 supply = token.totalSupply();
        vm.expectEmit(address(registry));
        emit IProviderStake.ForfeitsBurned(13);
        vm.prank(stranger);
        registry.burnForfeits();
        vm.assertEq(token.totalSupply(), supply - 13, "burned");
        vm.assertEq(token.balanceOf(address(registry)), STAKE - 13, "the rest is the provider's and the client's");
        vm.assertEq(registry.forfeits(), 0, "nothing left to burn");
    }

    function test_RevertGiven_TheTokenHasNoBurn() external {
        BlockingToken plain = new BlockingToken();
        registry = _deploy(address(plain), _settings());
        plain.mint(ann, STAKE);
        _begin(ann);
        _slash(ann, 10, 4);
        vm.expectRevert("");
        registry.burnForfeits();
        vm.assertEq(registry.forfeits(), 6, "kept");
        registry.compensate(client);
        vm.assertEq(plain.balanceOf(address(registry)), STAKE - 4, "kept");
    }

    function test_RevertGiven_BurnDoesNothing() external {
        CallingToken idle = new CallingToken();
        registry = _deploy(address(idle), _settings());
        idle.mint(ann, STAKE);
        _begin(ann);
        _slash(ann, 10, 4);
        vm.expectRevert(abi.encodeWithSelector(IProviderStake.InexactBurn.selector, 0, 6));
        registry.burnForfeits();
        vm.assertEq(registry.forfeits(), 6, "kept");
    }
}
