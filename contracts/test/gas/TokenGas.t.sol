// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {LeafTransfers} from "../../src/libraries/LeafTransfers.sol";
import {OpenZeppelinToken, OpenZeppelinVotesToken, SoladyToken} from "../utils/PlainTokens.sol";
import {AuthorizationFixture} from "../utils/AuthorizationFixture.sol";
import {vm} from "../utils/Vm.sol";

/// @notice Pays many holders in one transaction, with the loop of `distribute`, and measures that loop alone.
contract Paymaster {
    function pay(address token, bytes calldata leaves) external returns (uint256 gas) {
        gas = gasleft();
        LeafTransfers.payAll(token, leaves);
        gas -= gasleft();
    }
}

/// @notice What a transfer costs, whole and as one more within a transaction, beside the plain tokens of OpenZeppelin
/// and Solady, which have neither votes nor signed transfers. The numbers are committed in `contracts/snapshots`.
/// forge-config: default.isolate = true
contract TokenGasTest is AuthorizationFixture {
    uint256 private constant HOLDERS = 51;

    Paymaster private paymaster;

    function setUp() public override {
        super.setUp();
        paymaster = new Paymaster();
    }

    /// @dev Every holder has a balance and the payer keeps one: no slot is filled or emptied by the measured payments.
    function _marginal(string memory name, address payout) private returns (uint256 gas) {
        paymaster.pay(payout, _leaves(HOLDERS));
        uint256 one = paymaster.pay(payout, _leaves(1));
        gas = (paymaster.pay(payout, _leaves(HOLDERS)) - one) / (HOLDERS - 1);
        vm.snapshotValue("ComputeToken", name, gas);
    }

    function _leaves(uint256 count) private pure returns (bytes memory leaves) {
        for (uint256 i; i < count; ++i) {
            address holder = address(uint160(uint256(keccak256(abi.encode("holder", i)))));
            leaves = bytes.concat(leaves, abi.encodePacked(holder, uint64(7)));
        }
    }

    function test_OneMoreTransferInALoop() external {
        OpenZeppelinToken plain = new OpenZeppelinToken();
        OpenZeppelinVotesToken votes = new OpenZeppelinVotesToken();
        SoladyToken solady = new SoladyToken();
        plain.mint(address(paymaster), 900);
        votes.mint(address(paymaster), 900);
        solady.mint(address(paymaster), 900);
        vm.prank(ann);
        token.transfer(address(paymaster), 900);

        uint256 ours = _marginal("transfer in a loop, each further", address(token));
        uint256 ofPlain = _marginal("transfer in a loop, each further, OpenZeppelin", address(plain));
        uint256 ofVotes = _marginal("transfer in a loop, each further, OpenZeppelin with votes", address(votes));
        uint256 ofSolady = _marginal("transfer in a loop, each further, Solady", address(solady));
        vm.assertLe(ours, 8100, "the ceiling");
        vm.assertLe(ours, ofPlain - 200, "beside OpenZeppelin's plain token");
        vm.assertLe(ours, ofVotes - 2900, "beside OpenZeppelin's token with votes: a cold read less");
        vm.assertLe(ours, ofSolady + 250, "beside Solady's plain token: votes and a longer list of functions");
    }

    function test_Transfer() external {
        vm.startPrank(ann);
        token.transfer(bob, 7);
        _record("transfer, new holder", 51_200);
        token.transfer(bob, 7);
        _record("transfer, holder", 34_100);
        token.approve(bob, 100);
        vm.stopPrank();
        vm.startPrank(bob);
        token.transferFrom(ann, bob, 7);
        _record("transferFrom, holder", 40_500);
        token.delegate(bob);
        _record("delegate, first time", 76_500);
        vm.stopPrank();
    }

    function test_Mint() external {
        vm.warp(EMISSION_START + 2);
        vm.startPrank(minter);
        token.mint(bob, 100);
        vm.warp(EMISSION_START + 3);
        token.mint(bob, 100);
        _record("mint, holder", 74_000);
    }

    function test_Authorization() external {
        vm.prank(ann);
        token.transfer(bob, 7);
        bytes32 structHash =
            keccak256(abi.encode(TRANSFER_WITH_AUTHORIZATION, ann, bob, 7, 0, type(uint256).max, keccak256("nonce")));
        (uint8 v, bytes32 r, bytes32 s) = _sign(ANN_KEY, structHash);
        token.transferWithAuthorization(ann, bob, 7, 0, type(uint256).max, keccak256("nonce"), v, r, s);
        _record("transferWithAuthorization, holder", 66_000);
    }

    function test_Size() external {
        vm.snapshotValue("ComputeToken", "bytecode size", address(token).code.length);
        vm.assertLe(address(token).code.length, 22_528, "2 kB below the limit");
    }

    function _record(string memory name, uint256 ceiling) private {
        uint256 gas = vm.lastCallGas().gasTotalUsed;
        vm.snapshotValue("ComputeToken", name, gas);
        vm.assertLe(gas, ceiling, name);
    }
}
