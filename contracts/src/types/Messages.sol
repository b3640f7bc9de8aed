// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice What a voucher adds for one provider: its earnings in this channel and this batch.
struct Allocation {
    address provider;
    uint64 earned;
    /// @dev Struct hash of the usage receipt that is paid for.
    bytes32 receipt;
}

/// @notice A session key's promise: everything the channel has spent so far. Signed by the session key.
struct Voucher {
    address payer;
    address keeper;
    /// @dev 0 in a direct channel.
    uint32 batch;
    /// @dev Cumulative nano over all batches, fees included.
    uint64 total;
    Allocation latest;
}

/// @notice A keeper's promise to pay a provider in a batch. Signed by the keeper.
struct Acceptance {
    /// @dev Struct hash of the accepted voucher.
    bytes32 voucher;
    address provider;
    uint32 batch;
    /// @dev The provider's earnings in this batch over all channels.
    uint64 owed;
}

/// @notice Metered usage of a job since its start, in base units.
struct Usage {
    uint64 gpuMs;
    uint64 cpuMs;
    uint64 memoryMibS;
    uint64 bytesIn;
    uint64 bytesOut;
    uint64 fuel;
    uint64 work;
    uint64 leaseS;
}

/// @notice A worker's statement of what a job has used and cost since its start. Signed by a worker key.
struct Receipt {
    /// @dev Struct hash of the order.
    bytes32 job;
    address provider;
    uint64 sequence;
    /// @dev Struct hash of a `Usage`.
    bytes32 usage;
    uint64 amount;
    bytes32 result;
    uint64 at;
}

/// @notice A provider's ask. Signed by the provider.
struct Offer {
    address provider;
    uint32 resource;
    /// @dev Nano per human unit of the resource.
    uint64 price;
    uint64 capacity;
    bytes32 terms;
    uint64 expiry;
    uint256 salt;
}

/// @notice A client's bid; its struct hash is the job's identity. Signed by the session key.
struct Order {
    address payer;
    uint32 resource;
    uint64 maxPrice;
    uint64 maxUnits;
    uint64 maxTotal;
    bytes32 spec;
    bytes32 terms;
    uint64 expiry;
    uint256 salt;
}
