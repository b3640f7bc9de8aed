// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ProviderRegistry} from "../../src/ProviderRegistry.sol";
import {vm} from "./Vm.sol";

/// @notice A registry, two providers and a worker key.
abstract contract RegistryFixture {
    uint256 internal constant WORKER_KEY = 0x303;

    address internal ann = address(0xa001);
    address internal bob = address(0xb002);
    address internal worker = vm.addr(WORKER_KEY);
    bytes32 internal constant TERMS = keccak256("terms");

    ProviderRegistry internal registry;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        registry = new ProviderRegistry();
    }

    function _register(address provider) internal {
        vm.prank(provider);
        registry.register("https://provider.example", TERMS);
    }

    /// @dev The worker's consent to work for `provider`, in 65 bytes.
    function _consent(uint256 key, address provider) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, registry.consentDigest(provider, worker));
        return abi.encodePacked(r, s, v);
    }

    function _addWorker(address provider) internal {
        bytes memory signature = _consent(WORKER_KEY, provider);
        vm.prank(provider);
        registry.addWorker(worker, signature);
    }
}
