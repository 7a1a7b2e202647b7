//! What the end-to-end flows share: the built programs, processes that end with the test, and a
//! look into what services have stored. The flows themselves are in `tests/`.

pub mod deployment;
pub mod programs;
pub mod segmentation;
pub mod server;
pub mod stored;
