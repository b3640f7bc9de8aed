// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice Tokens minted to one recipient at deployment, in nano.
struct Grant {
    address to;
    uint64 amount;
}
