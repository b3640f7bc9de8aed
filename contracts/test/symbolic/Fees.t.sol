// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Fees} from "../../src/libraries/Fees.sol";

/// @notice Fee arithmetic for every 64-bit amount and every rate that governance may set.
/// @dev Products of numbers this wide are beyond solvers that work on bits; cvc5 proves them over the integers. The sums
/// are unchecked because an overflow check is one more division; none of them exceeds 2^80.
contract FeesSymbolicTest {
    uint16 private constant MAX_BPS = 500;

    /// @notice The fee of a batch is the exact fee cut to a whole nano: `fee <= exact < fee + 1`.
    /// @custom:halmos --solver-command contracts/tools/cvc5
    function check_feeDownIsTheFloor(uint64 amount, uint16 bps) external pure {
        if (bps > MAX_BPS) return;
        unchecked {
            uint256 fee = Fees.feeDown(amount, bps);
            uint256 exact = uint256(amount) * bps;
            assert(fee * 10_000 <= exact && exact < fee * 10_000 + 10_000);
        }
    }

    /// @notice The fee of a direct payment is the exact fee raised to a whole nano: `fee - 1 < exact <= fee`.
    /// @custom:halmos --solver-command contracts/tools/cvc5
    function check_feeUpIsTheCeiling(uint64 amount, uint16 bps) external pure {
        if (bps > MAX_BPS) return;
        unchecked {
            uint256 fee = Fees.feeUp(amount, bps);
            uint256 exact = uint256(amount) * bps;
            assert(exact <= fee * 10_000 && fee * 10_000 < exact + 10_000);
        }
    }

    /// @notice No fee takes more than there is, so that `amount - fee` never reverts.
    function check_feesLeaveTheRest(uint64 amount, uint16 bps) external pure {
        if (bps > MAX_BPS) return;
        assert(Fees.feeDown(amount, bps) <= amount);
        assert(Fees.feeUp(amount, bps) <= amount);
    }
}
