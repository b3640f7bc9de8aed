// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

/// @notice A token that accepts any call, as a wrapper of the native coin does, and calls its holders about every transfer: the
/// receiver after it, the sender of a pull before it.
contract CallingToken {
    mapping(address account => uint256) public balanceOf;

    fallback() external {}

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        _move(msg.sender, to, amount);
        _tell(to);
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        _tell(from);
        _move(from, to, amount);
        return true;
    }

    function _tell(address holder) private {
        if (holder.code.length == 0) return;
        (bool done,) = holder.call(abi.encodeWithSignature("moved()"));
        require(done, "refused");
    }

    function _move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}
