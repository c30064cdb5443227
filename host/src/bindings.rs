//! The contract in Rust, generated from `wit/`: the version that this host
//! speaks, and [`v0_1`], the one before, for the adapter in `contract::v0_1`.
//!
//! The macro names a variable of its own `store`, so a function of that name can
//! only be the last of its interface: `layers.store` is.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "cache-backend",
    imports: {
        "build-cache:plugin/content.read": store | trappable,
        default: trappable,
    },
    exports: {
        // Called beside the others, and so through an accessor.
        "build-cache:plugin/names.configured": async | store,
        default: async,
    },
});

/// The contract 0.1, as it was published.
pub(crate) mod v0_1 {
    wasmtime::component::bindgen!({
        path: "../wit/frozen/0.1.0",
        world: "cache-backend",
        imports: {
            "build-cache:plugin/content.read": store | trappable,
            default: trappable,
        },
        exports: { default: async },
    });
}
