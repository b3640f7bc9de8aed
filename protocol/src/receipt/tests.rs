use super::*;
use crate::resource::{ResourceId, Unit};
use alloy::primitives::U256;

struct World {
    domain: Domain,
    order: Order,
    resource: Resource,
    worker: SigningKey,
    provider: Address,
}

fn world() -> World {
    World {
        domain: Domain::new(51866, Address::repeat_byte(9)),
        order: Order {
            payer: Address::repeat_byte(1),
            resource: ResourceId(2),
            max_price: Price(7_200_000),
            max_units: Quantity(1_000),
            max_total: Amount(5_000),
            spec: B256::repeat_byte(3),
            terms: B256::ZERO,
            expiry: Timestamp(100),
            salt: U256::from(1),
        },
        resource: Resource {
            id: ResourceId(2),
            name: "cpu.x86-64".into(),
            unit: Unit::CpuMs,
            scale: Quantity(3_600_000),
        },
        worker: SigningKey::from_bytes(&[5; 32]).unwrap(),
        provider: Address::repeat_byte(7),
    }
}

impl World {
    fn statement(&self, sequence: u64, cpu_ms: u64) -> Statement {
        Statement {
            job: self.order.id(),
            provider: self.provider,
            sequence,
            usage: Usage { cpu_ms: Quantity(cpu_ms), ..Usage::default() },
            // 7,200,000 nano an hour is 2 nano a millisecond.
            amount: Amount(2 * cpu_ms),
            result: B256::ZERO,
            at: Timestamp(50),
        }
    }

    fn check(&self, statement: Statement, last: Option<&Statement>) -> Result<Receipt<Checked>, Rejection> {
        Receipt::sign(statement, &self.domain, &self.worker).check(&Facts {
            domain: &self.domain,
            order: &self.order,
            resource: &self.resource,
            price: Price(7_200_000),
            provider: self.provider,
            worker: self.worker.address(),
            last,
        })
    }
}

#[test]
fn a_right_receipt_is_paid_by_its_increase() {
    let world = world();
    let first = world.statement(1, 100);
    assert_eq!(world.check(first.clone(), None).unwrap().increase(None).unwrap(), Amount(200));
    let second = world.check(world.statement(2, 250), Some(&first)).unwrap();
    assert_eq!(second.increase(Some(&first)).unwrap(), Amount(300));
}

#[test]
fn each_rule_rejects_by_name() {
    let world = world();
    let first = world.statement(1, 100);

    let other_job = Statement { job: JobId(B256::ZERO), ..first.clone() };
    assert_eq!(world.check(other_job, None).unwrap_err(), Rejection::WrongJob);

    let other_provider = Statement { provider: Address::ZERO, ..first.clone() };
    assert_eq!(world.check(other_provider, None).unwrap_err(), Rejection::WrongJob);

    assert_eq!(
        world.check(world.statement(3, 200), Some(&first)).unwrap_err(),
        Rejection::Sequence { expected: 2, found: 3 }
    );
    assert_eq!(world.check(world.statement(2, 99), Some(&first)).unwrap_err(), Rejection::Decreasing);
    let earlier = Statement { at: Timestamp(49), ..world.statement(2, 100) };
    assert_eq!(world.check(earlier, Some(&first)).unwrap_err(), Rejection::Decreasing);
    assert_eq!(
        world.check(world.statement(1, 1_001), None).unwrap_err(),
        Rejection::OverUnits { used: Quantity(1_001), allowed: Quantity(1_000) }
    );
    let dear = Statement { amount: Amount(201), ..first.clone() };
    assert_eq!(
        world.check(dear, None).unwrap_err(),
        Rejection::Mispriced { expected: Amount(200), found: Amount(201) }
    );
    let last = Statement { result: B256::repeat_byte(1), ..first.clone() };
    assert_eq!(world.check(world.statement(2, 150), Some(&last)).unwrap_err(), Rejection::AfterFinal);

    let stranger = SigningKey::from_bytes(&[6; 32]).unwrap();
    let facts = Facts {
        domain: &world.domain,
        order: &world.order,
        resource: &world.resource,
        price: Price(7_200_000),
        provider: world.provider,
        worker: world.worker.address(),
        last: None,
    };
    let forged = Receipt::sign(first, &world.domain, &stranger).check(&facts).unwrap_err();
    assert!(matches!(forged, Rejection::Signature(SignatureError::WrongSigner { .. })));
}
