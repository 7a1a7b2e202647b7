//! Lets the tests of this crate find libtorch, and says what to do where there is none.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if !neurotriage_libtorch_link::emit() {
        println!("cargo::error=LIBTORCH is not set: run `cargo xtask libtorch`, which fetches it");
    }
}
