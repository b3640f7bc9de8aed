// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ECDSA} from "solady/utils/ECDSA.sol";
import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract AddWorkerTest is RegistryFixture {
    function setUp() public override {
        super.setUp();
        _register(ann);
    }

    function _send(address provider, bytes memory signature) private {
        vm.prank(provider);
        registry.addWorker(worker, signature);
    }

    function test_RevertGiven_NotRegistered() external {
        bytes memory signature = _consent(WORKER_KEY, bob);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.NotRegistered.selector, bob));
        _send(bob, signature);
    }

    function test_RevertGiven_TheKeyHasAProvider() external {
        _addWorker(ann);
        _register(bob);
        bytes memory signature = _consent(WORKER_KEY, bob);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.WorkerTaken.selector, worker, ann));
        _send(bob, signature);
        signature = _consent(WORKER_KEY, ann);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.WorkerTaken.selector, worker, ann));
        _send(ann, signature);
    }

    function test_RevertWhen_TheKeyDidNotConsent() external {
        bytes memory signature = _consent(0xbad, ann);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.NoConsent.selector, worker, vm.addr(0xbad)));
        _send(ann, signature);
        signature = _consent(WORKER_KEY, bob);
        vm.expectPartialRevert(IProviderRegistry.NoConsent.selector);
        _send(ann, signature);
    }

    function test_RevertWhen_Malformed() external {
        vm.expectRevert(abi.encodeWithSelector(ECDSA.InvalidSignature.selector));
        _send(ann, new bytes(63));
        vm.expectRevert(abi.encodeWithSelector(ECDSA.InvalidSignature.selector));
        _send(ann, new bytes(65));
    }

    function test_RevertWhen_TheKeyIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(ECDSA.InvalidSignature.selector));
        vm.prank(ann);
        registry.addWorker(address(0), new bytes(64));
    }

    function test_WhenTheProviderHadTheKeyBefore() external {
        _addWorker(ann);
        vm.prank(ann);
        registry.removeWorker(worker);
        _addWorker(ann);
        vm.assertEq(registry.providerOf(worker), ann, "a consent has no end");
        vm.assertEq(registry.provider(ann).workers, 1, "workers");
    }

    function test_WhenSeveral() external {
        for (uint256 key = 1; key <= 3; ++key) {
            address added = vm.addr(key);
            (bytes32 r, bytes32 vs) = vm.signCompact(key, registry.consentDigest(ann, added));
            vm.prank(ann);
            registry.addWorker(added, abi.encodePacked(r, vs));
            vm.assertEq(registry.providerOf(added), ann, "provider of each key");
        }
        vm.assertEq(registry.provider(ann).workers, 3, "workers");
    }

    function test_When65Bytes() external {
        bytes memory signature = _consent(WORKER_KEY, ann);
        vm.expectEmit(address(registry));
        emit IProviderRegistry.WorkerAdded(ann, worker);
        _send(ann, signature);
        vm.assertEq(registry.providerOf(worker), ann, "provider of the key");
        vm.assertEq(registry.provider(ann).workers, 1, "workers");
    }

    function test_When64Bytes() external {
        (bytes32 r, bytes32 vs) = vm.signCompact(WORKER_KEY, registry.consentDigest(ann, worker));
        _send(ann, abi.encodePacked(r, vs));
        vm.assertEq(registry.providerOf(worker), ann, "provider of the key");
    }

    function test_Digest() external view {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Capa"),
                keccak256("1"),
                block.chainid,
                address(registry)
            )
        );
        bytes32 consent =
            keccak256(abi.encode(keccak256("WorkerConsent(address provider,address worker)"), ann, worker));
        vm.assertEq(
            registry.consentDigest(ann, worker), keccak256(abi.encodePacked(hex"1901", domain, consent)), "digest"
        );
    }
}
