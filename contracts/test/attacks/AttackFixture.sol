// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Channel} from "../../src/types/Channel.sol";
import {Acceptance, Allocation, Voucher} from "../../src/types/Messages.sol";
import {Calls} from "../utils/Calls.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {Signing} from "../utils/Signing.sol";
import {vm} from "../utils/Vm.sol";

/// @notice Beside the honest parties of the fixture: mallory, who pays, signs and keeps as she likes. The protocol fee is
/// 1 %, a deposit 100 CAPA and a bond 1,000 CAPA, so that every amount can be checked by hand.
abstract contract AttackFixture is SettlementFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    uint256 internal constant MALLORY_KEY = 0x3a110;
    uint256 internal constant MALLORY_SESSION_KEY = 0x3a115;

    address internal mallory = vm.addr(MALLORY_KEY);
    address internal mallorySession = vm.addr(MALLORY_SESSION_KEY);

    function setUp() public virtual override {
        super.setUp();
        vm.prank(client);
        token.transfer(mallory, 10_000 * CAPA);
        vm.prank(mallory);
        token.approve(address(settlement), type(uint256).max);
    }

    /* STEPS */

    /// @dev A channel of mallory with her own session key.
    function _openMallory(address to, uint64 amount) internal {
        vm.prank(mallory);
        settlement.open(mallorySession, to, amount);
    }

    function _bondMallory() internal {
        vm.prank(mallory);
        settlement.bond(BOND, bondOwner);
    }

    function _collectItems(bytes memory items) internal {
        vm.prank(keeper);
        settlement.collect(items);
    }

    /// @dev An empty tree that hides whatever was debited: its root is no leaf's.
    function _commitGarbage() internal {
        uint64 debits = _keeper().debits;
        vm.prank(keeper);
        settlement.commit(keccak256("hidden"), debits - debits * FEE_BPS / 10_000, 0, 0, 0, 0);
    }

    function _close() internal {
        vm.prank(client);
        settlement.close(session, keeper);
    }

    /// @dev What the client's withdrawal pays.
    function _withdraw() internal returns (uint256) {
        uint256 before = token.balanceOf(client);
        vm.prank(client);
        settlement.withdraw(session, keeper);
        return token.balanceOf(client) - before;
    }

    function _claim(uint32 number, Leaf[] memory leaves, uint256 at) internal {
        _mustSucceed(stranger, Calls.claim(keeper, number, leaves, at));
    }

    function _recover(bytes memory items) internal {
        vm.prank(stranger);
        settlement.recover(keeper, items);
    }

    /* MESSAGES */

    function _voucherOf(address payer, address to, uint32 number, uint64 total, address provider, uint64 earned)
        internal
        pure
        returns (Voucher memory)
    {
        Allocation memory latest = Allocation({provider: provider, earned: earned, receipt: keccak256("receipt")});
        return Voucher({payer: payer, keeper: to, batch: number, total: total, latest: latest});
    }

    function _sign(uint256 key, Voucher memory v) internal view returns (bytes memory) {
        return Signing.collectItem(messages, domain, key, v);
    }

    /// @dev Mallory's voucher for the keeper.
    function _malloryVoucher(uint32 number, uint64 total, address provider, uint64 earned)
        internal
        view
        returns (Voucher memory)
    {
        return _voucherOf(mallory, keeper, number, total, provider, earned);
    }

    function _malloryRecovery(Voucher memory v, uint64 owed) internal view returns (bytes memory) {
        return _recoveryBy(MALLORY_SESSION_KEY, v, owed);
    }

    function _recoveryBy(uint256 key, Voucher memory v, uint64 owed) internal view returns (bytes memory) {
        return Signing.recoverItem(messages, domain, key, KEEPER_KEY, v, owed);
    }

    function _acceptanceBy(uint256 key, address provider, uint32 number, uint64 owed)
        internal
        view
        returns (bytes memory)
    {
        Acceptance memory a = Acceptance({voucher: keccak256("voucher"), provider: provider, batch: number, owed: owed});
        return Signing.acceptance(messages, domain, key, a);
    }

    /* OUTCOMES */

    function _mustSucceed(address from, bytes memory data) internal {
        vm.prank(from);
        (bool done, bytes memory reason) = address(settlement).call(data);
        if (done) return;
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }

    /// @dev Refused for this reason, and nothing has moved.
    function _mustFail(address from, bytes memory data, bytes4 reason) internal {
        uint256 held = token.balanceOf(address(settlement));
        vm.prank(from);
        (bool done, bytes memory returned) = address(settlement).call(data);
        vm.assertFalse(done, "the attack succeeded");
        vm.assertEq(bytes32(bytes4(returned)), bytes32(reason), "the attack failed for another reason");
        vm.assertEq(token.balanceOf(address(settlement)), held, "money moved");
    }

    function _collectMustFail(bytes memory items, bytes4 reason) internal {
        _mustFail(keeper, abi.encodeCall(ISettlement.collect, (items)), reason);
    }

    function _channelOf(address payer, address signer, address to) internal view returns (Channel memory) {
        return settlement.channel(settlement.channelId(payer, signer, to));
    }
}
