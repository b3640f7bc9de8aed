// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {vm} from "../utils/Vm.sol";
import {Handler} from "./Handler.sol";

/// @notice One more cheatcode: the walks together need more gas than a test has.
interface Metering {
    function pauseGasMetering() external;
}

/// @notice A campaign that reaches nothing proves nothing: a few random walks with the same handler must make every function
/// succeed that an invariant is about.
contract ReachTest {
    uint256 private constant WALKS = 6;
    uint256 private constant LENGTH = 128;

    Handler private handler;
    bytes4[] private steps;
    mapping(bytes4 selector => uint256) private times;

    constructor() {
        steps = [handler.open.selector, handler.close.selector, handler.withdraw.selector, handler.request.selector];
        _add(handler.reply.selector, handler.submit.selector, handler.collude.selector, handler.acceptLate.selector);
        _add(handler.direct.selector, handler.bond.selector, handler.retire.selector, handler.unbond.selector);
        _add(handler.collect.selector, handler.commit.selector, handler.challenge.selector, handler.answer.selector);
        _add(handler.void.selector, handler.lapse.selector, handler.recover.selector, handler.claim.selector);
        _add(handler.distribute.selector, handler.sweepFees.selector, handler.forge.selector, handler.pause.selector);
        _add(handler.wait.selector, handler.waitLonger.selector, handler.waitForExit.selector, handler.delay.selector);
        _add(
            handler.claim.selector, handler.distribute.selector, handler.closeBatchEarly.selector, handler.wait.selector
        );
    }

    function _add(bytes4 a, bytes4 b, bytes4 c, bytes4 d) private {
        steps.push(a);
        steps.push(b);
        steps.push(c);
        steps.push(d);
    }

    function test_EveryFunctionIsReached() external {
        Metering(address(vm)).pauseGasMetering();
        uint256 counted;
        uint256 start = block.timestamp;
        for (uint256 walk; walk < WALKS; ++walk) {
            vm.warp(start);
            handler = new Handler();
            for (uint256 i; i < LENGTH; ++i) {
                _step(uint256(keccak256(abi.encode(walk, i))));
            }
            counted += handler.countedTimes();
            handler.leave();
            _addUp();
        }
        vm.assertGt(counted, 100, "acceptances that the honest provider counts");
        _checkReached();
    }

    /// @dev Arguments small enough for every type; the fourth may be a truth value.
    function _step(uint256 word) private {
        bytes memory data = abi.encodePacked(steps[word % steps.length]);
        for (uint256 a; a < 5; ++a) {
            uint256 most = a == 3 ? 2 : 1 << 48;
            data = abi.encodePacked(data, uint256(keccak256(abi.encode(word, a))) % most);
        }
        (bool done, bytes memory reason) = address(handler).call(data);
        if (done) return;
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }

    function _functions() private pure returns (bytes4[16] memory) {
        return [
            IEscrow.open.selector,
            IEscrow.close.selector,
            IEscrow.withdraw.selector,
            IEscrow.bond.selector,
            IEscrow.retire.selector,
            IEscrow.unbond.selector,
            ISettlement.collect.selector,
            ISettlement.commit.selector,
            ISettlement.challenge.selector,
            ISettlement.answer.selector,
            ISettlement.void.selector,
            ISettlement.lapse.selector,
            ISettlement.recover.selector,
            ISettlement.redeem.selector,
            ISettlement.distribute.selector,
            ISettlement.claim.selector
        ];
    }

    function _addUp() private {
        bytes4[16] memory functions = _functions();
        for (uint256 i; i < functions.length; ++i) {
            times[functions[i]] += handler.times(functions[i]);
        }
    }

    function _checkReached() private view {
        bytes4[16] memory functions = _functions();
        for (uint256 i; i < functions.length; ++i) {
            vm.assertGt(times[functions[i]], 0, string.concat("never succeeded: function ", vm.toString(i)));
        }
    }
}
