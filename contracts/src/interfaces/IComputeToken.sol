// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title ComputeToken: CAPA, what compute is paid in
/// @notice 9 decimals, at most 1e18 nano, so that every amount fits 64 bits. No transfer hooks.
interface IComputeToken is IERC20 {
    /// @notice The right to mint moved.
    event MinterChanged(address indexed previous, address indexed next);

    /// @notice Only the minter may do this.
    error NotMinter(address caller, address minter);
    /// @notice Minting `amount` would raise the supply above the cap.
    error CapExceeded(uint256 supply, uint256 amount, uint256 cap);

    /// @notice Mints within the cap. Minter only.
    function mint(address to, uint256 amount) external;

    /// @notice Hands the right to mint to `next`, or gives it up for ever if that is zero. Minter only.
    function setMinter(address next) external;

    /// @notice Destroys tokens of the caller.
    function burn(uint256 amount) external;

    /// @notice Destroys tokens of `account` within the caller's allowance.
    function burnFrom(address account, uint256 amount) external;

    /// @notice May mint.
    function minter() external view returns (address);

    /// @notice The supply never exceeds this.
    function cap() external pure returns (uint256);

    /// @notice Version of the EIP-712 domain.
    function version() external view returns (string memory);
}
