// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ReferenceTree} from "../../utils/ReferenceTree.sol";
import {SettlementFixture} from "../../utils/SettlementFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract VerifyLineTest is SettlementFixture {
    using ReferenceTree for ReferenceTree.Node[];

    ReferenceTree.Node[] private nodes;

    function _line(uint64 amount) private view returns (bytes memory) {
        return abi.encodePacked(
            keccak256("job"), client, ann, uint32(1), uint64(3_600_000), amount, amount, uint64(7), keccak256("result")
        );
    }

    /// @dev Batch 1 pays 99 and states lines of 10, 20 and 30.
    function setUp() public override {
        super.setUp();
        _start();
        _collect(100);
        nodes.push(ReferenceTree.line(_line(10), 10));
        nodes.push(ReferenceTree.line(_line(20), 20));
        nodes.push(ReferenceTree.line(_line(30), 30));
        _commitLines(60);
    }

    function _commitLines(uint64 linesSum) private {
        bytes32 linesRoot = ReferenceTree.root(nodes).hash;
        vm.prank(keeper);
        settlement.commit(bytes32(uint256(1)), 99, linesRoot, linesSum, 3, bytes32(0));
    }

    function _verify(uint32 number, uint64 amount, uint32 index) private view returns (bool) {
        return settlement.verifyLine(keeper, number, _line(amount), index, ReferenceTree.proof(nodes, index));
    }

    function test_GivenNotFinal() external view {
        vm.assertFalse(_verify(1, 10, 0), "pending");
        vm.assertFalse(_verify(2, 10, 0), "not committed");
        vm.assertFalse(_verify(0, 10, 0), "no such batch");
    }

    function test_WhenTheSizeIsWrong() external {
        _skip(W);
        bytes memory longer = bytes.concat(_line(10), hex"00");
        vm.assertFalse(settlement.verifyLine(keeper, 1, longer, 0, ReferenceTree.proof(nodes, 0)), "141 bytes");
        vm.assertFalse(settlement.verifyLine(keeper, 1, "", 0, ""), "none");
    }

    function test_WhenSomethingIsWrong() external {
        _skip(W);
        vm.assertFalse(_verify(1, 11, 0), "another amount");
        vm.assertFalse(_verify(1, 10, 1), "another index");
        vm.assertFalse(settlement.verifyLine(keeper, 1, _line(10), 0, ""), "no proof");
        vm.assertFalse(settlement.verifyLine(stranger, 1, _line(10), 0, ReferenceTree.proof(nodes, 0)), "no keeper");
    }

    function test_WhenTheTreeHoldsMore() external {
        _skip(W);
        _collect(200);
        _commitLines(59);
        _skip(W);
        vm.assertFalse(_verify(2, 10, 0), "the sum is proven too");
    }

    function test_WhenProven() external {
        _skip(W);
        vm.assertTrue(_verify(1, 10, 0), "line 0, before anybody writes the batch down as final");
        vm.assertTrue(_verify(1, 20, 1), "line 1");
        vm.assertTrue(_verify(1, 30, 2), "line 2");
    }
}
