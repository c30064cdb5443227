//! The contract as text, and what the built components make of it.

use std::collections::BTreeSet;

use host_test::fixtures::{component, workspace};
use wit_component::{DecodedWasm, OutputToString, WitPrinter};
use wit_parser::{Docs, Interface, PackageId, Resolve, TypeDefKind, WorldItem};

/// What a backend may import.
const ALLOWED: [&str; 14] = [
    "build-cache:plugin/types",
    "build-cache:plugin/content",
    "build-cache:plugin/events",
    "build-cache:plugin/identity",
    "build-cache:plugin/files",
    "wasi:http/types",
    "wasi:http/client",
    "wasi:clocks/types",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/system-clock",
    "wasi:random/random",
    "wasi:cli/environment",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
];

fn contract() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(workspace().join("wit"))
        .expect("WIT that parses");
    (resolve, package)
}

fn print(resolve: &Resolve, package: PackageId) -> String {
    let mut printer = WitPrinter::<OutputToString>::default();
    printer
        .print(resolve, package, &[])
        .expect("WIT that prints");
    printer.output.to_string()
}

#[test]
fn the_contract_says_the_same_when_it_is_printed_and_read_again() {
    let (resolve, package) = contract();
    let printed = print(&resolve, package);
    let mut again = Resolve::default();
    let package = again
        .push_str("printed.wit", &printed)
        .expect("WIT that parses");
    assert_eq!(print(&again, package), printed);
    assert!(printed.contains("package build-cache:plugin@0.2."));
}

#[test]
fn every_item_of_the_contract_is_documented() {
    let (resolve, package) = contract();
    let package = &resolve.packages[package];
    let mut bare = Vec::new();
    let mut check = |docs: &Docs, item: String| {
        if docs.contents.as_deref().is_none_or(str::is_empty) {
            bare.push(item);
        }
    };
    check(&package.docs, "the package".to_owned());
    for (name, world) in &package.worlds {
        check(&resolve.worlds[*world].docs, name.clone());
    }
    for (name, interface) in &package.interfaces {
        let interface: &Interface = &resolve.interfaces[*interface];
        check(&interface.docs, name.clone());
        for (function, is) in &interface.functions {
            check(&is.docs, format!("{name}.{function}"));
        }
        for (type_name, id) in &interface.types {
            let ty = &resolve.types[*id];
            let item = format!("{name}.{type_name}");
            match &ty.kind {
                TypeDefKind::Record(record) => {
                    for field in &record.fields {
                        check(&field.docs, format!("{item}.{}", field.name));
                    }
                }
                TypeDefKind::Variant(variant) => {
                    for case in &variant.cases {
                        check(&case.docs, format!("{item}.{}", case.name));
                    }
                }
                // A type of another interface, which has its docs there.
                TypeDefKind::Type(wit_parser::Type::Id(_)) => continue,
                _ => {}
            }
            check(&ty.docs, item);
        }
    }
    assert!(bare.is_empty(), "without a word: {bare:#?}");
}

#[test]
fn the_components_import_nothing_but_the_contract_and_wasi() {
    for r#type in ["azblob", "http"] {
        let bytes = std::fs::read(component(r#type)).expect("a component");
        let decoded = wit_component::decode(&bytes).expect("a component");
        let DecodedWasm::Component(resolve, world) = decoded else {
            panic!("{type} is no component");
        };
        let names = |items: Vec<(&wit_parser::WorldKey, &WorldItem)>| -> BTreeSet<String> {
            let names = items.into_iter().map(|(key, item)| {
                assert!(matches!(item, WorldItem::Interface { .. }), "{item:?}");
                resolve.name_world_key(key)
            });
            names.collect()
        };
        let world = &resolve.worlds[world];
        for import in names(world.imports.iter().collect()) {
            let (interface, version) = import.split_once('@').expect("a version");
            assert!(ALLOWED.contains(&interface), "{type} imports {import}");
            let wanted = if interface.starts_with("wasi:") {
                "0.3."
            } else {
                "0.2."
            };
            assert!(version.starts_with(wanted), "{type} imports {import}");
        }
        let exports = names(world.exports.iter().collect());
        let expected = ["backend", "layers", "names", "inventory"]
            .map(|name| format!("build-cache:plugin/{name}@0.2.0"));
        assert_eq!(exports, BTreeSet::from(expected), "exports of {type}");
    }
}
