// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {TypeHashes} from "./libraries/TypeHashes.sol";
import {Acceptance, Allocation, Offer, Order, Receipt, Usage, Voucher} from "./types/Messages.sol";

/// @title Messages: struct hashes of every signed message
/// @notice The one declaration of the messages: their Rust and TypeScript types come from this contract's ABI. The product
/// never calls it; deploy it to check an implementation of your own.
contract Messages {
    /// @notice Struct hash of an allocation.
    function hashAllocation(Allocation calldata m) public pure returns (bytes32) {
        return keccak256(abi.encode(TypeHashes.ALLOCATION, m));
    }

    /// @notice Struct hash of a voucher.
    function hashVoucher(Voucher calldata m) external pure returns (bytes32) {
        return keccak256(abi.encode(TypeHashes.VOUCHER, m.payer, m.keeper, m.batch, m.total, hashAllocation(m.latest)));
    }

    /// @notice Struct hash of an acceptance.
    function hashAcceptance(Acceptance calldata m) external pure returns (bytes32) {
        return keccak256(abi.encode(TypeHashes.ACCEPTANCE, m));
    }

    /// @notice Struct hash of a job's usage; stands in its receipt.
    function hashUsage(Usage calldata m) external pure returns (bytes32) {
        return keccak256(abi.encode(TypeHashes.USAGE, m));
    }

    /// @notice Struct hash of a receipt; stands in the allocation that pays for it.
    function hashReceipt(Receipt calldata m) external pure returns (bytes32) {
        return keccak256(abi.encode(TypeHashes.RECEIPT, m));
    }

    /// @notice Struct hash of an offer.
    function hashOffer(Offer calldata m) external pure returns (bytes32) {
        return keccak256(abi.encode(TypeHashes.OFFER, m));
    }

    /// @notice Struct hash of an order: the job's identity.
    function hashOrder(Order calldata m) external pure returns (bytes32) {
        return keccak256(abi.encode(TypeHashes.ORDER, m));
    }
}
