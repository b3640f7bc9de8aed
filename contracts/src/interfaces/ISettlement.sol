// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Challenge, Payment} from "../types/Batch.sol";
import {IEscrow} from "./IEscrow.sol";

/// @title Settlement: from signed vouchers to paid providers
/// @notice A keeper collects vouchers, commits a batch, and the batch pays after the challenge period. A direct channel
/// skips all that: its provider redeems vouchers at once.
/// Lists are packed bytes: items of fixed size without padding; numbers are big-endian; signatures are EIP-2098 `r, vs`.
interface ISettlement is IEscrow {
    /// @notice The keeper debited `count` channels by `debits` in all, for its open batch.
    event Collected(address indexed keeper, uint32 indexed batch, uint64 debits, uint32 count);
    /// @notice The keeper fixed a batch. Its earnings can be claimed once it is final.
    event BatchCommitted(
        address indexed keeper,
        uint32 indexed batch,
        bytes32 root,
        uint64 sum,
        uint64 fee,
        bytes32 linesRoot,
        uint64 linesSum,
        uint32 lineCount,
        bytes32 dataHash
    );
    /// @notice The keeper must prove a leaf of at least `owed` for `provider` by `deadline`.
    event Challenged(
        address indexed keeper, uint32 indexed batch, address indexed provider, uint64 owed, uint32 deadline
    );
    /// @notice A challenge was met with a proven leaf.
    event Answered(address indexed keeper, uint32 indexed batch, address indexed provider);
    /// @notice A challenge stayed unanswered: the keeper is wound down and `burned` of its bond destroyed.
    event BatchVoided(address indexed keeper, uint32 indexed batch, address indexed provider, uint64 burned);
    /// @notice A keeper stayed without a commit: it is wound down and `burned` of its bond destroyed.
    event Lapsed(address indexed keeper, uint32 indexed batch, uint64 burned);
    /// @notice A provider was paid `amount` straight from a channel of a wound-down keeper.
    event Recovered(bytes32 indexed channelId, address indexed provider, uint32 batch, uint64 amount);
    /// @notice A keeper that promised more than its channels held lost the rest of its bond.
    event BondForfeited(address indexed keeper, address indexed provider, uint64 rewarded, uint64 burned);
    /// @notice A direct channel paid `amount`, and `fee` to the protocol.
    event Redeemed(bytes32 indexed channelId, address indexed keeper, uint64 amount, uint64 fee);
    /// @notice A provider was paid `amount` for final batches: the sum of `payments`.
    event Claimed(address indexed keeper, address indexed provider, uint64 amount, Payment[] payments);
    /// @notice Every leaf of a final batch was paid, `amount` in all.
    event Distributed(address indexed keeper, uint32 indexed batch, uint64 amount);

    /// @notice A signature is malformed, has a high `s`, or recovers no address.
    error InvalidSignature();
    /// @notice An address that has bonded redeems its direct vouchers itself.
    error NotTheKeeper(address caller, address keeper);
    /// @notice The voucher adds nothing to what the channel has spent.
    error TotalNotAbove(bytes32 channelId, uint64 total, uint64 spent);
    /// @notice The voucher exceeds the deposit. A voucher of another batch or key names a channel without one.
    error TotalAboveDeposit(bytes32 channelId, uint64 total, uint64 deposit);
    /// @notice The earnings tree must pay out exactly the debits less the protocol fee.
    error SumMismatch(uint64 given, uint64 expected);
    /// @notice The usage lines add up to more than is paid out.
    error LinesAboveSum(uint64 linesSum, uint64 sum);
    /// @notice Nothing of this keeper is pending.
    error BatchNotPending(address keeper, uint32 batch);
    /// @notice The message is for another batch.
    error WrongBatch(uint32 given, uint32 expected);
    /// @notice The acceptance is signed by `signer`, not by the keeper.
    error NotSignedByKeeper(address signer, address keeper);
    /// @notice The challenge period, the time to answer or the recovery period ended.
    error TooLate(uint256 end);
    /// @notice A challenge must raise the provider's highest so far.
    error OwedNotAbove(uint64 owed, uint64 highest);
    /// @notice The provider has no open challenge in this batch.
    error NotChallenged(address keeper, uint32 batch, address provider);
    /// @notice The leaf proves less than the challenge demands.
    error AmountBelowOwed(uint64 amount, uint64 owed);
    /// @notice The leaf is not in the committed tree.
    error LeafNotProven(uint32 batch, address provider, uint64 amount);
    /// @notice The list is empty, or the item at this position is cut off.
    error ClaimTruncated(uint256 position);
    /// @notice The batch is not final yet.
    error BatchNotFinal(address keeper, uint32 batch);
    /// @notice Some of the batch has been paid already: claim the rest.
    error AlreadyPaid(address keeper, uint32 batch);
    /// @notice The leaves are not those of the committed tree.
    error LeavesMismatch(bytes32 root, uint256 sum);

