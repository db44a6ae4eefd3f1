//! The binary `staffa`: an allocator and the way into the library.

use std::process::ExitCode;

// Many threads allocate batches of very different sizes; mimalloc gives freed pages back and scales better than
// the system's allocator for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    staffa::give_memory_back_by(|force| {
        #[expect(unsafe_code, reason = "the call takes a flag, and no memory of ours")]
        unsafe {
            libmimalloc_sys::mi_collect(force);
        }
    });
    staffa_server::main()
}
