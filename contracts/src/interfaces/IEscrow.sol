// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Authorization} from "../types/Authorization.sol";
import {Batch} from "../types/Batch.sol";
import {Balances, Channel} from "../types/Channel.sol";
import {KeeperState, KeeperStatus} from "../types/KeeperState.sol";
import {Periods} from "../types/Settings.sol";

/// @title Escrow: clients' channels and keepers' bonds
/// @notice Money enters by `open` and `bond` and leaves by `withdraw`, `unbond` and `sweepFees`, or by a settlement.
/// Amounts are nano (1e-9 CAPA). Only the functions that take money in can be paused.
interface IEscrow {
    /// @notice `amount` was added to a channel, which now holds `deposit`.
    event ChannelOpened(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed keeper,
        address signer,
        uint64 amount,
        uint64 deposit
    );
    /// @notice The payer closes the channel and can withdraw at `thawAt`.
    event ChannelClosing(bytes32 indexed channelId, uint32 thawAt);
    /// @notice The payer took `amount` back.
    event Withdrawn(bytes32 indexed channelId, uint64 amount);
    /// @notice `amount` was added to a keeper's bond, which is now `bond`.
    event Bonded(address indexed keeper, address owner, uint64 amount, uint64 bond);
    /// @notice The keeper takes no new channels; its owner can take the bond back after the retirement period.
    event Retired(address indexed keeper, uint32 retiredAt);
    /// @notice The owner took back what was left of the bond.
    event Unbonded(address indexed keeper, uint64 amount);
    /// @notice A batch can no longer be challenged; its earnings can be claimed.
    event BatchFinalized(address indexed keeper, uint32 indexed batch);
    /// @notice The protocol fees of final batches and direct payments went to the treasury.
    event FeesSwept(address treasury, uint64 amount);
    /// @notice The protocol fee rate changed: at once for direct payments, from the batch after next for keepers.
    event FeeBpsChanged(uint16 feeBps);
    /// @notice The least bond of new keepers changed.
    event MinimumBondChanged(uint64 minimumBond);
    /// @notice The receiver of protocol fees changed.
    event TreasuryChanged(address treasury);
    /// @notice The guardian changed.
    event GuardianChanged(address guardian);

    /// @notice An address that must be given was zero.
    error ZeroAddress();
    /// @notice An amount that must be positive was zero.
    error ZeroAmount();
    /// @notice A period is below what the protocol's safety needs.
    error PeriodTooShort(bytes32 period, uint256 given, uint256 required);
    /// @notice A period is longer than anything that makes sense.
    error PeriodTooLong(bytes32 period, uint256 given, uint256 maximum);
    /// @notice The fee rate is above its maximum.
    error FeeTooHigh(uint16 given, uint16 maximum);
    /// @notice There is no contract at the token's address.
    error NotAToken(address token);
    /// @notice The minimum bond is above what governance may ask for.
    error MinimumBondTooHigh(uint64 given, uint64 maximum);
    /// @notice The keeper's status does not allow this.
    error WrongKeeperStatus(address keeper, KeeperStatus status);
    /// @notice The caller does not own the keeper's bond.
    error NotBondOwner(address keeper, address caller, address owner);
    /// @notice A top-up must name the owner given with the first bond.
    error OwnerMismatch(address given, address owner);
    /// @notice The first bond is below the minimum.
    error BondTooSmall(uint64 given, uint64 minimum);
    /// @notice Nothing was ever deposited in this channel, or all of it has left.
    error ChannelEmpty(bytes32 channelId);
    /// @notice The channel is closing already.
    error AlreadyClosing(bytes32 channelId, uint32 thawAt);
    /// @notice The channel must be closed first.
    error NotClosing(bytes32 channelId);
    /// @notice This is possible from `notBefore` on.
    error TooEarly(uint256 notBefore);
    /// @notice The keeper's committed batch must become final first.
    error BatchPending(address keeper, uint32 batch);
    /// @notice The open batch's debits must be committed first.
    error DebitsOpen(address keeper, uint64 debits);
    /// @notice Only the guardian or the owner may pause.
    error NotGuardian(address caller);

    /// @notice Opens the channel of the caller, `signer` and `keeper`, or adds to it. Ends a pending close.
    /// @dev The keeper must be Active, or an address that never bonded (a direct channel).
    /// @param signer Session key whose signatures spend the deposit. It can spend all of it, and nothing else.
    function open(address signer, address keeper, uint64 amount) external;

