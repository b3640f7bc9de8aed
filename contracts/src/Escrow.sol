// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";

import {IEscrow} from "./interfaces/IEscrow.sol";
import {ISignatureTransfer} from "./interfaces/ISignatureTransfer.sol";
import {ChannelMath} from "./libraries/ChannelMath.sol";
import {MessageHash} from "./libraries/MessageHash.sol";
import {TokenMoves} from "./libraries/TokenMoves.sol";
import {TypeHashes} from "./libraries/TypeHashes.sol";
import {Authorization} from "./types/Authorization.sol";
import {Batch} from "./types/Batch.sol";
import {Balances, Channel} from "./types/Channel.sol";
import {KeeperState, KeeperStatus} from "./types/KeeperState.sol";
import {Periods, Settings} from "./types/Settings.sol";

/// @title Escrow
/// @notice Clients' channels, keepers' bonds and the life of a keeper. `Settlement` moves money between them.
abstract contract Escrow is IEscrow, Ownable2Step, Pausable {
    using ChannelMath for Channel;
    using SafeCast for uint256;
    using SafeTransferLib for address;
    using TokenMoves for address;

    uint16 internal constant MAX_FEE_BPS = 500;
    /// @dev Longer is a mistake, such as milliseconds for seconds, that would lock money in.
    uint256 internal constant MAX_PERIOD = 365 days;
    /// @dev A minimum that nobody can post would close the market to new keepers.
    uint64 internal constant MAX_MINIMUM_BOND = 1e15;
    /// @dev The part of a bond that is not burned when it is forfeited, and the part that a lapse burns: one in ten.
    uint64 internal constant BOND_SHARE = 10;

    address internal immutable _token;
    uint32 internal immutable _challengePeriod;
    uint32 internal immutable _answerPeriod;
    uint32 internal immutable _heartbeatPeriod;
    uint32 internal immutable _thawPeriod;
    uint32 internal immutable _retirementPeriod;
    uint32 internal immutable _recoveryPeriod;
    uint32 internal immutable _inclusionDelay;
    uint32 internal immutable _reactionTime;

    /// @inheritdoc IEscrow
    uint64 public override fees;
    /// @inheritdoc IEscrow
    uint64 public override minimumBond;
    /// @inheritdoc IEscrow
    uint16 public override feeBps;
    /// @inheritdoc IEscrow
    address public override treasury;
    /// @inheritdoc IEscrow
    address public override guardian;

    mapping(bytes32 id => Channel) internal _channels;
    mapping(address keeper => KeeperState) internal _keepers;
    mapping(address keeper => mapping(uint32 number => Batch)) internal _batches;

    constructor(address token_, Periods memory periods_, Settings memory settings) Ownable(settings.owner) {
        if (token_.code.length == 0) revert NotAToken(token_);
        _requireSafe(periods_);
        _token = token_;
        _challengePeriod = periods_.challenge;
        _answerPeriod = periods_.answer;
        _heartbeatPeriod = periods_.heartbeat;
        _thawPeriod = periods_.thaw;
        _retirementPeriod = periods_.retirement;
        _recoveryPeriod = periods_.recovery;
        _inclusionDelay = periods_.inclusion;
        _reactionTime = periods_.reaction;
        _setFeeBps(settings.feeBps);
        _setMinimumBond(settings.minimumBond);
        _setTreasury(settings.treasury);
        _setGuardian(settings.guardian);
    }

    /* CHANNELS */

    /// @inheritdoc IEscrow
    function open(address signer, address keeper, uint64 amount) external whenNotPaused {
        _open(msg.sender, signer, keeper, amount);
        _token.pull(amount);
    }

    /// @inheritdoc IEscrow
    function openWithPermit(
        address signer,
        address keeper,
        uint64 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external whenNotPaused {
        _open(msg.sender, signer, keeper, amount);
        _token.pullPermitted(amount, deadline, v, r, s);
    }

    /// @inheritdoc IEscrow
    function openWithAuthorization(
        address payer,
        address signer,
        address keeper,
        uint64 amount,
        Authorization calldata authorization
    ) external whenNotPaused {
        _open(payer, signer, keeper, amount);
        bytes32 nonce = authorizationNonce(signer, keeper, authorization.salt);
        _token.pullAuthorized(payer, amount, nonce, authorization);
    }

    /// @inheritdoc IEscrow
    function openWithPermit2(
        address payer,
        address signer,
        address keeper,
        uint64 amount,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external whenNotPaused {
        _open(payer, signer, keeper, amount);
        bytes32 witness = keccak256(abi.encode(TypeHashes.CHANNEL, signer, keeper, TypeHashes.CHANNEL_PURPOSE));
        ISignatureTransfer.PermitTransferFrom memory permit = ISignatureTransfer.PermitTransferFrom({
            permitted: ISignatureTransfer.TokenPermissions(_token, amount), nonce: nonce, deadline: deadline
        });
        TokenMoves.pullPermit2(payer, witness, permit, signature);
    }

    /// @inheritdoc IEscrow
    function close(address signer, address keeper) external {
        _advance(keeper);
        bytes32 id = channelId(msg.sender, signer, keeper);
        Channel storage c = _channels[id];
        if (c.deposit == 0) revert ChannelEmpty(id);
        if (c.thawAt != 0) revert AlreadyClosing(id, c.thawAt);

        uint32 thawAt = _now() + _thawPeriod;
        c.thawAt = thawAt;
        emit ChannelClosing(id, thawAt);
    }

    /// @inheritdoc IEscrow
    function withdraw(address signer, address keeper) external {
        KeeperState storage k = _advance(keeper);
        bytes32 id = channelId(msg.sender, signer, keeper);
        Channel memory c = _channels[id];
        uint64 amount;
        if (k.status == KeeperStatus.WoundDown) {
            _requireReached(uint256(k.endedAt) + _recoveryPeriod);
            c.settled = c.baseline(k.batch);
            amount = c.deposit - c.settled;
            c.spent = c.settled;
        } else {
            if (k.status != KeeperStatus.Closed) {
                if (c.thawAt == 0) revert NotClosing(id);
                _requireReached(c.thawAt);
            }
            amount = c.deposit - c.spent;
        }

        c.deposit = c.spent;
        c.thawAt = 0;
        _channels[id].save(c);
        emit Withdrawn(id, amount);
        _token.safeTransfer(msg.sender, amount);
    }

    /* BONDS */

    /// @inheritdoc IEscrow
    function bond(uint64 amount, address owner) external whenNotPaused {
        if (amount == 0) revert ZeroAmount();
        KeeperState storage k = _advance(msg.sender);
        if (k.status == KeeperStatus.None) {
            if (owner == address(0)) revert ZeroAddress();
            if (amount < minimumBond) revert BondTooSmall(amount, minimumBond);
            k.status = KeeperStatus.Active;
            k.batch = 1;
            k.since = _now();
            k.feeBps = feeBps;
            k.nextFeeBps = feeBps;
            k.owner = owner;
        } else {
            if (k.status != KeeperStatus.Active) revert WrongKeeperStatus(msg.sender, k.status);
            if (owner != k.owner) revert OwnerMismatch(owner, k.owner);
        }

        uint64 total = k.bond + amount;
        k.bond = total;
        emit Bonded(msg.sender, owner, amount, total);
        _token.pull(amount);
    }

    /// @inheritdoc IEscrow
    function retire(address keeper) external {
        KeeperState storage k = _advance(keeper);
        if (msg.sender != k.owner) revert NotBondOwner(keeper, msg.sender, k.owner);
        if (k.status != KeeperStatus.Active) revert WrongKeeperStatus(keeper, k.status);

        k.status = KeeperStatus.Retiring;
        uint32 time = _now();
        k.endedAt = time;
        emit Retired(keeper, time);
    }

    /// @inheritdoc IEscrow
    function unbond(address keeper) external {
        KeeperState storage k = _advance(keeper);
        if (msg.sender != k.owner) revert NotBondOwner(keeper, msg.sender, k.owner);
        if (k.status == KeeperStatus.WoundDown) {
            _requireReached(uint256(k.endedAt) + _recoveryPeriod);
        } else {
            if (k.status != KeeperStatus.Retiring) revert WrongKeeperStatus(keeper, k.status);
            _requireReached(uint256(k.endedAt) + _retirementPeriod);
            _requireNothingPending(keeper, k);
            if (k.debits != 0) revert DebitsOpen(keeper, k.debits);
            k.status = KeeperStatus.Closed;
        }

        uint64 amount = k.bond;
        k.bond = 0;
        emit Unbonded(keeper, amount);
        _token.safeTransfer(msg.sender, amount);
    }

    /* GOVERNANCE */

    /// @inheritdoc IEscrow
    function sweepFees() external {
        uint64 amount = fees;
        fees = 0;
        emit FeesSwept(treasury, amount);
        _token.safeTransfer(treasury, amount);
    }

    /// @inheritdoc IEscrow
    function setFeeBps(uint16 feeBps_) external onlyOwner {
        _setFeeBps(feeBps_);
    }

    /// @inheritdoc IEscrow
    function setMinimumBond(uint64 minimumBond_) external onlyOwner {
        _setMinimumBond(minimumBond_);
    }

    /// @inheritdoc IEscrow
    function setTreasury(address treasury_) external onlyOwner {
        _setTreasury(treasury_);
    }

    /// @inheritdoc IEscrow
    function setGuardian(address guardian_) external onlyOwner {
        _setGuardian(guardian_);
    }

    /// @inheritdoc IEscrow
    function pause() external {
        if (msg.sender != guardian && msg.sender != owner()) revert NotGuardian(msg.sender);
        _pause();
    }

    /// @inheritdoc IEscrow
    function unpause() external onlyOwner {
        _unpause();
    }

    /* VIEWS */

    /// @inheritdoc IEscrow
    function token() external view returns (address) {
        return _token;
    }

    /// @inheritdoc IEscrow
    function periods() external view returns (Periods memory) {
        return Periods({
            challenge: _challengePeriod,
            answer: _answerPeriod,
            heartbeat: _heartbeatPeriod,
            thaw: _thawPeriod,
            retirement: _retirementPeriod,
            recovery: _recoveryPeriod,
            inclusion: _inclusionDelay,
            reaction: _reactionTime
        });
    }

    /// @inheritdoc IEscrow
    function channelId(address payer, address signer, address keeper) public pure returns (bytes32) {
        return MessageHash.channelId(payer, signer, keeper);
    }

    /// @inheritdoc IEscrow
    function channel(bytes32 id) external view returns (Channel memory) {
        return _channels[id];
    }

    /// @inheritdoc IEscrow
    function authorizationNonce(address signer, address keeper, bytes32 salt) public pure returns (bytes32) {
        return keccak256(abi.encode(signer, keeper, salt));
    }

    /// @inheritdoc IEscrow
    function balances(address payer, address signer, address keeper) external view returns (Balances memory b) {
        Channel memory c = _channels[channelId(payer, signer, keeper)];
        b.thawAt = c.thawAt;
        b.settled = c.baseline(currentBatch(keeper));
        b.atRisk = c.spent - b.settled;
        if (c.thawAt == 0) b.available = c.deposit - c.spent;
        else b.thawing = c.deposit - c.spent;
    }

    /// @inheritdoc IEscrow
    function keeper(address account) external view returns (KeeperState memory) {
        return _keepers[account];
    }

    /// @inheritdoc IEscrow
    function currentBatch(address keeper) public view returns (uint32) {
        KeeperState storage k = _keepers[keeper];
        return _isLive(k) && _isOver(k) ? k.batch + 1 : k.batch;
    }

    /// @inheritdoc IEscrow
    function batch(address keeper, uint32 number) external view returns (Batch memory) {
        return _batches[keeper][number];
    }

    /// @inheritdoc IEscrow
    function isFinal(address keeper, uint32 number) public view returns (bool) {
        return number != 0 && number < currentBatch(keeper);
    }

    /* INTERNAL */

    /// @dev Everything that opening a channel is, except for the transfer.
    function _open(address payer, address signer, address keeper, uint64 amount) private {
        if (signer == address(0) || keeper == address(0)) revert ZeroAddress();
        if (amount == 0) revert ZeroAmount();
        KeeperState storage k = _advance(keeper);
        if (k.status != KeeperStatus.Active && k.status != KeeperStatus.None) {
            revert WrongKeeperStatus(keeper, k.status);
        }

        bytes32 id = channelId(payer, signer, keeper);
        Channel memory c = _channels[id];
        // Whoever holds an old signature of the payer could otherwise end its close, again and again.
        if (c.thawAt != 0 && msg.sender != payer) revert AlreadyClosing(id, c.thawAt);
        c.deposit += amount;
        c.thawAt = 0;
        _channels[id].save(c);
        emit ChannelOpened(id, payer, keeper, signer, amount, c.deposit);
    }

    /// @dev Comes first in every function that names a keeper: a batch becomes final by the clock alone, and this writes
    /// it down. At most one batch is pending, so one step is enough.
    function _advance(address keeper) internal returns (KeeperState storage k) {
        k = _keepers[keeper];
        if (!_isLive(k) || !_isOver(k)) return k;

        uint32 number = k.batch;
        fees += _batches[keeper][number].fee;
        uint32 finalAt = k.committedAt + _challengePeriod;
        if (finalAt > k.since) k.since = finalAt;
        k.batch = number + 1;
        k.committedAt = 0;
        emit BatchFinalized(keeper, number);
    }

    /// @dev Ends a keeper that broke a promise. Its pending batch and all later ones are void.
    function _windDown(KeeperState storage k) internal {
        k.status = KeeperStatus.WoundDown;
        k.endedAt = _now();
    }

    /// @dev Takes the whole bond: a tenth for the provider that was cheated, the rest is burned, because whoever can make
    /// claims against a keeper could also claim the bond back. A token that refuses to pay the provider must not save the
    /// keeper; then all of it is burned.
    function _forfeit(KeeperState storage k, address provider) internal returns (uint64 rewarded, uint64 burned) {
        uint64 bonded = k.bond;
        k.bond = 0;
        rewarded = bonded / BOND_SHARE;
        if (!_token.trySend(provider, rewarded)) rewarded = 0;
        burned = bonded - rewarded;
        _token.destroy(burned);
    }

    function _isLive(KeeperState storage k) internal view returns (bool) {
        KeeperStatus status = k.status;
        return status == KeeperStatus.Active || status == KeeperStatus.Retiring;
    }

    /// @dev Whether a live keeper's batch is final, that is committed, past its challenge period, and free of challenges.
    function _isOver(KeeperState storage k) internal view returns (bool) {
        uint256 committedAt = k.committedAt;
        return committedAt != 0 && k.open == 0 && block.timestamp >= committedAt + _challengePeriod;
    }

    function _requireLive(address keeper, KeeperState storage k) internal view {
        if (!_isLive(k)) revert WrongKeeperStatus(keeper, k.status);
    }

    function _requireNothingPending(address keeper, KeeperState storage k) internal view {
        if (k.committedAt != 0) revert BatchPending(keeper, k.batch);
    }

    function _requireReached(uint256 time) internal view {
        if (block.timestamp < time) revert TooEarly(time);
    }

    function _now() internal view returns (uint32) {
        return block.timestamp.toUint32();
    }

    function _setFeeBps(uint16 feeBps_) private {
        if (feeBps_ > MAX_FEE_BPS) revert FeeTooHigh(feeBps_, MAX_FEE_BPS);
        feeBps = feeBps_;
        emit FeeBpsChanged(feeBps_);
    }

    function _setMinimumBond(uint64 minimumBond_) private {
        if (minimumBond_ == 0) revert ZeroAmount();
        if (minimumBond_ > MAX_MINIMUM_BOND) revert MinimumBondTooHigh(minimumBond_, MAX_MINIMUM_BOND);
        minimumBond = minimumBond_;
        emit MinimumBondChanged(minimumBond_);
    }

    function _setTreasury(address treasury_) private {
        if (treasury_ == address(0)) revert ZeroAddress();
        treasury = treasury_;
        emit TreasuryChanged(treasury_);
    }

    function _setGuardian(address guardian_) private {
        guardian = guardian_;
        emit GuardianChanged(guardian_);
    }

    /// @dev The inequalities under which every party that acts within D of what it sees, however long the chain delays it,
    /// keeps what it was promised.
    function _requireSafe(Periods memory p) private pure {
        uint256 step = uint256(p.inclusion) + p.reaction;
        // The last acceptance before an exit may be for the batch after the open one; both may use every deadline, and
        // two `lapse` calls and the `void` may each be delayed by F.
        uint256 exit = 2 * (uint256(p.heartbeat) + p.challenge + p.answer) + 3 * uint256(p.inclusion) + p.reaction;
        _requireAtLeast("D", p.reaction, 1);
        _requireAtLeast("W", p.challenge, step);
        _requireAtLeast("R", p.answer, step);
        _requireAtLeast("T", p.heartbeat, step);
        _requireAtLeast("THAW", p.thaw, exit);
        _requireAtLeast("U", p.retirement, exit);
        _requireAtLeast("X", p.recovery, step);
    }

    function _requireAtLeast(bytes32 period, uint256 given, uint256 required) private pure {
        if (given < required) revert PeriodTooShort(period, given, required);
        if (given > MAX_PERIOD) revert PeriodTooLong(period, given, MAX_PERIOD);
    }
}
