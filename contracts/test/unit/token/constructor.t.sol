// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ComputeToken} from "../../../src/ComputeToken.sol";
import {IComputeToken} from "../../../src/interfaces/IComputeToken.sol";
import {Grant} from "../../../src/types/Grant.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract ConstructorTest is TokenFixture {
    function test_RevertWhen_TheGrantsExceedTheCap() external {
        Grant[] memory grants = new Grant[](2);
        grants[0] = Grant(ann, uint64(CAP));
        grants[1] = Grant(bob, 1);
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.CapExceeded.selector, CAP, 1, CAP));
        new ComputeToken(minter, grants);
    }

    function test_WhenTheyFit() external {
        Grant[] memory grants = new Grant[](2);
        grants[0] = Grant(ann, 1);
        grants[1] = Grant(bob, uint64(CAP) - 1);
        ComputeToken other = new ComputeToken(minter, grants);
        vm.assertEq(other.balanceOf(ann), 1, "ann");
        vm.assertEq(other.balanceOf(bob), CAP - 1, "bob");
        vm.assertEq(other.totalSupply(), CAP, "supply");
    }

    function test_DescribesTheToken() external view {
        vm.assertEq(token.name(), "Capa", "name");
        vm.assertEq(token.symbol(), "CAPA", "symbol");
        vm.assertEq(token.decimals(), 9, "decimals");
        vm.assertEq(token.version(), "1", "version");
        vm.assertEq(token.cap(), CAP, "cap");
        vm.assertEq(token.minter(), minter, "minter");
        vm.assertEq(token.clock(), block.timestamp, "clock");
        vm.assertEq(token.CLOCK_MODE(), "mode=timestamp", "clock mode");
        (, string memory name, string memory version, uint256 chain, address self,,) = token.eip712Domain();
        vm.assertEq(
            token.DOMAIN_SEPARATOR(),
            keccak256(
                abi.encode(
                    keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                    keccak256(bytes(name)),
                    keccak256(bytes(version)),
                    chain,
                    self
                )
            ),
            "domain separator"
        );
    }
}
