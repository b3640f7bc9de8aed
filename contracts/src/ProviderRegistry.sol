// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ECDSA} from "solady/utils/ECDSA.sol";

import {IProviderRegistry} from "./interfaces/IProviderRegistry.sol";
import {TypeHashes} from "./libraries/TypeHashes.sol";
import {Provider} from "./types/Provider.sol";

/// @title ProviderRegistry
/// @notice Providers and the worker keys that sign for them.
contract ProviderRegistry is IProviderRegistry, EIP712 {
    bytes32 private constant WORKER_CONSENT = keccak256("WorkerConsent(address provider,address worker)");

    mapping(address account => Provider) private _providers;

    /// @inheritdoc IProviderRegistry
    mapping(address worker => address provider) public override providerOf;

    constructor() EIP712(TypeHashes.DOMAIN_NAME, TypeHashes.DOMAIN_VERSION) {}

    /// @inheritdoc IProviderRegistry
    function register(string calldata endpoint, bytes32 terms) external {
        Provider storage p = _providers[msg.sender];
        if (p.registeredAt != 0) revert AlreadyRegistered(msg.sender);

        p.registeredAt = SafeCast.toUint32(block.timestamp);
        p.terms = terms;
        p.endpoint = endpoint;
        emit ProviderRegistered(msg.sender, endpoint, terms);
    }

    /// @inheritdoc IProviderRegistry
    function update(string calldata endpoint, bytes32 terms) external {
        Provider storage p = _registered();

        p.terms = terms;
        p.endpoint = endpoint;
        emit ProviderUpdated(msg.sender, endpoint, terms);
    }

    /// @inheritdoc IProviderRegistry
    function addWorker(address worker, bytes calldata signature) external {
        Provider storage p = _registered();
        if (providerOf[worker] != address(0)) revert WorkerTaken(worker, providerOf[worker]);
        // Solady's function reverts where nobody is recovered, so `worker` cannot be zero.
        address signer = ECDSA.recoverCalldata(consentDigest(msg.sender, worker), signature);
        if (signer != worker) revert NoConsent(worker, signer);

        providerOf[worker] = msg.sender;
        p.workers += 1;
        emit WorkerAdded(msg.sender, worker);
    }

    /// @inheritdoc IProviderRegistry
    function removeWorker(address worker) external {
        Provider storage p = _registered();
        if (providerOf[worker] != msg.sender) revert NotWorkerOf(worker, msg.sender);

        delete providerOf[worker];
        p.workers -= 1;
        emit WorkerRemoved(msg.sender, worker);
    }

    /// @inheritdoc IProviderRegistry
    function provider(address account) external view returns (Provider memory) {
        return _providers[account];
    }

    /// @inheritdoc IProviderRegistry
    function consentDigest(address provider, address worker) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(WORKER_CONSENT, provider, worker)));
    }

    function _registered() private view returns (Provider storage p) {
        p = _providers[msg.sender];
        if (p.registeredAt == 0) revert NotRegistered(msg.sender);
    }
}
