// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {Emission} from "../types/Emission.sol";

/// @title ComputeToken: CAPA, what compute is paid in
/// @notice 9 decimals, at most 1e18 nano, so that every amount fits 64 bits. No transfer hooks. What is minted after
/// deployment follows a schedule that nobody can change: a stolen minter mints no faster than an honest one may.
interface IComputeToken is IERC20 {
    /// @notice The minter offered its right to `next`, or took the offer back if that is zero.
    event MinterTransferStarted(address indexed minter, address indexed next);
    /// @notice The right to mint moved.
    event MinterChanged(address indexed previous, address indexed next);

    /// @notice Only the minter may do this.
    error NotMinter(address caller, address minter);
    /// @notice Only the address that the minter offered its right to may do this.
    error NotPendingMinter(address caller, address pendingMinter);
    /// @notice `amount` on top of `supply` would exceed the cap.
    error CapExceeded(uint256 supply, uint256 amount, uint256 cap);
    /// @notice The schedule leaves less to mint than `amount` at this time.
    error EmissionExceeded(uint256 amount, uint256 mintable);
    /// @notice The schedule ends after `latest`, the last second that a time in 32 bits can name.
    error EmissionEndsTooLate(uint256 end, uint256 latest);
    /// @notice The schedule has something to mint, and nobody may mint it.
    error EmissionWithoutMinter(uint64 total);

    /// @notice Mints what the schedule has released and nobody has minted yet, or a part of it. Minter only.
    function mint(address to, uint256 amount) external;

    /// @notice Offers the right to mint to `next`, which has to accept it. Zero takes an offer back. Minter only.
    function transferMinter(address next) external;

    /// @notice Takes the right to mint that was offered to the caller.
    function acceptMinter() external;

    /// @notice Gives the right to mint up for ever, and takes back an offer of it. Minter only.
    function renounceMinter() external;

    /// @notice Destroys tokens of the caller. They do not come back as mintable.
    function burn(uint256 amount) external;

    /// @notice Destroys tokens of `account` within the caller's allowance. They do not come back as mintable.
    function burnFrom(address account, uint256 amount) external;

    /// @notice May mint; zero when nobody may any more.
    function minter() external view returns (address);

    /// @notice May accept the right to mint.
    function pendingMinter() external view returns (address);

    /// @notice The schedule.
    function emission() external view returns (Emission memory);

    /// @notice What the schedule releases by a time, in all.
    function released(uint256 time) external view returns (uint256);

    /// @notice Minted after deployment, in all.
    function minted() external view returns (uint64);

    /// @notice What the minter may mint now.
    function mintable() external view returns (uint256);

    /// @notice The supply never exceeds this.
    function cap() external pure returns (uint256);

    /// @notice Version of the EIP-712 domain.
    function version() external view returns (string memory);
}
