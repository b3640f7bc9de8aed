// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice A provider's public record. Its address receives its earnings.
struct Provider {
    /// @dev 0 means not registered.
    uint32 registeredAt;
    /// @dev How many worker keys it has.
    uint32 workers;
    /// @dev Hash of the terms it works under.
    bytes32 terms;
    /// @dev Where its offers and status can be asked for.
    string endpoint;
    /// @dev Where the text of its terms can be read.
    string termsUri;
}
