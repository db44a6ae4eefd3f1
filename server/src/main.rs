//! The binary `staffa`: an allocator and the way into the library.

use std::process::ExitCode;

// Many threads allocate batches of very different sizes, and free what others did. jemalloc gives such memory back whoever owned it: after a
// minute of small inserts and merges the process holds a third of what it does with mimalloc, where each of its threads keeps pages
// that only itself can let go of; after TPC-H at scale 1 six tenths, in the same time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Options of jemalloc (its manual, "TUNING"). Threads of its own give back what has been free for five seconds; the arrays of batches, to
/// 256 KiB, stay with the thread that freed them for the next batch; the larger ones are given back no sooner than others.
#[expect(unsafe_code, reason = "the name by which jemalloc finds it, which is nobody else's")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static OPTIONS: &[u8; 98] =
    b"background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:0,oversize_threshold:0,lg_tcache_max:18\0";

/// Gives back all that is free.
fn purge() {
    /// Of all arenas: `MALLCTL_ARENAS_ALL`.
    const NAME: &std::ffi::CStr = c"arena.4096.purge";
    use std::ptr::null_mut;
    #[expect(
        unsafe_code,
        reason = "a name that ends with zero, no value to read and none to write"
    )]
    let failed = unsafe { tikv_jemalloc_sys::mallctl(NAME.as_ptr(), null_mut(), null_mut(), null_mut(), 0) };
    debug_assert_eq!(failed, 0, "jemalloc knows this name");
}

fn main() -> ExitCode {
    staffa::give_memory_back_by(purge);
    staffa_server::main()
}
