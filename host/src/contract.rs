//! The versions of the contract: which one a component speaks, whether this host
//! runs it, and what it lacks. Plain decisions over the names of its imports and
//! exports; `plugin` asks before anything of a component runs. `calls` makes the
//! calls of either version, and `v0_1` turns the older one's types into ours.
//!
//! `wit/versions.md` is the rule in words.

mod calls;
mod v0_1;

use std::fmt;

pub(crate) use calls::{Backend, Pre};
pub(crate) use v0_1::add_to_linker as add_v0_1_to_linker;

/// The package of the contract.
const PACKAGE: &str = "build-cache:plugin/";

/// What every version gives a backend beside the contract's own interfaces.
const WASI: [&str; 9] = [
    "wasi:http/types@0.3.",
    "wasi:http/client@0.3.",
    "wasi:clocks/types@0.3.",
    "wasi:clocks/monotonic-clock@0.3.",
    "wasi:clocks/system-clock@0.3.",
    "wasi:random/random@0.3.",
    "wasi:cli/environment@0.3.",
    "wasi:filesystem/types@0.3.",
    "wasi:filesystem/preopens@0.3.",
];

/// The interfaces of the contract that a backend may import, in every version.
const IMPORTS: [&str; 5] = ["types", "content", "events", "identity", "files"];

/// A version of the contract that this host speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Contract {
    /// Whole caches and the inventory.
    V0_1,
    /// Single layers, names as arguments, and touching as well.
    V0_2,
}

impl Contract {
    /// All of them, the newest first.
    const ALL: [Self; 2] = [Self::V0_2, Self::V0_1];

    /// Major and minor version.
    pub fn version(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
        }
    }

    /// The calls of the newest contract that a component of this one cannot
    /// serve: they end with [`Error::Unsupported`](crate::Error).
    pub fn lacks(self) -> &'static [&'static str] {
        match self {
            Self::V0_1 => &[
                "find",
                "store",
                "touch",
                "configured names",
                "load",
                "publish",
            ],
            Self::V0_2 => &[],
        }
    }

    /// The interfaces that a component of this version exports.
    fn exports(self) -> &'static [&'static str] {
        match self {
            Self::V0_1 => &["backend", "inventory"],
            Self::V0_2 => &["backend", "layers", "names", "inventory"],
        }
    }

    /// Which version a component speaks, by the names of its imports and exports,
    /// or why this host does not run it. Within a minor version, the patch does
    /// not matter here: whether all that it imports is there shows when it is
    /// linked.
    pub(crate) fn of(imports: &[String], exports: &[String]) -> Result<Self, String> {
        let has = |names: &[String], interface: &str, version: Self| {
            let wanted = format!("{PACKAGE}{interface}@{version}.");
            names.iter().any(|name| name.starts_with(&wanted))
        };
        let spoken = Self::ALL.into_iter().find(|version| {
            let mut needed = version.exports().iter();
            needed.any(|interface| has(exports, interface, *version))
        });
        let Some(spoken) = spoken else {
            return Err(match exports.iter().find(|e| e.starts_with(PACKAGE)) {
                Some(other) => format!(
                    "it exports {other}, and this host speaks the versions {} of the contract; use \
                     a plugin that was built for one of them, or a newer host",
                    Self::all_in_words()
                ),
                None => format!(
                    "it does not export {PACKAGE}backend@{}; it is a component of another world",
                    Self::V0_2
                ),
            });
        };
        let mut needed = spoken.exports().iter();
        if let Some(missing) = needed.find(|interface| !has(exports, interface, spoken)) {
            return Err(format!(
                "it does not export {PACKAGE}{missing}@{spoken}, which version {spoken} of the \
                 contract asks of every backend; build it against the world `cache-backend`"
            ));
        }
        match imports.iter().find(|import| !spoken.gives(import)) {
            Some(foreign) => Err(format!(
                "it imports {foreign}, which version {spoken} of the contract does not give a \
                 backend"
            )),
            None => Ok(spoken),
        }
    }

    /// Whether the contract gives a backend this import.
    fn gives(self, import: &str) -> bool {
        let ours = IMPORTS.map(|interface| format!("{PACKAGE}{interface}@{self}."));
        let mut known = ours.iter().map(String::as_str).chain(WASI);
        known.any(|known| import.starts_with(known))
    }

    fn all_in_words() -> String {
        let mut versions = Self::ALL.map(Self::version);
        versions.reverse();
        versions.join(" and ")
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names
            .iter()
            .map(|name| match name.starts_with("wasi:") {
                true => (*name).to_owned(),
                false => format!("{PACKAGE}{name}"),
            })
            .collect()
    }

    #[test]
    fn a_component_runs_by_its_minor_version_whatever_its_patch() {
        let v0_1 = |patch: u32| {
            ["backend", "inventory"].map(|interface| format!("{PACKAGE}{interface}@0.1.{patch}"))
        };
        let v0_2 = |patch: u32| {
            ["backend", "layers", "names", "inventory"]
                .map(|interface| format!("{PACKAGE}{interface}@0.2.{patch}"))
        };
        for patch in [0, 1, 27] {
            assert_eq!(Contract::of(&[], &v0_1(patch)), Ok(Contract::V0_1));
            assert_eq!(Contract::of(&[], &v0_2(patch)), Ok(Contract::V0_2));
            // One that serves hosts of both is run by the newer.
            let both = [&v0_1(patch)[..], &v0_2(0)].concat();
            assert_eq!(Contract::of(&[], &both), Ok(Contract::V0_2));
        }
    }

    #[test]
    fn another_version_is_refused_by_name_and_so_is_half_a_world() {
        for (exports, said) in [
            (&["backend@0.3.0", "inventory@0.3.0"][..], "0.1 and 0.2"),
            (&["backend@1.0.0"], "plugin/backend@1.0.0"),
            (&["backend@0.10.0", "inventory@0.10.0"], "0.1 and 0.2"),
            (&["backend@0.2.0", "inventory@0.2.0"], "plugin/layers@0.2"),
            (&["backend@0.1.0"], "plugin/inventory@0.1"),
            (&[], "another world"),
        ] {
            let refused = Contract::of(&[], &names(exports)).unwrap_err();
            assert!(refused.contains(said), "{exports:?}: {refused}");
        }
    }

    #[test]
    fn a_component_may_import_what_its_own_version_gives() {
        let exports = names(&["backend@0.1.0", "inventory@0.1.0"]);
        let allowed = ["content@0.1.3", "events@0.1.0", "wasi:http/client@0.3.2"];
        assert!(Contract::of(&names(&allowed), &exports).is_ok());
        for foreign in [
            "content@0.2.0",
            "sockets@0.1.0",
            "wasi:sockets/types@0.3.0",
            "wasi:http/client@0.4.0",
        ] {
            let refused = Contract::of(&names(&[foreign]), &exports).unwrap_err();
            assert!(refused.contains(foreign), "{refused}");
        }
    }

    #[test]
    fn only_the_newest_contract_lacks_nothing() {
        for contract in Contract::ALL {
            let is_newest = contract == Contract::ALL[0];
            assert_eq!(contract.lacks().is_empty(), is_newest, "{contract}");
        }
    }
}
