// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ECDSA} from "solady/utils/ECDSA.sol";

import {ProviderStake} from "./ProviderStake.sol";
import {IProviderRegistry} from "./interfaces/IProviderRegistry.sol";
import {TypeHashes} from "./libraries/TypeHashes.sol";
import {Provider} from "./types/Provider.sol";
import {RegistrySettings} from "./types/Stake.sol";

/// @title ProviderRegistry
/// @notice Providers, what they stake, and the worker keys that sign for them.
contract ProviderRegistry is IProviderRegistry, ProviderStake, EIP712 {
    bytes32 private constant WORKER_CONSENT = keccak256("WorkerConsent(address provider,address worker)");
    uint256 private constant MAX_URI_LENGTH = 256;

    mapping(address account => Provider) private _providers;

    /// @inheritdoc IProviderRegistry
    mapping(address worker => address provider) public override providerOf;

    constructor(address token_, address owner, RegistrySettings memory given)
        ProviderStake(token_, owner, given)
        EIP712(TypeHashes.DOMAIN_NAME, TypeHashes.DOMAIN_VERSION)
    {}

    /// @inheritdoc IProviderRegistry
    function register(string calldata endpoint, string calldata termsUri, bytes32 terms) external {
        Provider storage p = _providers[msg.sender];
        if (p.registeredAt != 0) revert AlreadyRegistered(msg.sender);
        _requireShort(endpoint);
        _requireShort(termsUri);

        p.registeredAt = SafeCast.toUint32(block.timestamp);
        p.terms = terms;
        p.endpoint = endpoint;
        p.termsUri = termsUri;
        emit ProviderRegistered(msg.sender, endpoint, termsUri, terms);
    }

    /// @inheritdoc IProviderRegistry
    function update(string calldata endpoint, string calldata termsUri, bytes32 terms) external {
        _requireRegistered(msg.sender);
        _requireShort(endpoint);
        _requireShort(termsUri);

        Provider storage p = _providers[msg.sender];
        p.terms = terms;
        p.endpoint = endpoint;
        p.termsUri = termsUri;
        emit ProviderUpdated(msg.sender, endpoint, termsUri, terms);
    }

    /// @inheritdoc IProviderRegistry
    function addWorker(address worker, bytes calldata signature) external {
        _requireRegistered(msg.sender);
        if (providerOf[worker] != address(0)) revert WorkerTaken(worker, providerOf[worker]);
        // Solady's function reverts where nobody is recovered, so `worker` cannot be zero.
        address signer = ECDSA.recoverCalldata(consentDigest(msg.sender, worker), signature);
        if (signer != worker) revert NoConsent(worker, signer);

        providerOf[worker] = msg.sender;
        _providers[msg.sender].workers += 1;
        emit WorkerAdded(msg.sender, worker);
    }

    /// @inheritdoc IProviderRegistry
    function removeWorker(address worker) external {
        _requireRegistered(msg.sender);
        if (providerOf[worker] != msg.sender) revert NotWorkerOf(worker, msg.sender);

        delete providerOf[worker];
        _providers[msg.sender].workers -= 1;
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

    function _requireRegistered(address account) internal view override {
        if (_providers[account].registeredAt == 0) revert NotRegistered(account);
    }

    function _requireShort(string calldata uri) private pure {
        uint256 length = bytes(uri).length;
        if (length > MAX_URI_LENGTH) revert UriTooLong(length, MAX_URI_LENGTH);
    }
}
