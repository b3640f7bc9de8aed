// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Votes} from "@openzeppelin/contracts/governance/utils/Votes.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";

import {PackedBalances} from "./PackedBalances.sol";
import {TransferAuthorizations} from "./TransferAuthorizations.sol";
import {IComputeToken} from "./interfaces/IComputeToken.sol";
import {Emission} from "./types/Emission.sol";
import {Grant} from "./types/Grant.sol";

/// @title ComputeToken
/// @notice CAPA: permit (EIP-2612), signed transfers (ERC-3009), votes by timestamp (ERC-6372), burning, and minting
/// by a schedule under a cap.
contract ComputeToken is IComputeToken, PackedBalances, ERC20Permit, TransferAuthorizations, ERC20Burnable {
    /// @inheritdoc IComputeToken
    uint256 public constant override cap = 1e18;

    uint64 private immutable EMISSION_TOTAL;
    uint32 private immutable EMISSION_START;
    uint32 private immutable EMISSION_DURATION;

    /// @inheritdoc IComputeToken
    address public override minter;

    /// @inheritdoc IComputeToken
    uint64 public override minted;

    /// @inheritdoc IComputeToken
    address public override pendingMinter;

    constructor(address minter_, Grant[] memory initial, Emission memory emission_)
        ERC20("Capa", "CAPA")
        ERC20Permit("Capa")
    {
        for (uint256 i; i < initial.length; ++i) {
            _requireWithinCap(initial[i].amount);
            _mint(initial[i].to, initial[i].amount);
        }
        // Checked once and for all: the supply is at most what is granted here and what the schedule releases.
        _requireWithinCap(emission_.total);
        uint256 end = uint256(emission_.start) + emission_.duration;
        if (end > type(uint32).max) revert EmissionEndsTooLate(end, type(uint32).max);
        if (emission_.total != 0 && minter_ == address(0)) revert EmissionWithoutMinter(emission_.total);
        EMISSION_TOTAL = emission_.total;
        EMISSION_START = emission_.start;
        EMISSION_DURATION = emission_.duration;
        minter = minter_;
        emit MinterChanged(address(0), minter_);
    }

    /// @inheritdoc IComputeToken
    function mint(address to, uint256 amount) external {
        _requireMinter();
        uint256 available = mintable();
        if (amount > available) revert EmissionExceeded(amount, available);
        // Both together are at most the schedule's total.
        minted += uint64(amount);
        _mint(to, amount);
    }

    /// @inheritdoc IComputeToken
    function transferMinter(address next) external {
        _requireMinter();
        pendingMinter = next;
        emit MinterTransferStarted(msg.sender, next);
    }

    /// @inheritdoc IComputeToken
    function acceptMinter() external {
        if (msg.sender != pendingMinter) revert NotPendingMinter(msg.sender, pendingMinter);
        _setMinter(msg.sender);
    }

    /// @inheritdoc IComputeToken
    function renounceMinter() external {
        _requireMinter();
        _setMinter(address(0));
    }

    /// @inheritdoc IComputeToken
    function burn(uint256 amount) public override(IComputeToken, ERC20Burnable) {
        super.burn(amount);
    }

    /// @inheritdoc IComputeToken
    function burnFrom(address account, uint256 amount) public override(IComputeToken, ERC20Burnable) {
        super.burnFrom(account, amount);
    }

    /// @inheritdoc IComputeToken
    function emission() external view returns (Emission memory) {
        return Emission({total: EMISSION_TOTAL, start: EMISSION_START, duration: EMISSION_DURATION});
    }

    /// @inheritdoc IComputeToken
    function version() external view returns (string memory) {
        return _EIP712Version();
    }

    /// @inheritdoc IComputeToken
    function mintable() public view returns (uint256) {
        return released(block.timestamp) - minted;
    }

    /// @inheritdoc IComputeToken
    function released(uint256 time) public view returns (uint256) {
        if (time < EMISSION_START) return 0;
        uint256 elapsed = time - EMISSION_START;
        if (elapsed >= EMISSION_DURATION) return EMISSION_TOTAL;
        return uint256(EMISSION_TOTAL) * elapsed / EMISSION_DURATION;
    }

    /// @inheritdoc ERC20
    function decimals() public pure override returns (uint8) {
        return 9;
    }

    /// @inheritdoc Votes
    function clock() public view override returns (uint48) {
        return Time.timestamp();
    }

    /// @inheritdoc Votes
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    /// @inheritdoc ERC20
    function transfer(address to, uint256 value) public override(IERC20, ERC20) returns (bool) {
        // Straight to the move, for its gas. Nobody calls from address zero.
        if (to == address(0)) revert ERC20InvalidReceiver(to);
        _move(msg.sender, to, value);
        return true;
    }

    /// @inheritdoc ERC20
    function totalSupply() public view override(IERC20, ERC20, PackedBalances) returns (uint256) {
        return super.totalSupply();
    }

    /// @inheritdoc ERC20
    function balanceOf(address account) public view override(IERC20, ERC20, PackedBalances) returns (uint256) {
        return super.balanceOf(account);
    }

    /// @inheritdoc ERC20Permit
    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, PackedBalances) {
        super._update(from, to, value);
    }

    function _setMinter(address next) private {
        emit MinterChanged(minter, next);
        minter = next;
        delete pendingMinter;
    }

    function _requireMinter() private view {
        if (msg.sender != minter) revert NotMinter(msg.sender, minter);
    }

    function _requireWithinCap(uint256 amount) private view {
        uint256 supply = totalSupply();
        if (amount > cap - supply) revert CapExceeded(supply, amount, cap);
    }
}
