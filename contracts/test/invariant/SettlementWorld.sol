// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ComputeToken} from "../../src/ComputeToken.sol";
import {Messages} from "../../src/Messages.sol";
import {Settlement} from "../../src/Settlement.sol";
import {IComputeToken} from "../../src/interfaces/IComputeToken.sol";
import {Batch, Challenge} from "../../src/types/Batch.sol";
import {Channel} from "../../src/types/Channel.sol";
import {Grant} from "../../src/types/Grant.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {Periods, Settings} from "../../src/types/Settings.sol";
import {Leaf} from "../utils/ReferenceTree.sol";
import {vm} from "../utils/Vm.sol";

/// @notice Two keepers, two clients with two session keys each (eight channels), three providers, and what is remembered
/// about them to state the invariants.
abstract contract SettlementWorld {
    uint256 public constant KEEPERS = 2;
    uint256 public constant CHANNELS = 8;
    uint256 public constant PROVIDERS = 3;
    uint64 public constant BOND = 1e12;
    uint32 internal constant W = 60;
    uint32 internal constant R = 40;
    uint32 internal constant T = 200;
    uint32 internal constant THAW = 640;
    uint32 internal constant U = 650;
    uint32 internal constant X = 90;

    /// @dev A voucher and its acceptance, both signed.
    struct Accepted {
        uint256 channel;
        uint32 batch;
        uint64 total;
        address provider;
        uint64 earned;
    }

    /// @dev Addresses of the keys below, looked up once.
    address[2] private clients = [vm.addr(100), vm.addr(101)];
    address[2] private keepers = [vm.addr(200), vm.addr(201)];
    address[2] private sessions = [vm.addr(300), vm.addr(301)];

    address internal governor = address(0x60f0);
    address internal bondOwner = address(0xb0d0);

    ComputeToken public token;
    Settlement public settlement;
    Messages internal messages;
    bytes32 internal domain;

    Accepted[] internal accepted;
    mapping(bytes32 key => uint64) internal acceptedMost;
    mapping(bytes32 key => Leaf[]) internal committedLeaves;
    mapping(bytes32 key => bytes32) internal committedAs;
    mapping(bytes32 key => bool) public isInflated;
    mapping(bytes32 key => bool) internal wasPaid;
    mapping(bytes32 id => uint64) internal lastSpent;
    mapping(bytes32 id => bool) internal spentMayFall;
    mapping(bytes32 id => uint256) public depositedIn;
    mapping(bytes32 id => uint256) public withdrawnFrom;
    mapping(bytes32 id => uint64) public signedMost;
    uint32[2] internal lastBatch;
    KeeperStatus[2] internal lastStatus;

    constructor() {
        vm.warp(1_800_000_000);
        Grant[] memory grants = new Grant[](4);
        grants[0] = Grant(_client(0), 1e17);
        grants[1] = Grant(_client(1), 1e17);
        grants[2] = Grant(_keeper(0), 1e17);
        grants[3] = Grant(_keeper(1), 1e17);
        token = new ComputeToken(governor, grants);
        Periods memory p = Periods(W, R, T, THAW, U, X, 5, 6);
        Settings memory s = Settings(governor, governor, address(0x74ea), BOND, 137);
        settlement = new Settlement(IComputeToken(address(token)), p, s);
        messages = new Messages();
        domain = settlement.domainSeparator();
        for (uint256 i; i < 4; ++i) {
            vm.prank(grants[i].to);
            token.approve(address(settlement), type(uint256).max);
        }
        for (uint256 k; k < KEEPERS; ++k) {
            vm.prank(_keeper(k));
            settlement.bond(BOND, bondOwner);
        }
        for (uint256 c; c < CHANNELS; ++c) {
            (address payer, address signer, address keeper) = _parties(c);
            vm.prank(payer);
            settlement.open(signer, keeper, 1e12);
            depositedIn[_channelId(c)] = 1e12;
        }
        _checkHistory();
    }

    /* PARTIES */

    function _client(uint256 i) internal view returns (address) {
        return clients[i % 2];
    }

    function _keeperKey(uint256 k) internal pure returns (uint256) {
        return 200 + k % KEEPERS;
    }

    function _keeper(uint256 k) internal view returns (address) {
        return keepers[k % KEEPERS];
    }

    function keeperAt(uint256 k) external view returns (address) {
        return _keeper(k);
    }

    function _provider(uint256 i) internal pure returns (address) {
        return address(uint160(0xa000 + i % PROVIDERS));
    }

    function providerAt(uint256 i) external pure returns (address) {
        return _provider(i);
    }

    function _sessionKey(uint256 c) internal pure returns (uint256) {
        return 300 + (c / 2) % 2;
    }

    function _keeperOf(uint256 c) internal pure returns (uint256) {
        return (c / 4) % 2;
    }

    function _parties(uint256 c) internal view returns (address payer, address signer, address keeper) {
        return (_client(c), sessions[(c / 2) % 2], _keeper(_keeperOf(c)));
    }

    function _channelId(uint256 c) internal view returns (bytes32) {
        (address payer, address signer, address keeper) = _parties(c);
        return keccak256(abi.encode(payer, signer, keeper));
    }

    function channelIdAt(uint256 c) external view returns (bytes32) {
        return _channelId(c);
    }

    /* STATE */

    function _channel(uint256 c) internal view returns (Channel memory) {
        return settlement.channel(_channelId(c));
    }

    function _state(uint256 k) internal view returns (KeeperState memory) {
        return settlement.keeper(_keeper(k));
    }

    function _isLive(uint256 k) internal view returns (bool) {
        KeeperStatus status = _state(k).status;
        return status == KeeperStatus.Active || status == KeeperStatus.Retiring;
    }

    function _number(uint256 k) internal view returns (uint32) {
        return settlement.currentBatch(_keeper(k));
    }

    function _isPending(uint256 k) internal view returns (bool) {
        return settlement.batch(_keeper(k), _number(k)).committedAt != 0;
    }

    function _challengeOf(uint256 k, uint32 number, address provider) internal view returns (uint64, uint32) {
        Challenge memory c = settlement.challenged(_keeper(k), number, provider);
        return (c.owed, c.deadline);
    }

    /// @dev When the heartbeat period started, as the contract will see it.
    function _since(uint256 k) internal view returns (uint256 since) {
        KeeperState memory s = _state(k);
        since = s.since;
        uint256 finalAt = uint256(settlement.batch(_keeper(k), s.batch).committedAt) + W;
        if (_number(k) > s.batch && finalAt > since) since = finalAt;
    }

    /* MEMORY */

    function _key(uint256 k, uint32 number) internal pure returns (bytes32) {
        return keccak256(abi.encode(k, number));
    }

    function keyOf(uint256 k, uint32 number) external pure returns (bytes32) {
        return _key(k, number);
    }

    /// @dev A batch that pays somebody, from the n-th on; 0 if there is none.
    function _pick(uint256 k, uint256 n) internal view returns (uint32) {
        uint32 last = _number(k);
        for (uint256 i; i < last; ++i) {
            uint32 number = uint32(1 + (n % last + i) % last);
            if (settlement.batch(_keeper(k), number).sum != 0) return number;
        }
        return 0;
    }

    /// @dev Splits a sum over the providers; the last takes the rest.
    function _split(uint64 sum, uint256 seed) internal pure returns (Leaf[] memory leaves) {
        uint256 count = 1 + seed % PROVIDERS;
        leaves = new Leaf[](count);
        for (uint256 i; i < count; ++i) {
            uint64 share = i + 1 < count ? uint64(uint256(keccak256(abi.encode(seed, i))) % (uint256(sum) + 1)) : sum;
            leaves[i] = Leaf(_provider(i), share);
            sum -= share;
        }
    }

    function _remember(uint256 k, uint32 number, Leaf[] memory leaves, bool inflated) internal {
        bytes32 key = _key(k, number);
        for (uint256 i; i < leaves.length; ++i) {
            committedLeaves[key].push(leaves[i]);
        }
        isInflated[key] = inflated;
    }

    function _leavesOf(uint256 k, uint32 number) internal view returns (Leaf[] memory) {
        return committedLeaves[_key(k, number)];
    }

    function _committed(uint256 k, uint32 number) internal {
        committedAs[_key(k, number)] = _terms(k, number);
    }

    function _signed(uint256 c, uint64 total) internal {
        bytes32 id = _channelId(c);
        if (total > signedMost[id]) signedMost[id] = total;
    }

    function _storeAccepted(uint256 c, uint32 number, uint64 total, address provider, uint64 earned) internal {
        accepted.push(Accepted(c % CHANNELS, number, total, provider, earned));
        bytes32 key = keccak256(abi.encode(_channelId(c), provider, number));
        if (earned > acceptedMost[key]) acceptedMost[key] = earned;
    }

    /// @dev What `commit` fixes of a batch.
    function _terms(uint256 k, uint32 number) private view returns (bytes32) {
        Batch memory b = settlement.batch(_keeper(k), number);
        return keccak256(abi.encode(b.sum, b.fee, b.linesSum, b.committedAt, b.root, b.linesRoot));
    }

    /// @dev Everything stored about a keeper.
    function _fingerprint(uint256 k) internal view returns (bytes32) {
        bytes memory all = abi.encode(settlement.keeper(_keeper(k)));
        for (uint256 c; c < CHANNELS; ++c) {
            if (_keeperOf(c) == k) all = bytes.concat(all, abi.encode(_channel(c)));
        }
        uint32 number = _state(k).batch;
        for (uint256 i; i < PROVIDERS; ++i) {
            all = bytes.concat(all, abi.encode(settlement.challenged(_keeper(k), number, _provider(i))));
        }
        return keccak256(bytes.concat(all, abi.encode(settlement.batch(_keeper(k), number))));
    }

    /// @dev What holds between the state before a step and after it.
    function _checkHistory() internal {
        for (uint256 c; c < CHANNELS; ++c) {
            bytes32 id = _channelId(c);
            uint64 spent = settlement.channel(id).spent;
            if (!spentMayFall[id]) vm.assertLe(lastSpent[id], spent, "1: spent fell");
            spentMayFall[id] = false;
            lastSpent[id] = spent;
        }
        for (uint256 k; k < KEEPERS; ++k) {
            KeeperState memory s = _state(k);
            vm.assertLe(lastBatch[k], s.batch, "5: the batch fell");
            vm.assertLe(s.batch, lastBatch[k] + 1, "5: the batch rose by more than one");
            for (uint32 n = 1; n <= s.batch; ++n) {
                if (committedAs[_key(k, n)] != 0) {
                    vm.assertEq(_terms(k, n), committedAs[_key(k, n)], "5: a committed batch changed");
                }
            }
            if (lastStatus[k] == KeeperStatus.WoundDown || lastStatus[k] == KeeperStatus.Closed) {
                vm.assertTrue(s.status == lastStatus[k], "5: a terminal state was left");
                vm.assertEq(s.batch, lastBatch[k], "5: a batch became final after the end");
            }
            lastBatch[k] = s.batch;
            lastStatus[k] = s.status;
        }
    }
}
