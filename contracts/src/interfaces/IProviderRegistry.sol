// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Provider} from "../types/Provider.sol";

/// @title ProviderRegistry: who sells compute, and which keys sign for it
/// @notice A provider is the address that its earnings are paid to. Its machines sign with worker keys of their own,
/// so that the payout key never lies on a machine that runs strangers' jobs.
interface IProviderRegistry {
    /// @notice A provider registered.
    event ProviderRegistered(address indexed provider, string endpoint, string termsUri, bytes32 terms);
    /// @notice A provider changed its record.
    event ProviderUpdated(address indexed provider, string endpoint, string termsUri, bytes32 terms);
    /// @notice `worker` signs for `provider` from now on.
    event WorkerAdded(address indexed provider, address indexed worker);
    /// @notice `worker` no longer signs for `provider`.
    event WorkerRemoved(address indexed provider, address indexed worker);

    /// @notice The caller is registered already: update the record instead.
    error AlreadyRegistered(address provider);
    /// @notice The caller must register first.
    error NotRegistered(address provider);
    /// @notice Endpoint or terms URI has `length` bytes.
    error UriTooLong(uint256 length, uint256 maximum);
    /// @notice The key signs for `provider` already.
    error WorkerTaken(address worker, address provider);
    /// @notice The key does not sign for the caller.
    error NotWorkerOf(address worker, address provider);
    /// @notice The consent is signed by `signer`, not by the worker key.
    error NoConsent(address worker, address signer);

    /// @notice Registers the caller as a provider.
    /// @param endpoint Where its offers and status can be asked for; at most 256 bytes.
    /// @param termsUri Where the text of its terms can be read; at most 256 bytes.
    /// @param terms Hash of that text, which offers and orders name.
    function register(string calldata endpoint, string calldata termsUri, bytes32 terms) external;

    /// @notice Changes the caller's record; the parameters are those of `register`.
    function update(string calldata endpoint, string calldata termsUri, bytes32 terms) external;

    /// @notice Adds a worker key to the caller.
    /// @dev The consent has no end: while the key is free, a provider that had it once can add it again. A machine that
    /// changes hands therefore takes a new key.
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
