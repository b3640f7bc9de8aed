// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";

import {IComputeToken} from "./interfaces/IComputeToken.sol";
import {IProviderStake} from "./interfaces/IProviderStake.sol";
import {StakeMath} from "./libraries/StakeMath.sol";
import {RegistrySettings, Stake} from "./types/Stake.sol";

/// @title ProviderStake
/// @notice Providers' stakes, their exits, and the verdicts that slash them.
abstract contract ProviderStake is IProviderStake, Ownable2Step {
    using SafeCast for uint256;
    using SafeTransferLib for address;
    using StakeMath for Stake;

    /// @dev Nobody's stake can be held longer than this.
    uint32 private constant MAX_UNSTAKE_DELAY = 90 days;
    /// @dev An exit lasts at least two epochs, so that it spans the start of one: a stake placed and unstaked within an epoch
    /// has no budget there, and could otherwise never be slashed.
    uint32 private constant EPOCHS_IN_DELAY = 2;
    uint16 private constant MAX_SLASH_CAP_BPS = 5000;
    /// @dev From here on even a cap of one basis point is more than nothing.
    uint64 private constant LOWEST_MINIMUM_STAKE = 10_000;
    /// @dev A thousandth of the greatest supply of the compute token.
    uint64 private constant HIGHEST_MINIMUM_STAKE = 1e15;

    /// @inheritdoc IProviderStake
    address public immutable override token;
    uint64 private immutable _minimumStake;
    uint32 private immutable _unstakeDelay;
    uint32 private immutable _slashEpoch;
    uint16 private immutable _slashCapBps;

    /// @dev May slash until `_appointedFrom`.
    address private _outgoing;
    /// @dev May slash from `_appointedFrom` on.
    address private _appointed;
    uint32 private _appointedFrom;

    /// @inheritdoc IProviderStake
    uint256 public override forfeits;
    /// @inheritdoc IProviderStake
    mapping(address client => uint256) public override compensationOf;
    /// @inheritdoc IProviderStake
    mapping(bytes32 verdict => bool) public override isExecuted;
    mapping(address provider => Stake) private _stakes;

    constructor(address token_, address owner, RegistrySettings memory given) Ownable(owner) {
        if (token_.code.length == 0) revert NotAToken(token_);
        _requireWithin("slashEpoch", given.slashEpoch, 1, MAX_UNSTAKE_DELAY / EPOCHS_IN_DELAY);
        _requireWithin("unstakeDelay", given.unstakeDelay, EPOCHS_IN_DELAY * given.slashEpoch, MAX_UNSTAKE_DELAY);
        _requireWithin("slashCapBps", given.slashCapBps, 1, MAX_SLASH_CAP_BPS);
        _requireWithin("minimumStake", given.minimumStake, LOWEST_MINIMUM_STAKE, HIGHEST_MINIMUM_STAKE);
        token = token_;
        _minimumStake = given.minimumStake;
        _unstakeDelay = given.unstakeDelay;
        _slashEpoch = given.slashEpoch;
        _slashCapBps = given.slashCapBps;
        // Nobody has a stake yet, so nobody needs notice.
        _appoint(given.slasher, _now());
    }

    /* STAKE */

    /// @inheritdoc IProviderStake
    function stake(uint64 amount) external {
        _stake(amount);
    }

    /// @inheritdoc IProviderStake
    function stakeWithPermit(uint64 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        // Whoever saw the permit may have used it before; then the allowance is there and the pull succeeds.
        try IERC20Permit(token).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _stake(amount);
    }

    /// @inheritdoc IProviderStake
    function unstake(uint64 amount) external {
        if (amount == 0) revert ZeroAmount();
        Stake memory s = stakeOf(msg.sender);
        if (amount > s.staked) revert AmountAboveStake(amount, s.staked);
        uint64 left = s.staked - amount;
        if (left != 0 && left < _minimumStake) revert StakeTooSmall(left, _minimumStake);
        // Joining it would hold back again what the provider has waited for.
        if (s.exiting != 0 && s.withdrawAt <= block.timestamp) revert ExitReady(s.exiting);

        s.staked = left;
        s.exiting += amount;
        s.withdrawAt = _now() + _unstakeDelay;
        _stakes[msg.sender].save(s);
        emit Unstaked(msg.sender, amount, s.exiting, s.withdrawAt);
    }

    /// @inheritdoc IProviderStake
    function withdrawStake() external {
        Stake memory s = stakeOf(msg.sender);
        uint64 amount = s.exiting;
        if (amount == 0) revert NothingExiting(msg.sender);
        if (block.timestamp < s.withdrawAt) revert TooEarly(s.withdrawAt);

        s.exiting = 0;
        s.withdrawAt = 0;
        _stakes[msg.sender].save(s);
        emit StakeWithdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /* SLASH */

    /// @inheritdoc IProviderStake
    function slash(address provider, uint64 amount, address client, uint64 compensation, bytes32 verdict)
        external
        returns (uint64 slashed, uint64 compensated)
    {
        if (msg.sender != slasher()) revert NotSlasher(msg.sender, slasher());
        if (amount == 0) revert ZeroAmount();
        if (compensation > amount) revert CompensationAboveAmount(compensation, amount);
        if (compensation != 0 && (client == address(0) || client == address(this))) revert InvalidClient(client);
        if (isExecuted[verdict]) revert VerdictExecuted(verdict);
        Stake memory s = stakeOf(provider);
        uint64 most = s.slashable(block.timestamp);
        if (most == 0) revert NothingSlashable(provider);

        slashed = amount < most ? amount : most;
        compensated = compensation < slashed ? compensation : slashed;
        isExecuted[verdict] = true;
        s.slash(slashed, block.timestamp);
        _stakes[provider].save(s);
        if (compensated != 0) compensationOf[client] += compensated;
        if (compensated != slashed) forfeits += slashed - compensated;
        emit Slashed(provider, client, verdict, slashed, compensated);
    }

    /// @inheritdoc IProviderStake
    function compensate(address client) external {
        uint256 amount = compensationOf[client];
        if (amount == 0) revert NothingOwed(client);

        compensationOf[client] = 0;
        emit Compensated(client, amount);
        token.safeTransfer(client, amount);
    }

    /// @inheritdoc IProviderStake
    function burnForfeits() external {
        uint256 amount = forfeits;
        if (amount == 0) revert NothingForfeited();

        forfeits = 0;
        emit ForfeitsBurned(amount);
        uint256 before = _balance();
        IComputeToken(token).burn(amount);
        // A token may accept any call and do nothing; what it did not destroy must stay on the books.
        uint256 burned = before - _balance();
        if (burned != amount) revert InexactBurn(burned, amount);
    }

    /* GOVERNANCE */

    /// @inheritdoc IProviderStake
    function setSlasher(address next) external onlyOwner {
        if (next == address(0)) {
            _appoint(next, _now());
        } else {
            _outgoing = slasher();
            _appoint(next, _now() + _unstakeDelay + _slashEpoch);
        }
    }

    /* VIEWS */

    /// @inheritdoc IProviderStake
    function settings() external view returns (RegistrySettings memory) {
        return RegistrySettings({
            slasher: slasher(),
            minimumStake: _minimumStake,
            unstakeDelay: _unstakeDelay,
            slashEpoch: _slashEpoch,
            slashCapBps: _slashCapBps
        });
    }

    /// @inheritdoc IProviderStake
    function slasher() public view returns (address) {
        return block.timestamp < _appointedFrom ? _outgoing : _appointed;
    }

    /// @inheritdoc IProviderStake
    function appointment() external view returns (address next, uint32 from) {
        return (_appointed, _appointedFrom);
    }

    /// @inheritdoc IProviderStake
    function stakeOf(address provider) public view returns (Stake memory s) {
        s = _stakes[provider];
        s.enterEpoch(block.timestamp, _slashEpoch, _slashCapBps);
    }

    /// @inheritdoc IProviderStake
    function slashable(address provider) external view returns (uint64) {
        return stakeOf(provider).slashable(block.timestamp);
    }

    /* INTERNAL */

    /// @dev Whether an account may stake is the registry's to say.
    function _requireRegistered(address account) internal view virtual;

    function _stake(uint64 amount) private {
        _requireRegistered(msg.sender);
        if (amount == 0) revert ZeroAmount();
        Stake memory s = stakeOf(msg.sender);
        s.staked += amount;
        if (s.staked < _minimumStake) revert StakeTooSmall(s.staked, _minimumStake);

        _stakes[msg.sender].save(s);
        emit Staked(msg.sender, amount, s.staked);
        _pull(amount);
    }

    function _pull(uint64 amount) private {
        uint256 before = _balance();
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = _balance() - before;
        if (received != amount) revert InexactPull(received, amount);
    }

    function _appoint(address next, uint32 from) private {
        _appointed = next;
        _appointedFrom = from;
        emit SlasherAppointed(next, from);
    }

    function _balance() private view returns (uint256) {
        return IERC20(token).balanceOf(address(this));
    }

    function _now() private view returns (uint32) {
        return block.timestamp.toUint32();
    }

    function _requireWithin(bytes32 setting, uint256 given, uint256 least, uint256 most) private pure {
        if (given < least || given > most) revert SettingOutOfBounds(setting, given, least, most);
    }
}
