// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Votes} from "@openzeppelin/contracts/governance/utils/Votes.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";

/// @title PackedBalances: an ERC-20 with votes that keeps a balance and the account's delegate in one storage word
/// @notice A transfer must know both parties' delegates to move their votes. Kept apart, they cost every first payment to
/// a provider one more cold read (2,100 gas), though almost no provider ever delegates.
/// @dev The inheriting contract keeps the supply below 2^64, which makes every sum of balances fit 64 bits. A word can
/// therefore be debited and credited as a whole: its balance never carries into its delegate.
abstract contract PackedBalances is ERC20Votes {
    /// @dev `word` is the balance in the lower 64 bits and the delegate in the 160 above.
    struct Account {
        uint256 word;
    }

    uint256 private constant BALANCE_BITS = 64;
    /// @dev `keccak256("Transfer(address,address,uint256)")`.
    bytes32 private constant TRANSFER_TOPIC = 0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef;

    mapping(address holder => Account account) private _accounts;
    uint256 private _supply;

    /// @inheritdoc ERC20
    function totalSupply() public view virtual override returns (uint256) {
        return _supply;
    }

    /// @inheritdoc ERC20
    function balanceOf(address account) public view virtual override returns (uint256) {
        return _balanceIn(_accounts[account].word);
    }

    /// @inheritdoc Votes
    function delegates(address account) public view virtual override returns (address) {
        return _delegateIn(_accounts[account].word);
    }

    /// @dev As in `ERC20Votes`, with one read and one write per party. Whoever mints checks the supply.
    function _update(address from, address to, uint256 value) internal virtual override {
        if (from != address(0) && to != address(0)) return _move(from, to, value);
        if (from == address(0)) _supply += value;
        else _debit(from, value);
        if (to == address(0)) _supply -= value;
        else _credit(to, value);
        emit Transfer(from, to, value);
        _transferVotingUnits(from, to, value);
    }

    function _delegate(address account, address delegatee) internal virtual override {
        Account storage a = _accounts[account];
        uint256 word = a.word;
        (address previous, uint256 balance) = (_delegateIn(word), _balanceIn(word));
        a.word = uint256(uint160(delegatee)) << BALANCE_BITS | balance;
        emit DelegateChanged(account, previous, delegatee);
        _moveDelegateVotes(previous, delegatee, balance);
    }

    /// @dev Moves `value` between two accounts that are not zero, and their votes with it. Assembly, because this is what
    /// a payout costs per provider: one slot hash, read and write a party, and the event without a copy of its data.
    function _move(address from, address to, uint256 value) internal {
        uint256 slot;
        uint256 fromWord;
        uint256 toWord;
        assembly ("memory-safe") {
            from := shr(96, shl(96, from))
            to := shr(96, shl(96, to))
            mstore(0x20, _accounts.slot)
            mstore(0x00, from)
            slot := keccak256(0x00, 0x40)
            fromWord := sload(slot)
        }
        if (_balanceIn(fromWord) < value) revert ERC20InsufficientBalance(from, _balanceIn(fromWord), value);
        assembly ("memory-safe") {
            // The balance is the lower part of the word and was just compared.
            sstore(slot, sub(fromWord, value))
            mstore(0x00, to)
            slot := keccak256(0x00, 0x40)
            // Read after the write above: a transfer to oneself changes nothing. The sum is at most the supply.
            toWord := sload(slot)
            sstore(slot, add(toWord, value))
            mstore(0x00, value)
            log3(0x00, 0x20, TRANSFER_TOPIC, from, to)
        }
        if ((fromWord ^ toWord) >> BALANCE_BITS != 0) {
            _moveDelegateVotes(_delegateIn(fromWord), _delegateIn(toWord), value);
        }
    }

    /// @dev Returns the account's word as it was.
    function _debit(address from, uint256 value) private returns (uint256 word) {
        Account storage account = _accounts[from];
        word = account.word;
        if (_balanceIn(word) < value) revert ERC20InsufficientBalance(from, _balanceIn(word), value);
        // The balance, which is the lower part of the word, was just compared.
        unchecked {
            account.word = word - value;
        }
    }

    /// @dev Returns the account's word as it was.
    function _credit(address to, uint256 value) private returns (uint256 word) {
        Account storage account = _accounts[to];
        word = account.word;
        // Balance and value are parts of the supply, so that their sum is below 2^64.
        unchecked {
            account.word = word + value;
        }
    }

    function _balanceIn(uint256 word) private pure returns (uint256) {
        return word & type(uint64).max;
    }

    function _delegateIn(uint256 word) private pure returns (address) {
        return address(uint160(word >> BALANCE_BITS));
    }
}
