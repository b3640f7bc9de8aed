// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {Stake} from "../../../src/types/Stake.sol";
import {BlockingToken} from "../../utils/BlockingToken.sol";
import {RegistryFixture} from "../../utils/RegistryFixture.sol";
import {vm} from "../../utils/Vm.sol";

/// @notice The parties, and a model of the registry that keeps its own books: it moves with every call that succeeds and is
/// compared with the contract after each step.
abstract contract RegistryWorld is RegistryFixture {
    uint256 internal constant PROVIDERS = 3;
    uint256 internal constant WORKERS = 4;
    uint256 internal constant CLIENTS = 3;
    uint256 internal constant SLASHERS = 3;

    /// @dev What the model knows of a provider.
    struct Account {
        bool registered;
        uint256 staked;
        uint256 exiting;
        uint256 withdrawAt;
        /// @dev Within reach when the current epoch began.
        uint256 atStart;
        /// @dev What the current epoch's verdicts took.
        uint256 taken;
        uint256 stakedInAll;
        uint256 withdrawnInAll;
        uint256 slashedInAll;
        uint256 unstakedAt;
    }

    bool internal immutable BURNABLE;
    address internal asset;

    address[3] internal providers;
    address[4] internal workers;
    Account[3] internal accounts;
    mapping(address client => uint256) internal owed;
    mapping(address worker => address provider) internal employer;
    uint256 internal forfeited;
    uint256 internal donated;
    uint256 internal epoch;
    /// @dev The slasher in office, the next one, and since or from when that is in office.
    address internal office;
    address internal successor;
    uint256 internal successionAt;
    uint256 internal announcedAt;

    constructor(bool burnable) {
        BURNABLE = burnable;
        super.setUp();
        providers = [ann, bob, address(0xc0c0)];
        asset = address(token);
        if (!burnable) {
            asset = address(new BlockingToken());
            registry = _deploy(asset, _settings());
        }
        for (uint256 i; i < PROVIDERS; ++i) {
            _fund(providers[i]);
        }
        for (uint256 i; i < WORKERS; ++i) {
            workers[i] = vm.addr(_workerKey(i));
        }
        for (uint256 i; i < 2; ++i) {
            _register(providers[i]);
            accounts[i].registered = true;
        }
        successor = slasher;
        successionAt = block.timestamp;
        _enterEpoch();
    }

    function _fund(address provider) private {
        if (BURNABLE) {
            vm.prank(bob);
            token.transfer(provider, 1e14);
            vm.prank(provider);
            token.approve(address(registry), type(uint256).max);
        } else {
            BlockingToken(asset).mint(provider, FUNDS);
        }
    }

    /* PARTIES */

    function _workerKey(uint256 w) internal pure returns (uint256) {
        return 0x7000 + w;
    }

    function _client(uint256 c) internal pure returns (address) {
        return address(uint160(0xc000 + c % CLIENTS));
    }

    function _slasher(uint256 s) internal view returns (address) {
        return s % SLASHERS == 0 ? slasher : address(uint160(0x5000 + s % SLASHERS));
    }

    function _balanceOf(address account) internal view returns (uint256) {
        return BlockingToken(asset).balanceOf(account);
    }

    /* MODEL */

    /// @dev The slasher in office now; zero for none.
    function _inOffice() internal view returns (address) {
        return block.timestamp < successionAt ? office : successor;
    }

    function _within(Account storage a, uint256 time) internal view returns (uint256) {
        return a.staked + (a.withdrawAt > time ? a.exiting : 0);
    }

    /// @dev What is left of the cap: invariant 4.
    function _budget(Account storage a) internal view returns (uint256) {
        return a.atStart * CAP_BPS / 10_000 - a.taken;
    }

    function _slashable(Account storage a) internal view returns (uint256) {
        uint256 within = _within(a, block.timestamp);
        return within < _budget(a) ? within : _budget(a);
    }

    /// @dev Called whenever time has passed. Unlike the contract, the model looks at every provider at every epoch's start.
    function _enterEpoch() internal {
        uint256 current = block.timestamp / EPOCH;
        if (current == epoch) return;
        epoch = current;
        for (uint256 i; i < PROVIDERS; ++i) {
            accounts[i].atStart = _within(accounts[i], current * EPOCH);
            accounts[i].taken = 0;
        }
    }

    /// @dev Takes a slash from the exit first.
    function _take(Account storage a, uint256 amount) internal {
        a.taken += amount;
        a.slashedInAll += amount;
        uint256 part;
        if (a.withdrawAt > block.timestamp) part = amount < a.exiting ? amount : a.exiting;
        a.exiting -= part;
        a.staked -= amount - part;
        if (a.exiting == 0) a.withdrawAt = 0;
    }

    /* CHECKS */

    /// @dev A call that must fail, whoever makes it.
    function _refused(address caller, bytes memory call, string memory reason) internal {
        vm.prank(caller);
        (bool done,) = address(registry).call(call);
        vm.assertFalse(done, reason);
    }

    /// @dev The contract's books are the model's: invariants 1 to 4 and 8 to 10.
    function _checkBooks() internal view {
        uint256 held = forfeited + donated;
        for (uint256 i; i < PROVIDERS; ++i) {
            held += _checkAccount(i);
        }
        for (uint256 i; i < CLIENTS; ++i) {
            vm.assertEq(registry.compensationOf(_client(i)), owed[_client(i)], "11: what a client is owed");
            held += owed[_client(i)];
        }
        vm.assertEq(registry.forfeits(), forfeited, "6: forfeits");
        vm.assertEq(_balanceOf(address(registry)), held, "1: every unit held is somebody's");
        vm.assertEq(registry.slasher(), _inOffice(), "10: the slasher in office");
        _checkWorkers();
    }

    function _checkAccount(uint256 i) private view returns (uint256 held) {
        Account storage a = accounts[i];
        Stake memory s = registry.stakeOf(providers[i]);
        vm.assertEq(s.staked, a.staked, "9: stake");
        vm.assertEq(s.exiting, a.exiting, "9: exit");
        vm.assertEq(s.withdrawAt, a.withdrawAt, "3: end of the delay");
        vm.assertEq(registry.slashable(providers[i]), _slashable(a), "5: what a verdict could take");
        vm.assertLe(a.taken, a.atStart * CAP_BPS / 10_000, "4: an epoch's cap");
        held = uint256(s.staked) + s.exiting;
        vm.assertEq(held + a.withdrawnInAll + a.slashedInAll, a.stakedInAll, "2: a provider's account");
        if (s.exiting != 0) vm.assertEq(s.withdrawAt, a.unstakedAt + DELAY, "3: the delay of the last unstake");
    }

    function _checkWorkers() private view {
        uint256[3] memory count;
        for (uint256 w; w < WORKERS; ++w) {
            address provider = registry.providerOf(workers[w]);
            vm.assertEq(provider, employer[workers[w]], "8: a key's provider");
            for (uint256 i; i < PROVIDERS; ++i) {
                if (provider == providers[i]) ++count[i];
            }
        }
        for (uint256 i; i < PROVIDERS; ++i) {
            vm.assertEq(registry.provider(providers[i]).workers, count[i], "8: number of keys");
        }
    }
}
