// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {vm} from "../utils/Vm.sol";

/// @notice Whoever winds a keeper down chooses the transaction's gas. It must not choose what happens to the bond: a call
/// within the contract gets 63/64 of the gas, and what is left may suffice to go on after it failed.
contract GasOfForfeitsTest is SettlementFixture {
    error Outcome(bool done, uint256 burned, uint256 rewarded);

    function setUp() public override {
        super.setUp();
        _start();
    }

    /// @dev Reverts with what the call did, so that the next try starts from the same state.
    function attempt(bytes calldata data, uint256 limit) external {
        uint256 supply = token.totalSupply();
        uint256 before = token.balanceOf(ann);
        (bool done,) = address(settlement).call{gas: limit}(data);
        revert Outcome(done, supply - token.totalSupply(), token.balanceOf(ann) - before);
    }

    function _scan(bytes memory data, uint256 from, uint256 to, uint256 burned, uint256 rewarded) private {
        uint256 successes;
        for (uint256 limit = from; limit < to; limit += 50) {
            (, bytes memory reason) = address(this).call(abi.encodeCall(this.attempt, (data, limit)));
            bool done;
            uint256 b;
            uint256 p;
            assembly {
                done := mload(add(reason, 0x24))
                b := mload(add(reason, 0x44))
                p := mload(add(reason, 0x64))
            }
            if (!done) continue;
            ++successes;
            vm.assertEq(b, burned, string.concat("burned with gas ", vm.toString(limit)));
            vm.assertEq(p, rewarded, string.concat("rewarded with gas ", vm.toString(limit)));
        }
        vm.assertGt(successes, 0, "the range reaches success");
    }

    function test_ALapseBurnsATenthWhateverItsGas() external {
        vm.warp(_keeper().since + T + 1);
        _scan(abi.encodeCall(settlement.lapse, (keeper)), 10_000, 150_000, BOND / 10, 0);
    }

    function test_AVoidRewardsAndBurnsWhateverItsGas() external {
        _commitAnn(10 * CAPA);
        _challenge(ann, 50 * CAPA);
        _skip(R + 1);
        _scan(abi.encodeCall(settlement.void, (keeper, ann)), 10_000, 300_000, BOND - BOND / 10, BOND / 10);
    }
}
