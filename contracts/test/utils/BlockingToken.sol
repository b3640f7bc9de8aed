// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice A token that refuses blocked receivers and has no `burn`. Whoever gives it tokens makes them.
contract BlockingToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address account => bool) public isBlocked;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function setBlocked(address account, bool blocked) external {
        isBlocked[account] = blocked;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        _move(msg.sender, to, amount);
        return true;
    }

    /// @dev Every holder is taken to have approved everybody.
    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        _move(from, to, amount);
        return true;
    }

    function _move(address from, address to, uint256 amount) private {
        require(!isBlocked[from] && !isBlocked[to], "blocked");
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}
