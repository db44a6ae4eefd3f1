//! The binary `staffa`: an allocator and the way into the library.

use std::process::ExitCode;

// Many threads allocate batches of very different sizes; mimalloc gives freed pages back and scales better than
// the system's allocator for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    staffa_server::main()
}