    /// @notice As `open`, with the caller's permit for `amount` in the same transaction.
    /// @dev A permit that somebody used before is no obstacle as long as the allowance suffices.
    function openWithPermit(
        address signer,
        address keeper,
        uint64 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice As `open`, for a payer that authorized the transfer by ERC-3009. Anyone may submit it.
    /// @dev Only the payer itself may end a close by it. The authorization names this contract as receiver and has the nonce of `authorizationNonce`, so it opens this
    /// channel and no other.
    function openWithAuthorization(
        address payer,
        address signer,
        address keeper,
        uint64 amount,
        Authorization calldata authorization
    ) external;

    /// @notice As `open`, for a payer that signed Permit2's transfer with the channel as witness. Anyone may submit it.
    /// @dev Only the payer itself may end a close by it.
    /// @param nonce Permit2's unordered nonce; `deadline` ends the permission, not the channel.
    function openWithPermit2(
        address payer,
        address signer,
        address keeper,
        uint64 amount,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Starts the caller's withdrawal. Vouchers signed before can still be collected until it thaws.
    function close(address signer, address keeper) external;

    /// @notice Pays the caller what its channel has not spent, once it has thawed or the keeper is Closed;
    /// after a wind-down, what has not been recovered from it once the recovery period is over.
    function withdraw(address signer, address keeper) external;

    /// @notice Adds to the caller's bond. The first bond makes the caller an Active keeper.
    /// @param owner Who may retire the keeper and take the bond back.
    function bond(uint64 amount, address owner) external;

    /// @notice The bond's owner announces the keeper's end. It finishes its batches meanwhile.
    function retire(address keeper) external;

    /// @notice Pays the bond, or what is left of it, to its owner, after retirement or after a wind-down's recovery.
    function unbond(address keeper) external;

    /// @notice Pays the protocol fees to the treasury.
    function sweepFees() external;

    /// @notice Sets the protocol fee rate, at most 500 basis points. Owner only.
    function setFeeBps(uint16 feeBps) external;

    /// @notice Sets the least bond of new keepers. Owner only.
    function setMinimumBond(uint64 minimumBond) external;

    /// @notice Sets the receiver of protocol fees. Owner only.
    function setTreasury(address treasury) external;

    /// @notice Sets who may pause. Owner only.
    function setGuardian(address guardian) external;

    /// @notice Stops `open` in all its forms, and `bond`. Guardian or owner.
    function pause() external;

    /// @notice Ends a pause. Owner only.
    function unpause() external;

    /// @notice The token that everything is paid in.
    function token() external view returns (address);

    /// @notice The protocol's times.
    function periods() external view returns (Periods memory);

    /// @notice Receives the protocol fees.
    function treasury() external view returns (address);

    /// @notice May pause what takes money in.
    function guardian() external view returns (address);

    /// @notice Current protocol fee rate in basis points.
    function feeBps() external view returns (uint16);

    /// @notice Least bond of a new keeper.
    function minimumBond() external view returns (uint64);

    /// @notice Protocol fees not yet swept.
    function fees() external view returns (uint64);

    /// @notice Identity of a channel: `keccak256(abi.encode(payer, signer, keeper))`.
    function channelId(address payer, address signer, address keeper) external pure returns (bytes32);

    /// @notice A channel as stored.
    function channel(bytes32 id) external view returns (Channel memory);

    /// @notice Where the money of a channel is now.
    function balances(address payer, address signer, address keeper) external view returns (Balances memory);

    /// @notice The ERC-3009 nonce of `openWithAuthorization`: `keccak256(abi.encode(signer, keeper, salt))`.
    function authorizationNonce(address signer, address keeper, bytes32 salt) external pure returns (bytes32);

    /// @notice A keeper as stored; `currentBatch` is ahead of its `batch` once that is final but nobody has acted since.
    function keeper(address account) external view returns (KeeperState memory);

    /// @notice The keeper's first batch that is not final now.
    function currentBatch(address keeper) external view returns (uint32);

    /// @notice A batch as committed.
    function batch(address keeper, uint32 number) external view returns (Batch memory);

    /// @notice Whether a batch's earnings can be claimed now.
    function isFinal(address keeper, uint32 number) external view returns (bool);
}
