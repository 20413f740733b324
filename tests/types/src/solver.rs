//! Selects one of Luau's two solvers.
//!
//! The crate always requests the new one, by a call of a C++ member function that the linker leads
//! here (`build.rs`), and the request is replaced.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use luau_analyze::Checker;

/// The values of `Luau::SolverMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Solver {
    Old = 0,
    New = 1,
}

static WANTED: AtomicI32 = AtomicI32::new(Solver::New as c_int);

unsafe extern "C" {
    /// `Luau::Frontend::setLuauSolverMode(Luau::SolverMode)`.
    #[link_name = "__real__ZN4Luau8Frontend17setLuauSolverModeENS_10SolverModeE"]
    fn set_solver_mode(frontend: *mut c_void, mode: c_int);

    /// `FFlag::LuauExternReadWriteAttributes`, whose first member is its value: `read` before a
    /// member of an extern type. Later versions of Luau have it always (0.740 does).
    #[link_name = "_ZN5FFlag29LuauExternReadWriteAttributesE"]
    static READ_ATTRIBUTES: AtomicBool;
}

#[unsafe(export_name = "__wrap__ZN4Luau8Frontend17setLuauSolverModeENS_10SolverModeE")]
extern "C" fn wrapped(frontend: *mut c_void, _asked: c_int) {
    // SAFETY: the frontend is the one of the caller, and each value of `Solver` is one of
    // `SolverMode`, which is an enumeration of ints.
    unsafe { set_solver_mode(frontend, WANTED.load(Ordering::SeqCst)) };
}

impl Solver {
    /// A checker with this solver that knows `definitions`; the errors, if they have any.
    pub(crate) fn checker(self, definitions: &str) -> Result<Checker, String> {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        WANTED.store(self as c_int, Ordering::SeqCst);
        // SAFETY: no thread writes this `bool` while the lock is held, and only the parser reads
        // it.
        unsafe { READ_ATTRIBUTES.store(true, Ordering::SeqCst) };
        let mut checker = Checker::new().map_err(|e| e.to_string())?;
        checker.add_definitions(definitions).map_err(|e| e.to_string())?;
        Ok(checker)
    }
}
