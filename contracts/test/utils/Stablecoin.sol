// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/// @notice A token as issuers of dollars make them: 6 decimals, behind a proxy, permits and signed transfers by v, r, s,
/// and a list of accounts that can neither pay nor be paid. Only the issuer mints and burns.
contract Stablecoin is ERC20Permit, ERC3009 {
    address public issuer;
    mapping(address account => bool) public isBlacklisted;

    constructor() ERC20("", "") ERC20Permit("USD Coin") {}

    /// @notice Once, in the proxy.
    function initialize(address issuer_) external {
        require(issuer == address(0), "already initialized");
        issuer = issuer_;
    }

    modifier onlyIssuer() {
        require(msg.sender == issuer, "FiatToken: caller is not a minter");
        _;
    }

    function mint(address to, uint256 amount) external onlyIssuer {
        _mint(to, amount);
    }

    function burn(uint256 amount) external onlyIssuer {
        _burn(msg.sender, amount);
    }

    function setBlacklisted(address account, bool blacklisted) external onlyIssuer {
        isBlacklisted[account] = blacklisted;
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        _requireClear(msg.sender);
        return super.transferFrom(from, to, amount);
    }

    /// @dev Constant, because the proxy does not have the storage that the constructor wrote.
    function name() public pure override returns (string memory) {
        return "USD Coin";
    }

    function symbol() public pure override returns (string memory) {
        return "USDC";
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    function _update(address from, address to, uint256 amount) internal override {
        _requireClear(from);
        _requireClear(to);
        super._update(from, to, amount);
    }

    function _requireClear(address account) private view {
        require(!isBlacklisted[account], "Blacklistable: account is blacklisted");
    }
}

/// @notice Deploys the code of a stablecoin, and the proxy that holds its accounts.
library StablecoinDeployer {
    function deploy(address issuer) internal returns (Stablecoin) {
        bytes memory initialize = abi.encodeCall(Stablecoin.initialize, (issuer));
        return Stablecoin(address(new ERC1967Proxy(address(new Stablecoin()), initialize)));
    }
}
