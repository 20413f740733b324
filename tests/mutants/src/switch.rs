/// Added to the copy of the crate that is built: which mutant is on.
// Nobody reads its documentation, and some mutants need only one of its functions.
#[allow(missing_docs, dead_code)]
mod mutant {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
    use std::sync::{Mutex, PoisonError};

    const UNKNOWN: u32 = u32::MAX;
    const TRACED: u32 = u32::MAX - 1;

    static ON: AtomicU32 = AtomicU32::new(UNKNOWN);
    static SEEN: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];
    static TRACE: Mutex<()> = Mutex::new(());

    /// 0, or which of the `count` numbers from `first` on is on, counted from one.
    #[inline]
    pub(crate) fn pick(first: u32, count: u32) -> u32 {
        let on = ON.load(Relaxed);
        let nth = on.wrapping_sub(first);
        if nth < count {
            nth + 1
        } else if on >= TRACED {
            look(first, count)
        } else {
            0
        }
    }

    #[inline]
    pub(crate) fn is_on(number: u32) -> bool {
        pick(number, 1) == 1
    }

    #[cold]
    fn look(first: u32, count: u32) -> u32 {
        if ON.load(Relaxed) == UNKNOWN {
            let number = std::env::var("MUTANT").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
            let is_traced = std::env::var_os("MUTANT_TRACE").is_some();
            ON.store(if is_traced { TRACED } else { number }, Relaxed);
            return pick(first, count);
        }
        for number in first..first + count {
            if !SEEN[number as usize].swap(true, Relaxed) {
                note(number);
            }
        }
        0
    }

    /// Opened each time: some tests count descriptors.
    fn note(number: u32) {
        let _one = TRACE.lock().unwrap_or_else(PoisonError::into_inner);
        let path = std::env::var_os("MUTANT_TRACE").unwrap_or_default();
        if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
            let _ = file.write_all(format!("{number}\n").as_bytes());
        }
    }
}
