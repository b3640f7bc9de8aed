// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {vm} from "../utils/Vm.sol";
import {GasFixture} from "./GasFixture.sol";

/// @notice Whole batches, from the first debit to the last payment, in transactions that every chain accepts. The number of
/// jobs does not matter on chain: a batch of many jobs costs what its clients and providers cost.
/// forge-config: default.isolate = true
contract WorkloadsTest is GasFixture {
    /// @dev Channels collected and leaves paid by one transaction, at most.
    uint256 private constant CHUNK = 900;

    function setUp() public override {
        super.setUp();
        _bond();
    }

    function test_1kJobs() external {
        _perJob("per_job_1k", 1000, 50, 20);
    }

    function test_100kJobs() external {
        _perJob("per_job_100k", 100_000, 500, 100);
    }

    function test_1mJobs() external {
        _perJob("per_job_1m", 1_000_000, 1000, 500);
    }

    /// @dev Records gas per job, rounded up, of the second of two equal batches.
    function _perJob(string memory row, uint256 jobs, uint256 clients, uint256 providers) private {
        _openMany(keeper, clients);
        _batch(clients, providers, PRICE);
        uint256 gas = _batch(clients, providers, 2 * PRICE);
        _record("Bars", row, (gas + jobs - 1) / jobs);
    }

    /// @dev Collects, commits and distributes one batch. Returns the gas of all its transactions.
    function _batch(uint256 clients, uint256 providers, uint64 total) private returns (uint256 gas) {
        for (uint256 first; first < clients; first += CHUNK) {
            uint256 count = clients - first < CHUNK ? clients - first : CHUNK;
            bytes memory items = _vouchers(keeper, _number(), first, count, total);
            vm.prank(keeper);
            settlement.collect(items);
            gas += _fitting(abi.encodeCall(ISettlement.collect, (items)).length);
        }
        uint32 number = _number();
        bytes memory leaves = _commitProviders(0, providers, clients * PRICE);
        gas += _gas();
        _skip(W);
        settlement.distribute(keeper, number, leaves);
        gas += _fitting(abi.encodeCall(ISettlement.distribute, (keeper, number, leaves)).length);
        vm.assertTrue(settlement.distributed(keeper, number), "distributed");
    }

    /// @dev Gas of the transaction that was just made with so much calldata.
    function _fitting(uint256 length) private view returns (uint256 gas) {
        gas = _gas();
        vm.assertLe(gas, MAX_GAS, "gas of one transaction");
        vm.assertLe(length + ENVELOPE, MAX_BYTES, "bytes of one transaction");
    }
}
