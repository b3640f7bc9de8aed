// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title PackedBalances: an ERC-20 that keeps a balance and the account's delegate in one storage word
/// @notice A transfer must know both parties' delegates to move their votes. Kept apart, they cost every first payment to
/// a provider one more cold read (2,100 gas), though almost no provider ever delegates.
/// @dev Balances are 64 bits: the inheriting contract keeps the supply below 2^64.
abstract contract PackedBalances is ERC20 {
    struct Account {
        uint64 balance;
        address delegate;
    }

    mapping(address account => Account) private _accounts;
    uint256 private _supply;

    /// @inheritdoc ERC20
    function totalSupply() public view virtual override returns (uint256) {
        return _supply;
    }

    /// @inheritdoc ERC20
    function balanceOf(address account) public view virtual override returns (uint256) {
        return _accounts[account].balance;
    }

    /// @dev Takes `value` from an account, or mints it if that is zero. Returns the account's delegate.
    /// A mint whose supply would not fit 64 bits must not get here.
    function _take(address from, uint256 value) internal returns (address) {
        if (from == address(0)) {
            _supply += value;
            return address(0);
        }
        (Account storage account, uint256 held, address delegatee) = _read(from);
        if (held < value) revert ERC20InsufficientBalance(from, held, value);
        // Just compared.
        unchecked {
            _write(account, held - value, delegatee);
        }
        return delegatee;
    }

    /// @dev Gives `value` to an account, or burns it if that is zero. Returns the account's delegate.
    function _give(address to, uint256 value) internal returns (address) {
        if (to == address(0)) {
            _supply -= value;
            return address(0);
        }
        (Account storage account, uint256 held, address delegatee) = _read(to);
        // No balance exceeds the supply, which is below 2^64.
        unchecked {
            _write(account, held + value, delegatee);
        }
        return delegatee;
    }

    function _read(address of_) private view returns (Account storage account, uint256 held, address delegatee) {
        account = _accounts[of_];
        assembly ("memory-safe") {
            let word := sload(account.slot)
            held := and(word, 0xffffffffffffffff)
            delegatee := shr(96, shl(32, word))
        }
    }

    /// @dev Writes an account in one store.
    function _write(Account storage account, uint256 held, address delegatee) private {
        assembly ("memory-safe") {
            sstore(account.slot, or(held, shl(64, delegatee)))
        }
    }

    function _delegateOf(address account) internal view returns (address) {
        return _accounts[account].delegate;
    }

    function _setDelegateOf(address account, address delegatee) internal {
        _accounts[account].delegate = delegatee;
    }
}
