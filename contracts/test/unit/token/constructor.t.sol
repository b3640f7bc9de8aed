// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ComputeToken} from "../../../src/ComputeToken.sol";
import {IComputeToken} from "../../../src/interfaces/IComputeToken.sol";
import {Emission} from "../../../src/types/Emission.sol";
import {Grant} from "../../../src/types/Grant.sol";
import {TokenFixture} from "../../utils/TokenFixture.sol";
import {vm} from "../../utils/Vm.sol";

contract ConstructorTest is TokenFixture {
    uint32 private constant LATEST = type(uint32).max;

    function _grants(address a, uint64 amountA, address b, uint64 amountB)
        private
        pure
        returns (Grant[] memory grants)
    {
        grants = new Grant[](2);
        grants[0] = Grant(a, amountA);
        grants[1] = Grant(b, amountB);
    }

    function test_RevertWhen_TheGrantsExceedTheCap() external {
        Grant[] memory grants = _grants(ann, uint64(CAP), bob, 1);
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.CapExceeded.selector, CAP, 1, CAP));
        new ComputeToken(minter, grants, Emission(0, 0, 0));
    }

    function test_RevertWhen_AGrantGoesToAddressZero() external {
        Grant[] memory grants = _grants(ann, 1, address(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        new ComputeToken(minter, grants, Emission(0, 0, 0));
    }

    function test_RevertWhen_TheGrantsAndTheScheduleExceedTheCap() external {
        Grant[] memory grants = _grants(ann, 5, bob, 6);
        uint64 rest = uint64(CAP) - 11;
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.CapExceeded.selector, 11, rest + 1, CAP));
        new ComputeToken(minter, grants, Emission(rest + 1, NOW, 1));
        new ComputeToken(minter, grants, Emission(rest, NOW, 1));
    }

    function test_RevertWhen_TheScheduleEndsTooLate() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.EmissionEndsTooLate.selector, uint256(LATEST) + 1, LATEST));
        new ComputeToken(minter, new Grant[](0), Emission(1, NOW, LATEST - NOW + 1));
        new ComputeToken(minter, new Grant[](0), Emission(1, NOW, LATEST - NOW));
    }

    function test_RevertWhen_NobodyMayMintTheSchedule() external {
        vm.expectRevert(abi.encodeWithSelector(IComputeToken.EmissionWithoutMinter.selector, 1));
        new ComputeToken(address(0), new Grant[](0), Emission(1, NOW, 1));
    }

    function test_WhenThereIsNothingToMint() external {
        ComputeToken other = new ComputeToken(address(0), _grants(ann, 1, bob, 2), Emission(0, 0, 0));
        vm.assertEq(other.minter(), address(0), "nobody mints");
        vm.assertEq(other.mintable(), 0, "nothing to mint");
    }

    function test_WhenTheyFit() external {
        Grant[] memory grants = _grants(ann, 1, bob, uint64(CAP) - 3);
        ComputeToken other = new ComputeToken(minter, grants, Emission(2, NOW, 100));
        vm.assertEq(other.balanceOf(ann), 1, "ann");
        vm.assertEq(other.balanceOf(bob), CAP - 3, "bob");
        vm.assertEq(other.totalSupply(), CAP - 2, "supply");
        Emission memory e = other.emission();
        vm.assertEq(e.total, 2, "total of the schedule");
        vm.assertEq(e.start, NOW, "start of the schedule");
        vm.assertEq(e.duration, 100, "duration of the schedule");
        vm.assertEq(other.minted(), 0, "grants do not count as minted");
    }

    function test_DescribesTheToken() external view {
        vm.assertEq(token.name(), "Capa", "name");
        vm.assertEq(token.symbol(), "CAPA", "symbol");
        vm.assertEq(token.decimals(), 9, "decimals");
        vm.assertEq(token.version(), "1", "version");
        vm.assertEq(token.cap(), CAP, "cap");
        vm.assertEq(token.minter(), minter, "minter");
        vm.assertEq(token.pendingMinter(), address(0), "no handover");
        vm.assertEq(token.clock(), block.timestamp, "clock");
        vm.assertEq(token.CLOCK_MODE(), "mode=timestamp", "clock mode");
    }

    /// @dev What a wallet or an x402 client signs with: name and version from the token's views.
    function test_StatesItsDomain() external view {
        (, string memory name, string memory version, uint256 chain, address self,,) = token.eip712Domain();
        vm.assertEq(name, token.name(), "name");
        vm.assertEq(version, token.version(), "version");
        vm.assertEq(chain, block.chainid, "chain");
        vm.assertEq(self, address(token), "contract");
        bytes32 separator = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Capa"),
                keccak256("1"),
                block.chainid,
                address(token)
            )
        );
        vm.assertEq(token.DOMAIN_SEPARATOR(), separator, "domain separator");
    }
}
