//! Lets the tests of this crate find libtorch without a variable.

fn main() {
    neurotriage_libtorch_link::emit();
}
