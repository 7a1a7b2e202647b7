//! Lets the binary and the tests find libtorch without a variable.

fn main() {
    neurotriage_libtorch_link::emit();
}
