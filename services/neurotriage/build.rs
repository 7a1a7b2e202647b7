//! Writes the path of libtorch into the binaries, so that they start without LD_LIBRARY_PATH.

fn main() {
    neurotriage_libtorch_link::emit();
}
