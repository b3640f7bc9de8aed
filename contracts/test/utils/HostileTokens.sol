// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice A token whose payments can be made to fail in the three ways in which tokens fail, and to work again.
contract RefusingToken is ERC20("Refusing", "NO") {
    /// @dev How payments go: as they should, or not at all with an error, with false, or with true.
    enum Mode {
        Pay,
        Revert,
        ReturnFalse,
        ReturnTrue
    }

    Mode public mode;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setMode(Mode mode_) external {
        mode = mode_;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        return mode == Mode.Pay ? super.transfer(to, amount) : _refuse();
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        return mode == Mode.Pay ? super.transferFrom(from, to, amount) : _refuse();
    }

    function _refuse() private view returns (bool) {
        require(mode != Mode.Revert, "not today");
        return mode == Mode.ReturnTrue;
    }
}

/// @notice A token whose payments return nothing, as those of Tether do.
contract SilentToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @notice A token that lets a party call back in the middle of a payment, after the money has moved.
contract CallingToken is ERC20("Calling", "CALL") {
    address private target;
    bytes private data;
    bool private calling;

    /// @notice How many calls back there were, and how many of them succeeded.
    uint256 public calls;
    uint256 public successes;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// @notice Sets the call that every payment makes from now on, at most once deep.
    function callBack(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (target == address(0) || calling) return;
        calling = true;
        (bool success,) = target.call(data);
        calling = false;
        ++calls;
        if (success) ++successes;
    }
}

/// @notice An account that does what it is told: a payer or an owner that is a contract, and called by the token.
contract Puppet {
    function run(address target, bytes calldata data) external {
        (bool success, bytes memory reason) = target.call(data);
        if (success) return;
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }
}
