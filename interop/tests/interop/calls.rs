//! Calls and errors: a selector and ABI-encoded arguments.

use crate::contract::all;
use crate::tokens::{runner, tuple};
use ethers_core::abi::{FunctionExt, Token};

#[test]
fn every_call_is_encoded_and_decoded_alike() {
    for contract in all() {
        let functions: Vec<_> = contract.ethers.abi().functions().cloned().collect();
        assert_eq!(functions.len(), contract.calls, "functions of {}", contract.name);
        for function in functions {
            let arguments = tuple(function.inputs.iter().map(|input| input.kind.clone()));
            runner()
                .run(&arguments, |arguments| {
                    // ethers takes a lone tuple for the list of arguments, which may itself be a lone tuple.
                    let list = Token::Tuple(arguments.clone());
                    let theirs = contract.ethers.encode_with_selector(function.selector(), list).unwrap();
                    let ours = (contract.call)(&theirs);
                    assert_eq!(theirs.as_ref(), ours, "{}.{}", contract.name, function.name);
                    assert_eq!(contract.ethers.decode_input_raw(&ours).unwrap(), arguments);
                    Ok(())
                })
                .unwrap();
        }
    }
}

#[test]
fn every_error_is_encoded_and_decoded_alike() {
    for contract in all() {
        let errors: Vec<_> = contract.ethers.abi().errors().cloned().collect();
        assert_eq!(errors.len(), contract.errors, "errors of {}", contract.name);
        let Some(recode) = contract.error else { continue };
        for error in errors {
            let arguments = tuple(error.inputs.iter().map(|input| input.kind.clone()));
            runner()
                .run(&arguments, |arguments| {
                    let theirs = error.encode(&arguments).unwrap();
                    let ours = recode(&theirs);
                    assert_eq!(theirs, ours, "{}.{}", contract.name, error.name);
                    assert_eq!(error.decode(&ours[4..]).unwrap(), arguments);
                    Ok(())
                })
                .unwrap();
        }
    }
}
