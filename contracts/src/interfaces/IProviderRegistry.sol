// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Provider} from "../types/Provider.sol";

/// @title ProviderRegistry: who sells compute, and which keys sign for it
/// @notice A provider is the address that its earnings are paid to. Its machines sign with worker keys of their own,
/// so that the payout key never lies on a machine that runs strangers' jobs.
interface IProviderRegistry {
    /// @notice A provider registered.
    event ProviderRegistered(address indexed provider, string endpoint, bytes32 terms);
    /// @notice A provider changed its record.
    event ProviderUpdated(address indexed provider, string endpoint, bytes32 terms);
    /// @notice `worker` signs for `provider` from now on.
    event WorkerAdded(address indexed provider, address indexed worker);
    /// @notice `worker` no longer signs for `provider`.
    event WorkerRemoved(address indexed provider, address indexed worker);

    /// @notice The caller is registered already: update the record instead.
    error AlreadyRegistered(address provider);
    /// @notice The caller must register first.
    error NotRegistered(address provider);
    /// @notice The key signs for `provider` already.
    error WorkerTaken(address worker, address provider);
    /// @notice The key does not sign for the caller.
    error NotWorkerOf(address worker, address provider);
    /// @notice The consent is signed by `signer`, not by the worker key.
    error NoConsent(address worker, address signer);

    /// @notice Registers the caller as a provider.
    function register(string calldata endpoint, bytes32 terms) external;

    /// @notice Changes the caller's record.
    function update(string calldata endpoint, bytes32 terms) external;

    /// @notice Adds a worker key to the caller.
    /// @param signature The key's EIP-712 signature (64 or 65 bytes) of `WorkerConsent(address provider,address worker)`
    /// in this contract's domain: nobody can claim another's key.
    function addWorker(address worker, bytes calldata signature) external;

    /// @notice Takes a worker key from the caller.
    function removeWorker(address worker) external;

    /// @notice The provider that a worker key signs for; zero if none.
    function providerOf(address worker) external view returns (address);

    /// @notice A provider's record; `registeredAt` is 0 for a stranger.
    function provider(address account) external view returns (Provider memory);

    /// @notice What a worker key signs to work for `provider`.
    function consentDigest(address provider, address worker) external view returns (bytes32);
}
