// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {Votes} from "@openzeppelin/contracts/governance/utils/Votes.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";

import {PackedBalances} from "./PackedBalances.sol";
import {IComputeToken} from "./interfaces/IComputeToken.sol";
import {Grant} from "./types/Grant.sol";

/// @title ComputeToken
/// @notice CAPA: permit (EIP-2612), signed transfers (ERC-3009), votes by timestamp (ERC-6372), burning, and a cap.
contract ComputeToken is IComputeToken, PackedBalances, ERC20Permit, ERC3009, ERC20Votes, ERC20Burnable {
    /// @inheritdoc IComputeToken
    uint256 public constant override cap = 1e18;

    /// @inheritdoc IComputeToken
    address public override minter;

    constructor(address minter_, Grant[] memory initial) ERC20("Capa", "CAPA") ERC20Permit("Capa") {
        minter = minter_;
        emit MinterChanged(address(0), minter_);
        for (uint256 i; i < initial.length; ++i) {
            _mintWithinCap(initial[i].to, initial[i].amount);
        }
    }

    /// @inheritdoc IComputeToken
    function mint(address to, uint256 amount) external {
        _requireMinter();
        _mintWithinCap(to, amount);
    }

    /// @inheritdoc IComputeToken
    function setMinter(address next) external {
        _requireMinter();
        minter = next;
        emit MinterChanged(msg.sender, next);
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
    function version() external view returns (string memory) {
        return _EIP712Version();
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

    /// @inheritdoc Votes
    function delegates(address account) public view override returns (address) {
        return _delegateOf(account);
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

    function _mintWithinCap(address to, uint256 amount) private {
        uint256 supply = totalSupply();
        if (amount > cap - supply) revert CapExceeded(supply, amount, cap);
        _mint(to, amount);
    }

    function _requireMinter() private view {
        if (msg.sender != minter) revert NotMinter(msg.sender, minter);
    }

    /// @dev As in `ERC20Votes`, with one read and one write per party. The cap is checked where tokens are minted.
    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Votes) {
        address fromDelegate = _take(from, value);
        address toDelegate = _give(to, value);
        emit Transfer(from, to, value);
        if (from == address(0) || to == address(0)) _transferVotingUnits(from, to, value);
        else if (fromDelegate != toDelegate) _moveDelegateVotes(fromDelegate, toDelegate, value);
    }

    function _delegate(address account, address delegatee) internal override {
        address previous = delegates(account);
        _setDelegateOf(account, delegatee);
        emit DelegateChanged(account, previous, delegatee);
        _moveDelegateVotes(previous, delegatee, _getVotingUnits(account));
    }

    /// @dev Times are Unix seconds, as the standard says. The base contract also reads some numbers as block heights.
    function _checkValidity(uint256 validAfter, uint256 validBefore) internal view override {
        if (block.timestamp <= validAfter || block.timestamp >= validBefore) {
            revert ERC3009InvalidAuthorizationTime(validAfter, validBefore);
        }
    }
}
