//! The contract in Rust, generated from `wit/plugin.wit`.

wasmtime::component::bindgen!({
    path: "../wit/frozen/0.1.0",
    world: "cache-backend",
    imports: {
        "build-cache:plugin/content.read": store | trappable,
        default: trappable,
    },
    exports: { default: async },
});
