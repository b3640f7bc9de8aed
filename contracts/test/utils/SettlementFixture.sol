// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ComputeToken} from "../../src/ComputeToken.sol";
import {Messages} from "../../src/Messages.sol";
import {Settlement} from "../../src/Settlement.sol";
import {Channel} from "../../src/types/Channel.sol";
import {Emission} from "../../src/types/Emission.sol";
import {Grant} from "../../src/types/Grant.sol";
import {KeeperState, KeeperStatus} from "../../src/types/KeeperState.sol";
import {Acceptance, Allocation, Voucher} from "../../src/types/Messages.sol";
import {Periods, Settings} from "../../src/types/Settings.sol";
import {Artifacts} from "./Artifacts.sol";
import {Leaf, ReferenceTree} from "./ReferenceTree.sol";
import {Signing} from "./Signing.sol";
import {vm} from "./Vm.sol";

/// @notice A deployed settlement, its parties, and one function per step of the protocol.
abstract contract SettlementFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    uint64 internal constant CAPA = 1e9;
    uint64 internal constant BOND = 1000 * CAPA;
    uint64 internal constant DEPOSIT = 100 * CAPA;
    uint16 internal constant FEE_BPS = 100;

    // Every period differs, so that a mistaken one shows.
    uint32 internal constant W = 60;
    uint32 internal constant R = 40;
    uint32 internal constant T = 80;
    uint32 internal constant THAW = 400;
    uint32 internal constant U = 420;
    uint32 internal constant X = 90;
    uint32 internal constant F = 5;
    uint32 internal constant D = 6;

    uint256 internal constant CLIENT_KEY = 0xc11e47;
    uint256 internal constant SESSION_KEY = 0x5e5510;
    uint256 internal constant KEEPER_KEY = 0x4ee9e4;

    address internal client = vm.addr(CLIENT_KEY);
    address internal session = vm.addr(SESSION_KEY);
    address internal keeper = vm.addr(KEEPER_KEY);
    address internal bondOwner = address(0xb0d0);
    address internal ann = address(0xa001);
    address internal bob = address(0xb002);
    address internal cat = address(0xc003);
    address internal stranger = address(0x57a6);
    address internal governor = address(0x60f0);
    address internal guardian = address(0x60a8);
    address internal treasury = address(0x74ea);

    ComputeToken internal token;
    Settlement internal settlement;
    Messages internal messages;
    bytes32 internal domain;
    bytes32 internal channelId;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        Grant[] memory grants = new Grant[](2);
        grants[0] = Grant(client, 1_000_000 * CAPA);
        grants[1] = Grant(keeper, 1_000_000 * CAPA);
        token = ComputeToken(Artifacts.deploy("ComputeToken", abi.encode(governor, grants, Emission(0, 0, 0))));
        settlement = _settle(address(token));
        messages = new Messages();
        domain = settlement.domainSeparator();
        channelId = settlement.channelId(client, session, keeper);
        vm.prank(client);
        token.approve(address(settlement), type(uint256).max);
        vm.prank(keeper);
        token.approve(address(settlement), type(uint256).max);
    }

    /// @dev A settlement of any token, from the build that is tested.
    function _settle(address token_) internal returns (Settlement) {
        return Settlement(Artifacts.deploy("Settlement", abi.encode(token_, _periods(), _settings())));
    }

    function _periods() internal pure returns (Periods memory) {
        return Periods({
            challenge: W, answer: R, heartbeat: T, thaw: THAW, retirement: U, recovery: X, inclusion: F, reaction: D
        });
    }

    function _settings() internal view returns (Settings memory) {
        return Settings({owner: governor, guardian: guardian, treasury: treasury, minimumBond: BOND, feeBps: FEE_BPS});
    }

    /* STEPS */

    function _bond() internal {
        vm.prank(keeper);
        settlement.bond(BOND, bondOwner);
    }

    function _open(uint64 amount) internal {
        vm.prank(client);
        settlement.open(session, keeper, amount);
    }

    /// @dev An Active keeper with a funded channel.
    function _start() internal {
        _bond();
        _open(DEPOSIT);
    }

    function _collect(uint64 total) internal {
        bytes memory item = _item(_voucher(_number(), total, ann, total));
        vm.prank(keeper);
        settlement.collect(item);
    }

    /// @dev Commits the open batch with the given earnings, one line of the same sum, and the fee left out.
    function _commit(Leaf[] memory leaves) internal {
        ReferenceTree.Node memory root = leaves.nodes().root();
        vm.prank(keeper);
        settlement.commit(root.hash, root.sum, bytes32(0), 0, 0, bytes32(0));
    }

    /// @dev Collects `total` and commits it less the fee as one leaf for ann. Returns that leaf.
    function _commitAnn(uint64 total) internal returns (Leaf[] memory leaves) {
        uint64 spent = _channel().spent;
        _collect(total);
        uint64 debits = total - spent;
        leaves = new Leaf[](1);
        leaves[0] = Leaf(ann, debits - debits * FEE_BPS / 10_000);
        _commit(leaves);
    }

    function _heartbeat() internal {
        _commit(new Leaf[](0));
    }

    /// @dev Challenges the pending batch with an acceptance of `owed`.
    function _challenge(address provider, uint64 owed) internal {
        bytes memory packed = _acceptance(provider, _number(), owed);
        vm.prank(stranger);
        settlement.challenge(keeper, packed);
    }

    /// @dev Leaves a challenge of `owed` unanswered until the keeper can be wound down, and winds it down.
    function _void(address provider, uint64 owed) internal {
        _challenge(provider, owed);
        _skip(R + 1);
        vm.prank(stranger);
        settlement.void(keeper, provider);
    }

    function _lapse() internal {
        uint256 since = _keeper().since;
        // A batch that is final but not written down starts the period anew.
        uint256 committedAt = settlement.batch(keeper, _keeper().batch).committedAt;
        if (committedAt != 0 && committedAt + W > since) since = committedAt + W;
        vm.warp(since + T + 1);
        vm.prank(stranger);
        settlement.lapse(keeper);
    }

    function _skip(uint256 time) internal {
        vm.warp(block.timestamp + time);
    }

    /* MESSAGES */

    function _voucher(uint32 number, uint64 total, address provider, uint64 earned)
        internal
        view
        returns (Voucher memory)
    {
        return Voucher({
            payer: client,
            keeper: keeper,
            batch: number,
            total: total,
            latest: Allocation({provider: provider, earned: earned, receipt: keccak256("receipt")})
        });
    }

    function _item(Voucher memory v) internal view returns (bytes memory) {
        return Signing.collectItem(messages, domain, SESSION_KEY, v);
    }

    function _direct(uint64 total) internal view returns (bytes memory) {
        return Signing.collectItem(messages, domain, SESSION_KEY, _voucher(0, total, keeper, total));
    }

    function _acceptance(address provider, uint32 number, uint64 owed) internal view returns (bytes memory) {
        Acceptance memory a = Acceptance({voucher: keccak256("voucher"), provider: provider, batch: number, owed: owed});
        return Signing.acceptance(messages, domain, KEEPER_KEY, a);
    }

    function _recovery(Voucher memory v, uint64 owed) internal view returns (bytes memory) {
        return Signing.recoverItem(messages, domain, SESSION_KEY, KEEPER_KEY, v, owed);
    }

    /* STATE */

    function _channel() internal view returns (Channel memory) {
        return settlement.channel(channelId);
    }

    function _keeper() internal view returns (KeeperState memory) {
        return settlement.keeper(keeper);
    }

    function _number() internal view returns (uint32) {
        return settlement.currentBatch(keeper);
    }

    function _assertStatus(KeeperStatus expected) internal view {
        vm.assertEq(uint256(_keeper().status), uint256(expected), "keeper status");
    }

    function _leaves(address a, uint64 amountA) internal pure returns (Leaf[] memory leaves) {
        leaves = new Leaf[](1);
        leaves[0] = Leaf(a, amountA);
    }

    function _leaves(address a, uint64 amountA, address b, uint64 amountB)
        internal
        pure
        returns (Leaf[] memory leaves)
    {
        leaves = new Leaf[](2);
        leaves[0] = Leaf(a, amountA);
        leaves[1] = Leaf(b, amountB);
    }
}