    /// @notice Debits channels for the caller's open batch.
    /// @param vouchers Items of 124 bytes: payer 20, total 8, struct hash of the voucher's allocation 32, r 32, vs 32.
    function collect(bytes calldata vouchers) external;

    /// @notice Fixes the caller's open batch. An empty one is a heartbeat.
    /// @param root Root of the earnings tree, 0 if it is empty.
    /// @param sum What the earnings tree pays out: the debits less the protocol fee.
    /// @param linesRoot Root of the usage lines.
    /// @param linesSum What the usage lines add up to.
    /// @param lineCount Number of usage lines.
    /// @param dataHash Hash of the published leaves and lines.
    function commit(bytes32 root, uint64 sum, bytes32 linesRoot, uint64 linesSum, uint32 lineCount, bytes32 dataHash)
        external;

    /// @notice Demands that the keeper proves what it promised in the pending batch.
    /// @param acceptance 128 bytes: voucher's struct hash 32, provider 20, batch 4, owed 8, r 32, vs 32.
    function challenge(address keeper, bytes calldata acceptance) external;

    /// @notice Meets a challenge with a leaf of at least the promised amount.
    /// @param proof Items of 40 bytes from the leaf up: the sibling's hash 32, its sum 8.
    function answer(address keeper, address provider, uint64 amount, uint32 index, bytes calldata proof) external;

    /// @notice Winds down a keeper that left a challenge unanswered. Its bond is forfeited, a tenth of it to `provider`.
    function void(address keeper, address provider) external;

    /// @notice Winds down a keeper that stayed without a commit for longer than the heartbeat period.
    function lapse(address keeper) external;

    /// @notice Pays providers of a wound-down keeper straight from the channels.
    /// @param items Items of 228 bytes: payer 20, batch 4, total 8, provider 20, earned 8, receipt 32, the voucher's
    /// r 32 and vs 32, owed 8, the acceptance's r 32 and vs 32. An item that is paid already is skipped.
    function recover(address keeper, bytes calldata items) external;

    /// @notice Pays the vouchers of direct channels to `keeper` at once. Anyone may call it, unless `keeper` has ever bonded:
    /// then only itself, so that no client can spend directly what was promised for a batch.
    /// @param vouchers Items as in `collect`.
    function redeem(address keeper, bytes calldata vouchers) external;

    /// @notice Pays every leaf of a final batch of which nothing was claimed.
    /// @param leaves All leaves in the tree's order, 28 bytes each: provider 20, amount 8.
    function distribute(address keeper, uint32 batch, bytes calldata leaves) external;

    /// @notice Pays a provider what it earned in final batches. Anyone may call it; the provider is paid.
    /// @param items A leaf and proof per batch: batch 4, amount 8, index 4, depth 1, and the proof as in `answer`, `depth`
    /// times 40 bytes. An item that is paid already is skipped.
    function claim(address keeper, address provider, bytes calldata items) external;

    /// @notice Whether the keeper stated this usage line in a final batch.
    /// @dev Proves the statement and its amount, not that the work was done: all lines of a batch together are at most
    /// what its clients paid. Do not reward a line by more than the protocol fee on it.
    /// @param line The packed 140-byte record; `proof` as in `answer`.
    function verifyLine(address keeper, uint32 batch, bytes calldata line, uint32 index, bytes calldata proof)
        external
        view
        returns (bool);

    /// @notice What `claim` has paid a provider of a batch. Stays 0 where `distribute` paid.
    function paid(address keeper, address provider, uint32 number) external view returns (uint64);

    /// @notice Whether `distribute` has paid the whole batch.
    function distributed(address keeper, uint32 number) external view returns (bool);

    /// @notice What `recover` has paid a provider from a channel for a batch.
    function recovered(bytes32 id, address provider, uint32 number) external view returns (uint64);

    /// @notice A provider's challenge in a batch.
    function challenged(address keeper, uint32 number, address provider) external view returns (Challenge memory);

    /// @notice The EIP-712 domain separator of every message of the protocol.
    function domainSeparator() external view returns (bytes32);
}
