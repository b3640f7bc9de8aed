// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ERC20 as SoladyERC20} from "solady/tokens/ERC20.sol";

/// @notice OpenZeppelin's ERC-20 and nothing else: no permit, no votes.
contract OpenZeppelinToken is ERC20("Plain", "PLAIN") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @notice OpenZeppelin's ERC-20 with votes.
contract OpenZeppelinVotesToken is ERC20Votes {
    constructor() ERC20("Plain", "PLAIN") EIP712("Plain", "1") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @notice Solady's ERC-20, the cheapest in common use, and nothing else.
contract SoladyToken is SoladyERC20 {
    function name() public pure override returns (string memory) {
        return "Plain";
    }

    function symbol() public pure override returns (string memory) {
        return "PLAIN";
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
