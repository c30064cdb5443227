//! Meaning harm before any cache is opened: when it is loaded, and when it is
//! asked what it is.

use build_cache_host::{Error, Plugin};
use host_test::fixtures;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

use super::{assert_failed, beside_others, hostile_describing};
use crate::setup::{self, run};

async fn load(bytes: Vec<u8>) -> Result<Plugin, Error> {
    setup::host().load_bytes("hostile.wasm", bytes).await
}

#[test]
fn a_plugin_that_does_harm_when_it_is_asked_what_it_is_is_not_loaded() {
    run(async {
        for (deed, reason) in [
            ("spin", "computed for 5s"),
            ("allocate", "bytes of memory"),
            ("recurse", "too deep for the stack"),
            ("trap", "it gave up"),
            ("streams", "more than 100000 streams"),
            ("events", "computed for 5s"),
            ("huge", "more than 134217728 bytes to the host"),
        ] {
            let loaded = beside_others(load(hostile_describing(deed))).await;
            assert_failed(&loaded.expect_err(deed), reason);
        }
    });
}

#[test]
fn no_description_moves_the_cursor() {
    run(async {
        let plugin = load(hostile_describing("escapes")).await.expect("a plugin");
        let description = plugin.description();
        let attribute = &description.attributes[0];
        let default = attribute.default.as_deref().expect("a default");
        for text in [
            &description.r#type,
            &description.version,
            &attribute.name,
            &attribute.description,
            default,
        ] {
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    });
}

#[test]
fn a_file_that_is_too_large_to_be_a_plugin_is_not_compiled() {
    run(async {
        let mut bytes = hostile_describing("plain");
        bytes.resize((64 << 20) + 1, 0);
        let error = load(bytes).await.expect_err("a refusal");
        assert!(matches!(error, Error::NotABackend { .. }), "{error:?}");
        assert!(error.to_string().contains("larger than 64 MiB"), "{error}");
    });
}

#[test]
fn a_plugin_that_wants_a_huge_table_is_not_loaded() {
    run(async {
        let error = load(backend_with_a_table(5_000_000)).await;
        let error = error.expect_err("a refusal");
        assert_failed(&error, "entries, and may have 100000");
    });
}

/// A backend whose functions all trap, and which has a table of its own.
fn backend_with_a_table(entries: u32) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let contract = resolve.push_dir(fixtures::workspace().join("wit"));
    let (package, _) = contract.expect("the contract");
    let world = resolve.select_world(&[package], None).expect("its world");
    let module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    let mut module = with_table(&module, entries);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("a module with its world");
    ComponentEncoder::default()
        .module(&module)
        .expect("a module of its world")
        .encode()
        .expect("a component")
}

/// The module with a section for its only table, where that belongs: before
/// the first section with a higher number.
fn with_table(module: &[u8], entries: u32) -> Vec<u8> {
    const HEADER: usize = 8;
    const TABLES: u8 = 4;
    const FUNCREF: u8 = 0x70;
    const NO_MAXIMUM: u8 = 0;
    let mut at = HEADER;
    while (1..=TABLES).contains(&module[at]) {
        let (size, length) = read_leb(&module[at + 1..]);
        at += 1 + length + size as usize;
    }
    let mut table = vec![1, FUNCREF, NO_MAXIMUM];
    table.extend(leb(entries));
    let size = u32::try_from(table.len()).expect("a few bytes");
    let section = [vec![TABLES], leb(size), table].concat();
    [&module[..at], &section, &module[at..]].concat()
}

/// A number as WebAssembly writes it, seven bits a byte.
fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Such a number, and how many bytes it takes.
fn read_leb(bytes: &[u8]) -> (u32, usize) {
    let length = 1 + bytes.iter().take_while(|byte| **byte & 0x80 != 0).count();
    let digits = bytes[..length].iter().rev();
    let number = digits.fold(0, |number, byte| number << 7 | u32::from(byte & 0x7f));
    (number, length)
}
