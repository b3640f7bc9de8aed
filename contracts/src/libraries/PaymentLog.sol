// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../interfaces/ISettlement.sol";

/// @title PaymentLog: the data of `Claimed`, written while a claim is worked off
/// @notice One event for a whole claim, because an event for each batch would cost a tenth of it again.
/// @dev In memory from the frame on: amount, offset of the list, its length, and a pair (batch, amount) for each payment,
/// which is the ABI's own form. Pairs are appended at the free memory pointer, so nothing else may be allocated between
/// `create` and `send`; scratch space behind the pointer is free for all.
library PaymentLog {
    type Log is uint256;

    /// @notice An empty log.
    function create() internal pure returns (Log log) {
        assembly ("memory-safe") {
            log := mload(0x40)
            mstore(add(log, 0x20), 0x40)
            mstore(add(log, 0x40), 0)
            mstore(0x40, add(log, 0x60))
        }
    }

    /// @notice Appends a payment.
    function push(Log log, uint256 batch, uint256 amount) internal pure {
        assembly ("memory-safe") {
            let m := mload(0x40)
            mstore(m, batch)
            mstore(add(m, 0x20), amount)
            mstore(0x40, add(m, 0x40))
            mstore(add(log, 0x40), add(mload(add(log, 0x40)), 1))
        }
    }

    /// @notice Emits `Claimed`.
    function send(Log log, address keeper, address provider, uint256 amount) internal {
        bytes32 topic = ISettlement.Claimed.selector;
        assembly ("memory-safe") {
            mstore(log, amount)
            log3(log, sub(mload(0x40), log), topic, shr(96, shl(96, keeper)), shr(96, shl(96, provider)))
        }
    }
}
