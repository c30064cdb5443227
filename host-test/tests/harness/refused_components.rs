//! What is no backend is refused before it runs, with a reason that helps.

use build_cache_host::Error;
use host_test::fixtures;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

use crate::setup::{host, run};

/// A component of a world, in which every function traps.
pub fn component(mut resolve: Resolve, package: &str, wit: &str) -> Vec<u8> {
    let package = resolve.push_str(package, wit).expect("WIT");
    let world = resolve.select_world(&[package], None).expect("one world");
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("a module with its world");
    ComponentEncoder::default()
        .module(&module)
        .expect("a module of its world")
        .validate(true)
        .encode()
        .expect("a component")
}

/// Our contract, for worlds that use it.
fn contract() -> Resolve {
    let mut resolve = Resolve::default();
    let folder = fixtures::workspace().join("wit");
    resolve.push_dir(folder).expect("the contract");
    resolve
}

/// What the host says of a file.
fn refusal(bytes: Vec<u8>) -> Error {
    run(async {
        let loaded = host().load_bytes("thing.wasm", bytes).await;
        loaded.expect_err("no backend")
    })
}

#[track_caller]
fn assert_no_backend(bytes: Vec<u8>, expected: &str) {
    let error = refusal(bytes);
    assert!(matches!(error, Error::NotABackend { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with("thing.wasm is not a cache backend") && text.contains(expected),
        "{text}"
    );
}

#[test]
fn a_text_and_an_empty_file_are_told_apart() {
    assert_no_backend(
        b"#!/bin/sh\necho hello\n".to_vec(),
        "not a WebAssembly file",
    );
    assert_no_backend(Vec::new(), "the file is empty");
}

#[test]
fn a_core_module_is_said_to_be_one() {
    assert_no_backend(b"\0asm\x01\0\0\0".to_vec(), "core module");
}

#[test]
fn an_empty_component_is_of_another_world() {
    assert_no_backend(b"\0asm\x0d\0\x01\0".to_vec(), "another world");
}

#[test]
fn a_backend_that_was_cut_off_does_not_compile() {
    let whole = std::fs::read(fixtures::component("azblob")).expect("azblob");
    for length in [9, 1000, whole.len() / 2, whole.len() - 1] {
        assert_no_backend(whole[..length].to_vec(), "does not compile");
    }
}

#[test]
fn an_http_server_is_of_another_world() {
    let server = component(
        Resolve::default(),
        "http.wit",
        "package wasi:http@0.3.0;
         interface handler { handle: func(request: string) -> string; }
         world service { export handler; }",
    );
    assert_no_backend(server, "build-cache:plugin/backend");
}

#[test]
fn a_backend_of_a_later_contract_names_the_versions() {
    let later = component(
        Resolve::default(),
        "later.wit",
        "package build-cache:plugin@0.3.0;
         interface backend { describe: func() -> string; }
         world cache-backend { export backend; }",
    );
    assert_no_backend(later, "build-cache:plugin/backend@0.3.0");
}

#[test]
fn a_backend_that_wants_more_than_the_contract_gives_is_refused() {
    let nosy = component(
        contract(),
        "nosy.wit",
        "package test:nosy;
         interface socket { connect: func(address: string); }
         world nosy {
           import socket;
           include build-cache:plugin/cache-backend@0.2.0;
         }",
    );
    assert_no_backend(nosy, "test:nosy/socket");
}

#[test]
fn a_backend_that_traps_when_it_is_asked_what_it_is_has_failed() {
    let broken = component(
        contract(),
        "broken.wit",
        "package test:broken;
         world broken { include build-cache:plugin/cache-backend@0.2.0; }",
    );
    let error = refusal(broken);
    assert!(matches!(error, Error::PluginFailed { .. }), "{error:?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    run(async {
        let error = host().load("no/such/plugin.wasm").await.expect_err("none");
        assert!(matches!(error, Error::File { .. }), "{error:?}");
        assert!(error.to_string().contains("no/such/plugin.wasm"), "{error}");
    });
}
