// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ComputeToken} from "../../../src/ComputeToken.sol";
import {Emission} from "../../../src/types/Emission.sol";
import {Grant} from "../../../src/types/Grant.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract ReleasedTest is TokenFixture {
    function test_GivenTheScheduleHasNotStarted() external view {
        vm.assertEq(token.released(0), 0, "at the beginning of time");
        vm.assertEq(token.released(EMISSION_START), 0, "at the start");
    }

    function test_GivenItRuns() external view {
        vm.assertEq(token.released(EMISSION_START + 1), 200, "the first second");
        vm.assertEq(token.released(EMISSION_START + EMISSION_DURATION / 2), EMISSION / 2, "halfway");
        vm.assertEq(token.released(EMISSION_START + EMISSION_DURATION - 1), EMISSION - 200, "a second before the end");
    }

    function test_GivenItHasEnded() external view {
        vm.assertEq(token.released(EMISSION_START + EMISSION_DURATION), EMISSION, "at the end");
        vm.assertEq(token.released(type(uint256).max), EMISSION, "at the end of time");
    }

    function test_GivenItLastsNoTime() external {
        ComputeToken other = new ComputeToken(minter, new Grant[](0), Emission(7, NOW, 0));
        vm.assertEq(other.released(NOW - 1), 0, "before");
        vm.assertEq(other.released(NOW), 7, "all at once");
    }

    /// @dev Rounded down, never falling, and never ahead of the straight line.
    function testFuzz_FollowsALine(uint64 total, uint32 start, uint32 duration, uint32 early, uint32 late) external {
        total %= uint64(CAP) + 1;
        start %= type(uint32).max / 2;
        duration = 1 + duration % (type(uint32).max / 2);
        ComputeToken other = new ComputeToken(minter, new Grant[](0), Emission(total, start, duration));
        (early, late) = early < late ? (early, late) : (late, early);
        vm.assertLe(other.released(early), other.released(late), "never falls");
        vm.assertLe(other.released(late), total, "never above the total");
        uint256 elapsed = late > start ? late - start : 0;
        if (elapsed > duration) elapsed = duration;
        vm.assertLe(other.released(late) * duration, uint256(total) * elapsed, "never ahead of the line");
        vm.assertGt((other.released(late) + 1) * duration, uint256(total) * elapsed, "never a nano behind it");
    }
}
