//! Events: the first topic names the event, further topics are its indexed fields, the data is the rest.

use crate::contract::all;
use crate::tokens::{runner, tuple};
use alloy::primitives::{B256, LogData};
use ethers_core::abi::{Event, ParamType, Token, encode};
use ethers_core::types::H256;

/// The log that an EVM would write for `fields`.
fn log(event: &Event, fields: &[Token]) -> LogData {
    let (indexed, plain): (Vec<_>, Vec<_>) = event.inputs.iter().zip(fields).partition(|(input, _)| input.indexed);
    let topic = |(_, field): &(_, &Token)| B256::from_slice(&encode(std::slice::from_ref(*field)));
    let first = B256::from(event.signature().0);
    let topics = std::iter::once(first).chain(indexed.iter().map(topic)).collect();
    let plain: Vec<_> = plain.into_iter().map(|(_, field)| field.clone()).collect();
    LogData::new_unchecked(topics, encode(&plain).into())
}

#[test]
fn every_event_is_encoded_and_decoded_alike() {
    for contract in all() {
        let events: Vec<_> = contract.ethers.abi().events().cloned().collect();
        assert_eq!(events.len(), contract.events, "events of {}", contract.name);
        let Some(recode) = contract.event else { continue };
        for event in events {
            let kinds: Vec<ParamType> = event.inputs.iter().map(|input| input.kind.clone()).collect();
            runner()
                .run(&tuple(kinds), |fields| {
                    let theirs = log(&event, &fields);
                    let ours = recode(&theirs);
                    assert_eq!(theirs, ours, "{}.{}", contract.name, event.name);
                    let topics = ours.topics().iter().map(|topic| H256::from(topic.0)).collect();
                    let data = ours.data.to_vec().into();
                    assert_eq!(contract.ethers.decode_event_raw(&event.name, topics, data).unwrap(), fields);
                    Ok(())
                })
                .unwrap();
        }
    }
}
