// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ComputeToken} from "../../src/ComputeToken.sol";
import {ProviderRegistry} from "../../src/ProviderRegistry.sol";
import {Emission} from "../../src/types/Emission.sol";
import {Grant} from "../../src/types/Grant.sol";
import {RegistrySettings, Stake} from "../../src/types/Stake.sol";
import {Artifacts} from "./Artifacts.sol";
import {vm} from "./Vm.sol";

/// @notice A registry, two providers with CAPA to stake, a worker key, a slasher and an injured client. Time starts with a
/// slash epoch.
abstract contract RegistryFixture {
    uint256 internal constant ANN_KEY = 0xa11;
    uint256 internal constant WORKER_KEY = 0x303;
    uint256 internal constant FUNDS = 1e16;
    uint64 internal constant STAKE = 1e12;
    uint64 internal constant MINIMUM = 1e9;
    uint32 internal constant DELAY = 250;
    uint32 internal constant EPOCH = 100;
    uint16 internal constant CAP_BPS = 1000;
    /// @dev What may be slashed of `STAKE` in an epoch.
    uint64 internal constant BUDGET = STAKE / 10;
    string internal constant ENDPOINT = "https://provider.example";
    string internal constant TERMS_URI = "https://provider.example/terms";
    bytes32 internal constant TERMS = keccak256("terms");

    address internal ann = vm.addr(ANN_KEY);
    address internal bob = address(0xb002);
    address internal worker = vm.addr(WORKER_KEY);
    address internal client = address(0xc11e);
    address internal slasher = address(0x51a5);
    address internal governor = address(0x60f0);
    address internal stranger = address(0x57a6);

    ComputeToken internal token;
    ProviderRegistry internal registry;
    /// @dev How many verdicts were passed.
    uint256 internal verdicts;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        token = _computeToken();
        registry = _deploy(address(token), _settings());
        _approve(ann);
        _approve(bob);
    }

    /* SET-UP */

    function _computeToken() internal returns (ComputeToken) {
        Grant[] memory grants = new Grant[](2);
        grants[0] = Grant(ann, uint64(FUNDS));
        grants[1] = Grant(bob, uint64(FUNDS));
        return ComputeToken(Artifacts.deploy("ComputeToken", abi.encode(governor, grants, Emission(0, 0, 0))));
    }

    function _settings() internal view returns (RegistrySettings memory) {
        return RegistrySettings({
            slasher: slasher, minimumStake: MINIMUM, unstakeDelay: DELAY, slashEpoch: EPOCH, slashCapBps: CAP_BPS
        });
    }

    function _deploy(address asset, RegistrySettings memory s) internal returns (ProviderRegistry) {
        return ProviderRegistry(Artifacts.deploy("ProviderRegistry", abi.encode(asset, governor, s)));
    }

    function _approve(address provider) internal {
        vm.prank(provider);
        token.approve(address(registry), type(uint256).max);
    }

    /* CALLS */

    function _register(address provider) internal {
        vm.prank(provider);
        registry.register(ENDPOINT, TERMS_URI, TERMS);
    }

    /// @dev The worker's consent to work for `provider`, in 65 bytes.
    function _consent(uint256 key, address provider) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, registry.consentDigest(provider, worker));
        return abi.encodePacked(r, s, v);
    }

    function _addWorker(address provider) internal {
        bytes memory signature = _consent(WORKER_KEY, provider);
        vm.prank(provider);
        registry.addWorker(worker, signature);
    }

    function _stake(address provider, uint64 amount) internal {
        vm.prank(provider);
        registry.stake(amount);
    }

    /// @dev Registers and stakes in one epoch and goes to the start of the next, where the stake can be slashed.
    function _begin(address provider) internal {
        _register(provider);
        _stake(provider, STAKE);
        _nextEpoch();
    }

    function _unstake(address provider, uint64 amount) internal {
        vm.prank(provider);
        registry.unstake(amount);
    }

    function _withdrawStake(address provider) internal {
        vm.prank(provider);
        registry.withdrawStake();
    }

    /// @dev A new verdict for the client.
    function _slash(address provider, uint64 amount, uint64 compensation) internal returns (uint64, uint64) {
        bytes32 verdict = bytes32(++verdicts);
        vm.prank(slasher);
        return registry.slash(provider, amount, client, compensation, verdict);
    }

    /* TIME */

    function _skip(uint256 time) internal {
        vm.warp(block.timestamp + time);
    }

    function _nextEpoch() internal {
        _skip(EPOCH - block.timestamp % EPOCH);
    }

    /* CHECKS */

    function _assertStake(address provider, uint64 staked, uint64 exiting, uint256 withdrawAt) internal view {
        Stake memory s = registry.stakeOf(provider);
        vm.assertEq(s.staked, staked, "staked");
        vm.assertEq(s.exiting, exiting, "exiting");
        vm.assertEq(s.withdrawAt, withdrawAt, "withdraw at");
    }
}
