// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice A kind of compute that is priced and metered alike everywhere.
struct ResourceClass {
    uint32 id;
    /// @dev For example `gpu.h200`.
    string name;
    /// @dev What is metered, for example `GPU-ms`.
    string unit;
    /// @dev Metered units in the unit that prices are quoted in, for example 3,600,000 GPU-ms in a GPU-hour.
    uint64 scale;
    /// @dev Weight in standard compute units.
    uint64 scuWeight;
}
