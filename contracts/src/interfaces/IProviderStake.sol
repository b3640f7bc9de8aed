// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {RegistrySettings, Stake} from "../types/Stake.sol";

/// @title ProviderStake: what providers put at stake for their work
/// @notice A provider's stake leaves it in two ways only: by its own `unstake` and, after the delay, `withdrawStake`, neither
/// of which anybody can stop; or by a verdict of the slasher, a contract that judges providers. Verdicts of one slash epoch
/// take at most a fixed share of the stake that the provider had when the epoch began. What they take belongs to the injured
/// client first; the rest is burned. Slashing moves no tokens, so no token can prevent it.
/// @dev The token may be any ERC-20 that delivers exactly what it is asked to. Amounts are in its smallest unit.
interface IProviderStake {
    /// @notice `amount` was added to a provider's stake, of which `staked` is not exiting.
    event Staked(address indexed provider, uint64 amount, uint64 staked);
    /// @notice `amount` was taken from a provider's stake; all that is `exiting` can be withdrawn at `withdrawAt`.
    event Unstaked(address indexed provider, uint64 amount, uint64 exiting, uint32 withdrawAt);
    /// @notice The provider took `amount` back.
    event StakeWithdrawn(address indexed provider, uint64 amount);
    /// @notice A verdict took `amount` of a provider's stake, of which `compensation` is the client's.
    event Slashed(
        address indexed provider, address indexed client, bytes32 indexed verdict, uint64 amount, uint64 compensation
    );
    /// @notice An injured client was paid what verdicts had granted it.
    event Compensated(address indexed client, uint256 amount);
    /// @notice What verdicts took beyond compensations was burned.
    event ForfeitsBurned(uint256 amount);
    /// @notice `slasher` may slash from `from` on; zero means nobody.
    event SlasherAppointed(address indexed slasher, uint32 from);

    /// @notice The token is not a contract.
    error NotAToken(address token);
    /// @notice A setting is outside its bounds.
    error SettingOutOfBounds(bytes32 setting, uint256 given, uint256 least, uint256 most);
    /// @notice An amount that must be positive was zero.
    error ZeroAmount();
    /// @notice The token delivered another amount than was asked for.
    error InexactPull(uint256 received, uint64 asked);
    /// @notice A provider's stake would be `staked`, which is neither 0 nor at least `minimum`.
    error StakeTooSmall(uint64 staked, uint64 minimum);
    /// @notice The provider has only `staked` that is not exiting.
    error AmountAboveStake(uint64 amount, uint64 staked);
    /// @notice An exit is over: withdraw it before another begins.
    error ExitReady(uint64 exiting);
    /// @notice Nothing of the provider's stake is exiting.
    error NothingExiting(address provider);
    /// @notice This is possible from `notBefore` on.
    error TooEarly(uint256 notBefore);
    /// @notice Only the slasher may do this.
    error NotSlasher(address caller, address slasher);
    /// @notice A verdict grants the client more than it takes from the provider.
    error CompensationAboveAmount(uint64 compensation, uint64 amount);
    /// @notice A compensation can go neither to zero nor to this contract.
    error InvalidClient(address client);
    /// @notice The verdict has been carried out already.
    error VerdictExecuted(bytes32 verdict);
    /// @notice The provider has no stake within reach, or this epoch's verdicts have taken all they may.
    error NothingSlashable(address provider);
    /// @notice No verdict grants the client anything that it has not been paid.
    error NothingOwed(address client);
    /// @notice There is nothing to burn.
    error NothingForfeited();
    /// @notice The token's `burn` destroyed another amount than was asked for.
    error InexactBurn(uint256 burned, uint256 asked);

    /// @notice Adds to the caller's stake. The caller must be registered as a provider.
    function stake(uint64 amount) external;

    /// @notice As `stake`, with the caller's EIP-2612 permit for `amount` in the same transaction.
    /// @dev A permit that somebody used before is no obstacle as long as the allowance suffices.
    function stakeWithPermit(uint64 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Starts the exit of a part of the caller's stake, or of all of it. Until the delay is over it can be slashed.
    /// @dev A further `unstake` joins an exit that is under way and starts its delay again, for all that is exiting.
    function unstake(uint64 amount) external;

    /// @notice Pays the caller what is exiting, once the delay is over. Cannot be paused.
    function withdrawStake() external;

    /// @notice Carries out a verdict once. Slasher only.
    /// @dev Takes less than `amount` if this epoch's budget or the stake within reach is less; what is missing is not taken
    /// later. A slasher that wants it passes another verdict in a later epoch.
    /// @param compensation The client's part of `amount`. It comes first: where less is taken, the burned part shrinks first.
    /// @param verdict The verdict's identity.
    /// @return slashed What was taken.
    /// @return compensated The client's part of that, which `compensate` pays.
    function slash(address provider, uint64 amount, address client, uint64 compensation, bytes32 verdict)
        external
        returns (uint64 slashed, uint64 compensated);

    /// @notice Pays an injured client what verdicts granted it. Anyone may call; only the client is paid.
    /// @dev Apart from `slash`, so that a client that cannot receive the token hinders no verdict, and loses nothing.
    function compensate(address client) external;

    /// @notice Burns what verdicts took beyond compensations. Anyone may call.
    /// @dev A token without `burn(uint256)` refuses; then it stays here for good.
    function burnForfeits() external;

    /// @notice Appoints the contract that may slash. Owner only.
    /// @dev Zero dismisses the slasher at once. A new one may slash only after `unstakeDelay + slashEpoch`, the one before it
    /// until then: a provider that distrusts it and unstakes within a slash epoch of the notice is out of its reach.
    function setSlasher(address next) external;

    /// @notice The token that is staked.
    function token() external view returns (address);

    /// @notice The settings, with the slasher of this moment.
    function settings() external view returns (RegistrySettings memory);

    /// @notice May slash now; zero for nobody.
    function slasher() external view returns (address);

    /// @notice The slasher appointed last, and from when on it may slash.
    function appointment() external view returns (address next, uint32 from);

    /// @notice A provider's stake with the slash budget of this moment.
    function stakeOf(address provider) external view returns (Stake memory);

    /// @notice What a verdict could take from a provider now.
    function slashable(address provider) external view returns (uint64);

    /// @notice Whether a verdict has been carried out.
    function isExecuted(bytes32 verdict) external view returns (bool);

    /// @notice What verdicts granted a client and it has not been paid.
    function compensationOf(address client) external view returns (uint256);

    /// @notice What verdicts took beyond compensations and has not been burned.
    function forfeits() external view returns (uint256);
}
