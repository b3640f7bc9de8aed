// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @title TypeHashes: the EIP-712 type of every signed message of the protocol
/// @dev All are signed in the domain `Capa`, version `1`, of the settlement contract.
library TypeHashes {
    string internal constant DOMAIN_NAME = "Capa";
    string internal constant DOMAIN_VERSION = "1";

    bytes32 internal constant ALLOCATION = keccak256("Allocation(address provider,uint64 earned,bytes32 receipt)");

    bytes32 internal constant VOUCHER = keccak256(
        "Voucher(address payer,address keeper,uint32 batch,uint64 total,Allocation latest)"
        "Allocation(address provider,uint64 earned,bytes32 receipt)"
    );

    bytes32 internal constant ACCEPTANCE =
        keccak256("Acceptance(bytes32 voucher,address provider,uint32 batch,uint64 owed)");

    bytes32 internal constant USAGE = keccak256(
        "Usage(uint64 gpuMs,uint64 cpuMs,uint64 memoryMibS,uint64 bytesIn,uint64 bytesOut,uint64 fuel,uint64 work,uint64 leaseS)"
    );

    bytes32 internal constant RECEIPT = keccak256(
        "Receipt(bytes32 job,address provider,uint64 sequence,bytes32 usage,uint64 amount,bytes32 result,uint64 at)"
    );

    bytes32 internal constant OFFER = keccak256(
        "Offer(address provider,uint32 resource,uint64 price,uint64 capacity,bytes32 terms,uint64 expiry,uint256 salt)"
    );

    bytes32 internal constant ORDER = keccak256(
        "Order(address payer,uint32 resource,uint64 maxPrice,uint64 maxUnits,uint64 maxTotal,bytes32 spec,"
        "bytes32 terms,uint64 expiry,uint256 salt)"
    );

    /// @dev What a Permit2 signature says beside the amount and its end. Only the last field is for the reader's eyes.
    bytes32 internal constant CHANNEL = keccak256("Channel(address signer,address keeper,string purpose)");

    bytes32 internal constant CHANNEL_PURPOSE =
        keccak256("Open a Capa channel: the signer may spend this amount with the keeper");

    /// @dev The rest of Permit2's type, in the order that EIP-712 asks for.
    string internal constant CHANNEL_WITNESS = "Channel witness)Channel(address signer,address keeper,string purpose)"
        "TokenPermissions(address token,uint256 amount)";
}
