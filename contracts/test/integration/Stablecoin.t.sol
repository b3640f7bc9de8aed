// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity 0.8.37;

import {SafeTransferLib} from "solady/utils/SafeTransferLib.sol";
import {LeafTransfers} from "../../src/libraries/LeafTransfers.sol";
import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {Authorization} from "../../src/types/Authorization.sol";
import {KeeperStatus} from "../../src/types/KeeperState.sol";
import {Voucher} from "../../src/types/Messages.sol";
import {ClaimItem, ClaimItems} from "../utils/ClaimItems.sol";
import {Permit2Deployer} from "../utils/Permit2Deployer.sol";
import {Leaf, ReferenceTree} from "../utils/ReferenceTree.sol";
import {SettlementFixture} from "../utils/SettlementFixture.sol";
import {Signing} from "../utils/Signing.sol";
import {Stablecoin, StablecoinDeployer} from "../utils/Stablecoin.sol";
import {vm} from "../utils/Vm.sol";

/// @notice What Permit2 tells about itself.
interface IPermit2 {
    function DOMAIN_SEPARATOR() external view returns (bytes32);
}

/// @notice The same code settles in a dollar: 6 decimals, behind a proxy, with a list of accounts that can neither pay
/// nor be paid. A listed account waits for its own money; nobody else does.
contract StablecoinTest is SettlementFixture {
    using ReferenceTree for Leaf[];
    using ReferenceTree for ReferenceTree.Node[];

    uint64 private constant USD = 1e6;
    uint64 private constant TOTAL = 10 * USD;
    uint64 private constant FEE = TOTAL / 100;
    uint64 private constant PAID = TOTAL - FEE;

    bytes32 private constant PERMIT2_TYPE = keccak256(
        "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Channel witness)"
        "Channel(address signer,address keeper,string purpose)TokenPermissions(address token,uint256 amount)"
    );

    address private issuer = address(0x1550e4);
    Stablecoin private usd;

    function setUp() public override {
        super.setUp();
        usd = StablecoinDeployer.deploy(issuer);
        settlement = _settle(address(usd));
        domain = settlement.domainSeparator();
        address[3] memory payers = [client, keeper, cat];
        for (uint256 i; i < payers.length; ++i) {
            vm.prank(issuer);
            usd.mint(payers[i], 10 * BOND);
            vm.prank(payers[i]);
            usd.approve(address(settlement), type(uint256).max);
        }
    }

    function _blacklist(address account, bool blacklisted) private {
        vm.prank(issuer);
        usd.setBlacklisted(account, blacklisted);
    }

    function _claim(address provider, uint32 number, uint64 amount, uint32 index, bytes memory proof) private {
        vm.prank(stranger);
        settlement.claim(
            keeper, provider, ClaimItems.pack(ClaimItem({batch: number, amount: amount, index: index, proof: proof}))
        );
    }

    function _refusesPayout() private {
        vm.expectRevert(abi.encodeWithSelector(SafeTransferLib.TransferFailed.selector));
    }

    function _withdraw() private {
        vm.prank(client);
        settlement.withdraw(session, keeper);
    }

    /* FUNDING */

    function test_OpensByApproval() external {
        _open(DEPOSIT);
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
        vm.assertEq(usd.balanceOf(address(settlement)), DEPOSIT, "held");
    }

    function test_OpensByPermit() external {
        vm.startPrank(client);
        usd.approve(address(settlement), 0);
        bytes32 hash = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                client,
                address(settlement),
                DEPOSIT,
                usd.nonces(client),
                block.timestamp
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(CLIENT_KEY, Signing.digest(usd.DOMAIN_SEPARATOR(), hash));
        settlement.openWithPermit(session, keeper, DEPOSIT, block.timestamp, v, r, s);
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
    }

    function test_OpensByAuthorization() external {
        vm.prank(client);
        usd.approve(address(settlement), 0);
        Authorization memory a;
        a.validBefore = block.timestamp + 1;
        a.salt = "salt";
        bytes32 hash = keccak256(
            abi.encode(
                keccak256(
                    "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
                ),
                client,
                address(settlement),
                DEPOSIT,
                a.validAfter,
                a.validBefore,
                settlement.authorizationNonce(session, keeper, a.salt)
            )
        );
        (a.v, a.r, a.s) = vm.sign(CLIENT_KEY, Signing.digest(usd.DOMAIN_SEPARATOR(), hash));
        vm.prank(stranger);
        settlement.openWithAuthorization(client, session, keeper, DEPOSIT, a);
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
    }

    function test_OpensByPermit2() external {
        address permit2 = Permit2Deployer.deploy();
        vm.startPrank(client);
        usd.approve(address(settlement), 0);
        usd.approve(permit2, type(uint256).max);
        vm.stopPrank();
        bytes memory signature = _permit2Signature(permit2, 7, block.timestamp);
        vm.prank(stranger);
        settlement.openWithPermit2(client, session, keeper, DEPOSIT, 7, block.timestamp, signature);
        vm.assertEq(_channel().deposit, DEPOSIT, "deposit");
    }

    function _permit2Signature(address permit2, uint256 nonce, uint256 deadline) private view returns (bytes memory) {
        bytes32 witness = keccak256(
            abi.encode(
                keccak256("Channel(address signer,address keeper,string purpose)"),
                session,
                keeper,
                keccak256("Open a Capa channel: the signer may spend this amount with the keeper")
            )
        );
        bytes32 permitted =
            keccak256(abi.encode(keccak256("TokenPermissions(address token,uint256 amount)"), address(usd), DEPOSIT));
        bytes32 hash = keccak256(abi.encode(PERMIT2_TYPE, permitted, address(settlement), nonce, deadline, witness));
        bytes32 digest = Signing.digest(IPermit2(permit2).DOMAIN_SEPARATOR(), hash);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(CLIENT_KEY, digest);
        return abi.encodePacked(r, s, v);
    }

    /* LIFE */

    function test_PaysEveryoneAndKeepsNothing() external {
        _start();
        Leaf[] memory leaves = _commitAnn(TOTAL);
        _skip(W);
        settlement.distribute(keeper, 1, leaves.pack());
        vm.assertEq(usd.balanceOf(ann), PAID, "distributed");

        _commitAnn(2 * TOTAL);
        _skip(W);
        _claim(ann, 2, PAID, 0, "");
        vm.assertEq(usd.balanceOf(ann), 2 * PAID, "claimed");

        _commitAnn(3 * TOTAL);
        _challenge(ann, PAID);
        settlement.answer(keeper, ann, PAID, 0, "");
        _skip(W);
        _claim(ann, 3, PAID, 0, "");
        vm.assertEq(usd.balanceOf(ann), 3 * PAID, "claimed after a challenge");

        settlement.sweepFees();
        vm.assertEq(usd.balanceOf(treasury), 3 * FEE, "swept");

        uint256 before = usd.balanceOf(client);
        vm.prank(client);
        settlement.close(session, keeper);
        vm.prank(bondOwner);
        settlement.retire(keeper);
        _skip(U);
        _withdraw();
        vm.assertEq(usd.balanceOf(client) - before, DEPOSIT - 3 * TOTAL, "withdrawn");
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        vm.assertEq(usd.balanceOf(bondOwner), BOND, "unbonded");
        vm.assertEq(usd.balanceOf(address(settlement)), 0, "nothing is left");
    }

    function test_RedeemsDirectVouchers() external {
        _open(DEPOSIT);
        uint256 before = usd.balanceOf(keeper);
        settlement.redeem(keeper, _direct(TOTAL));
        vm.assertEq(usd.balanceOf(keeper) - before, PAID, "paid");
        settlement.sweepFees();
        vm.assertEq(usd.balanceOf(treasury), FEE, "fee");
    }

    /// @dev The token lets only its issuer burn, so what is burned of a bond stays, and belongs to nobody.
    function test_VoidsAndRecovers() external {
        _start();
        _commitAnn(TOTAL);
        _void(ann, TOTAL);
        _assertStatus(KeeperStatus.WoundDown);
        vm.assertEq(usd.balanceOf(ann), BOND / 10, "a tenth for the provider");

        settlement.recover(keeper, _recovery(_voucher(1, TOTAL, ann, 9 * USD), 9 * USD));
        vm.assertEq(usd.balanceOf(ann), BOND / 10 + 9 * USD, "recovered");

        _skip(X);
        uint256 before = usd.balanceOf(client);
        _withdraw();
        vm.assertEq(usd.balanceOf(client) - before, DEPOSIT - 9 * USD, "the rest is the client's");
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        vm.assertEq(usd.balanceOf(bondOwner), 0, "no bond comes back");
        vm.assertEq(usd.balanceOf(address(settlement)), BOND - BOND / 10, "the forfeited bond is locked for good");
    }

    function test_Lapses() external {
        _start();
        _lapse();
        _skip(X);
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        vm.assertEq(usd.balanceOf(bondOwner), BOND - BOND / 10, "bond");
        _withdraw();
        vm.assertEq(usd.balanceOf(address(settlement)), BOND / 10, "the lapsed tenth is locked for good");
    }

    /* BLACKLIST */

    function test_ABlacklistedProviderBlocksNoOther() external {
        _start();
        _collect(TOTAL);
        Leaf[] memory leaves = _leaves(ann, 4 * USD, bob, PAID - 4 * USD);
        _commit(leaves);
        _skip(W);
        _blacklist(ann, true);
        vm.expectRevert(abi.encodeWithSelector(LeafTransfers.LeafTransferFailed.selector, ann, 4 * USD));
        settlement.distribute(keeper, 1, leaves.pack());

        ReferenceTree.Node[] memory nodes = leaves.nodes();
        _claim(bob, 1, PAID - 4 * USD, 1, nodes.proof(1));
        vm.assertEq(usd.balanceOf(bob), PAID - 4 * USD, "the other is paid");
        _refusesPayout();
        _claim(ann, 1, 4 * USD, 0, nodes.proof(0));
        vm.assertEq(settlement.paid(keeper, ann, 1), 0, "nothing counts as paid");

        _blacklist(ann, false);
        _claim(ann, 1, 4 * USD, 0, nodes.proof(0));
        vm.assertEq(usd.balanceOf(ann), 4 * USD, "paid when it can be");
    }

    function test_ABlacklistedProviderDoesNotSaveAKeeper() external {
        _start();
        _commitAnn(TOTAL);
        _challenge(ann, TOTAL);
        _blacklist(ann, true);
        _skip(R + 1);
        vm.expectEmit(address(settlement));
        emit ISettlement.BatchVoided(keeper, 1, ann, BOND);
        settlement.void(keeper, ann);
        vm.assertEq(usd.balanceOf(ann), 0, "no reward");
        vm.assertEq(_keeper().bond, 0, "all of the bond is forfeited");
        _assertStatus(KeeperStatus.WoundDown);
    }

    function test_ABlacklistedProviderDoesNotBlockRecovery() external {
        _start();
        _commitAnn(TOTAL);
        _void(cat, 1);
        bytes memory annItem = _recovery(_voucher(1, TOTAL, ann, 3 * USD), 3 * USD);
        bytes memory bobItem = _recovery(_voucher(1, 2 * TOTAL, bob, 4 * USD), 4 * USD);
        _blacklist(ann, true);
        _refusesPayout();
        settlement.recover(keeper, bytes.concat(annItem, bobItem));
        settlement.recover(keeper, bobItem);
        vm.assertEq(usd.balanceOf(bob), 4 * USD, "the other recovers without it");
        _blacklist(ann, false);
        settlement.recover(keeper, bytes.concat(annItem, bobItem));
        vm.assertEq(usd.balanceOf(ann), 3 * USD, "recovered when it can be");
        vm.assertEq(usd.balanceOf(bob), 4 * USD, "and nothing twice");
    }

    function test_ABlacklistedTreasuryBlocksNobody() external {
        _start();
        _blacklist(treasury, true);
        Leaf[] memory leaves = _commitAnn(TOTAL);
        _skip(W);
        settlement.distribute(keeper, 1, leaves.pack());
        vm.assertEq(usd.balanceOf(ann), PAID, "providers are paid");
        _refusesPayout();
        settlement.sweepFees();
        vm.assertEq(settlement.fees(), FEE, "the fees wait");
        vm.prank(governor);
        settlement.setTreasury(stranger);
        settlement.sweepFees();
        vm.assertEq(usd.balanceOf(stranger), FEE, "for another treasury");
    }

    function test_ABlacklistedPayerBlocksNobody() external {
        _start();
        vm.prank(cat);
        settlement.open(session, keeper, DEPOSIT);
        Voucher memory v = _voucher(1, TOTAL, bob, TOTAL);
        v.payer = cat;
        bytes memory items = bytes.concat(_item(_voucher(1, TOTAL, ann, TOTAL)), _item(v));
        _blacklist(client, true);
        vm.prank(keeper);
        settlement.collect(items);
        Leaf[] memory leaves = _leaves(ann, PAID, bob, PAID);
        _commit(leaves);
        vm.prank(client);
        settlement.close(session, keeper);
        vm.prank(cat);
        settlement.close(session, keeper);
        _skip(THAW);
        settlement.distribute(keeper, 1, leaves.pack());
        vm.assertEq(usd.balanceOf(ann), PAID, "what it owed is paid");
        vm.assertEq(usd.balanceOf(bob), PAID, "and what others owed");

        uint256 before = usd.balanceOf(cat);
        vm.prank(cat);
        settlement.withdraw(session, keeper);
        vm.assertEq(usd.balanceOf(cat) - before, DEPOSIT - TOTAL, "another withdraws");
        _refusesPayout();
        _withdraw();
        vm.assertEq(_channel().deposit, DEPOSIT, "its deposit waits");
        _blacklist(client, false);
        before = usd.balanceOf(client);
        _withdraw();
        vm.assertEq(usd.balanceOf(client) - before, DEPOSIT - TOTAL, "withdrawn when it can be");
    }

    function test_ABlacklistedBondOwnerBlocksNobody() external {
        _start();
        vm.prank(bondOwner);
        settlement.retire(keeper);
        vm.prank(client);
        settlement.close(session, keeper);
        _skip(U);
        _blacklist(bondOwner, true);
        _refusesPayout();
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        _assertStatus(KeeperStatus.Retiring);
        uint256 before = usd.balanceOf(client);
        _withdraw();
        vm.assertEq(usd.balanceOf(client) - before, DEPOSIT, "the client leaves");
        _blacklist(bondOwner, false);
        vm.prank(bondOwner);
        settlement.unbond(keeper);
        vm.assertEq(usd.balanceOf(bondOwner), BOND, "the bond waited");
    }

    function test_ABlacklistedDirectProviderBlocksNoOther() external {
        _open(DEPOSIT);
        vm.prank(client);
        settlement.open(session, ann, DEPOSIT);
        bytes memory direct = _direct(TOTAL);
        _blacklist(keeper, true);
        _refusesPayout();
        settlement.redeem(keeper, direct);
        vm.assertEq(_channel().spent, 0, "nothing counts as spent");
        Voucher memory v = _voucher(0, TOTAL, ann, TOTAL);
        v.keeper = ann;
        settlement.redeem(ann, _item(v));
        vm.assertEq(usd.balanceOf(ann), PAID, "the other is paid");
    }

    /// @dev Nothing can be done about this one, but nothing is lost by it either.
    function test_ABlacklistedSettlementKeepsItsAccounts() external {
        _start();
        _collect(TOTAL);
        _blacklist(address(settlement), true);
        Leaf[] memory leaves = _leaves(ann, PAID);
        _commit(leaves);
        _skip(W);
        vm.expectRevert(abi.encodeWithSelector(LeafTransfers.LeafTransferFailed.selector, ann, PAID));
        settlement.distribute(keeper, 1, leaves.pack());
        vm.expectRevert(abi.encodeWithSelector(SafeTransferLib.TransferFromFailed.selector));
        _open(1);
        _blacklist(address(settlement), false);
        settlement.distribute(keeper, 1, leaves.pack());
        vm.assertEq(usd.balanceOf(ann), PAID, "paid");
    }
}
