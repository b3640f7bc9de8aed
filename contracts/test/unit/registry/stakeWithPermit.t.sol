// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {IProviderStake} from "../../../src/interfaces/IProviderStake.sol";
import {BlockingToken} from "../../utils/BlockingToken.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {Signing} from "../../utils/Signing.sol";
import {vm} from "../../utils/Vm.sol";

contract StakeWithPermitTest is RegistryFixture {
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    uint8 private v;
    bytes32 private r;
    bytes32 private s;

    function setUp() public override {
        super.setUp();
        vm.prank(ann);
        token.approve(address(registry), 0);
        _register(ann);
        _permit(ANN_KEY);
    }

    function _permit(uint256 key) private {
        bytes32 hash = keccak256(abi.encode(PERMIT, ann, address(registry), STAKE, token.nonces(ann), block.timestamp));
        (v, r, s) = vm.sign(key, Signing.digest(token.DOMAIN_SEPARATOR(), hash));
    }

    function _send(address provider) private {
        vm.prank(provider);
        registry.stakeWithPermit(STAKE, block.timestamp, v, r, s);
    }

    function test_RevertGiven_NotRegistered() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.NotRegistered.selector, bob));
        _send(bob);
    }

    function test_WhenValid() external {
        vm.expectEmit(address(registry));
        emit IProviderStake.Staked(ann, STAKE, STAKE);
        _send(ann);
        _assertStake(ann, STAKE, 0, 0);
        vm.assertEq(token.allowance(ann, address(registry)), 0, "allowance used up");
        vm.assertEq(token.nonces(ann), 1, "permit used up");
    }

    function test_WhenSomebodyUsedIt() external {
        vm.prank(stranger);
        token.permit(ann, address(registry), STAKE, block.timestamp, v, r, s);
        _send(ann);
        _assertStake(ann, STAKE, 0, 0);
    }

    function test_WhenInvalidGivenAnAllowance() external {
        _approve(ann);
        _permit(WORKER_KEY);
        _send(ann);
        _assertStake(ann, STAKE, 0, 0);
    }

    function test_RevertWhen_InvalidGivenNoAllowance() external {
        _permit(WORKER_KEY);
        vm.expectRevert(abi.encodeWithSelector(SafeTransferLib.TransferFromFailed.selector));
        _send(ann);
    }

    function test_WhenTheTokenHasNoPermit() external {
        BlockingToken plain = new BlockingToken();
        plain.mint(ann, STAKE);
        registry = _deploy(address(plain), _settings());
        _register(ann);
        _send(ann);
        _assertStake(ann, STAKE, 0, 0);
    }
}
