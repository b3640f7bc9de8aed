// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ComputeToken} from "../../../src/ComputeToken.sol";
import {vm} from "../../utils/Vm.sol";
import {TokenHandler} from "./TokenHandler.sol";

/// @notice Numbers are those of the README in this folder.
contract TokenInvariants {
    TokenHandler private handler;
    ComputeToken private token;

    function setUp() public {
        handler = new TokenHandler();
        token = handler.token();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev One campaign checks them all, because a campaign costs more than its checks.
    function invariant_Token() external view {
        _check1Supply();
        _check2Schedule();
        _check3Votes();
        _check4Authorizations();
    }

    function _check1Supply() private view {
        uint256 sum;
        for (uint256 i; i < handler.HOLDERS(); ++i) {
            sum += token.balanceOf(handler.holderAt(i));
        }
        vm.assertEq(sum, token.totalSupply(), "1: the balances are the supply");
        vm.assertLe(sum, token.cap(), "1: the supply is within the cap");
        uint256 granted = handler.HOLDERS() * handler.GRANT();
        vm.assertEq(sum, granted + handler.mintedInAll() - handler.burnedInAll(), "1: granted, minted, burned");
    }

    function _check2Schedule() private view {
        vm.assertEq(token.minted(), handler.mintedInAll(), "2: burning does not lower what was minted");
        vm.assertLe(token.minted(), token.released(block.timestamp), "2: minted within the schedule");
        vm.assertEq(token.mintable(), token.released(block.timestamp) - token.minted(), "2: mintable");
    }

    function _check3Votes() private view {
        for (uint256 d; d < handler.HOLDERS(); ++d) {
            uint256 votes;
            for (uint256 i; i < handler.HOLDERS(); ++i) {
                address holder = handler.holderAt(i);
                if (token.delegates(holder) == handler.holderAt(d)) votes += token.balanceOf(holder);
            }
            vm.assertEq(token.getVotes(handler.holderAt(d)), votes, "3: votes are the delegators' balances");
        }
        vm.assertEq(token.getVotes(address(0)), 0, "3: nobody votes for those without a delegate");
    }

    function _check4Authorizations() private view {
        for (uint256 i; i < handler.HOLDERS(); ++i) {
            for (uint256 n; n < handler.NONCES(); ++n) {
                (address holder, bytes32 nonce) = (handler.holderAt(i), handler.nonceAt(n));
                uint256 times = handler.timesUsed(holder, nonce);
                vm.assertLe(times, 1, "4: a nonce works once");
                vm.assertEq(token.authorizationState(holder, nonce), times == 1, "4: and is known as used");
            }
        }
    }
}
