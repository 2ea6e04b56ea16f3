//! Memory that was needed once and is not needed now, back to the kernel.

/// Stays with the thread below its current frame: what the call that gives back stands on itself.
const KEPT_STACK_BYTES: usize = 512;

/// Returns the pages of this thread's stack that lie below the current frame. A thread that went deep once and then
/// waits for days would keep them; with one thread per module they are most of the hub's memory.
pub(crate) fn give_back_stack() {
    let here = 0u8;
    let page = page_bytes();
    let end = (&raw const here).addr().saturating_sub(KEPT_STACK_BYTES) / page * page;
    let Some(begin) = stack_begin() else { return };
    let begin = begin.div_ceil(page) * page;
    if end <= begin {
        return;
    }
    let pages = std::ptr::without_provenance_mut(begin);
    // SAFETY: the range lies inside this thread's own stack and below its current frame, where nothing lives; pages
    // that are needed again come back as zeroes, which is all that a new frame may expect.
    unsafe { libc::madvise(pages, end - begin, libc::MADV_DONTNEED) };
}

/// The lowest usable address of this thread's stack.
fn stack_begin() -> Option<usize> {
    // SAFETY: pthread_attr_t is plain data that pthread_getattr_np fills.
    let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is that of a live, writable attribute object.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) } != 0 {
        return None;
    }
    let (mut begin, mut bytes) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes were filled above, and both results are live and writable.
    let result = unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut begin, &raw mut bytes) };
    // SAFETY: the attributes were filled above and are not used again.
    unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
    (result == 0).then(|| begin.addr())
}

fn page_bytes() -> usize {
    // SAFETY: sysconf takes no pointer; the C library knows this one without asking the kernel.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(4096)
}

/// Has every large block go back to the kernel at once. The allocator would do so with the first of a size only, and keep
/// the later ones among the small: a few large answers at once, and their memory would stay.
pub(crate) fn keep_large_blocks_apart() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// From this size on a block is a mapping of its own, which goes back to the kernel when it is freed.
        const LARGE_BYTES: libc::c_int = 128 * 1024;
        // SAFETY: mallopt takes no pointer and may be called at any time.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
    }
}

/// Returns what the allocator holds and nobody uses.
pub(crate) fn give_back_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim takes no pointer and may be called at any time.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Returns the pages of the program's own code and constants: most are needed for a start only, and what is needed
/// again comes back from the page cache.
pub(crate) fn give_back_program() {
    #[cfg(target_os = "linux")]
    // SAFETY: the callback has the expected type, does not unwind, and needs no data.
    unsafe {
        libc::dl_iterate_phdr(Some(give_back_segments), std::ptr::null_mut())
    };
}

/// Of one object in memory; not 0 ends the walk, and the first object is the program.
#[cfg(target_os = "linux")]
unsafe extern "C" fn give_back_segments(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the C library hands over a description that lives for this call.
    let object = unsafe { &*object };
    // SAFETY: it names as many program headers as there are, which live as long as the program.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    let page = page_bytes();
    for header in headers {
        // A writable segment holds what the program has changed, which would be lost.
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let begin = (object.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
        let end = begin.wrapping_add(header.p_memsz as usize) / page * page;
        let begin = begin.div_ceil(page) * page;
        if begin < end {
            // SAFETY: the range is a mapping of the program's file that nobody can have written to: a page that is
            // used again is read from the file, with the same content.
            unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(begin), end - begin, libc::MADV_DONTNEED) };
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn go_deep() -> u8 {
        let mut room = [1u8; 64 * 1024];
        std::hint::black_box(&mut room);
        room[room.len() / 2]
    }

    #[test]
    fn a_stack_that_was_given_back_still_works() {
        let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(|| {
            let before = go_deep();
            let kept = [7u8; 512];
            give_back_stack();
            assert_eq!((before, go_deep(), kept), (1, 1, [7u8; 512]));
        });
        thread.expect("a thread").join().expect("its frames are whole");
    }

    #[test]
    fn a_program_that_was_given_back_still_runs() {
        const WORDS: &[&str] = &["one", "two"];
        give_back_program();
        assert_eq!((go_deep(), WORDS.concat()), (1, "onetwo".to_owned()));
    }
}
