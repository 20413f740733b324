//! Leads the call that chooses the solver to `src/solver.rs`: GNU ld and LLVM's lld can do that.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let call = "_ZN4Luau8Frontend17setLuauSolverModeENS_10SolverModeE";
    println!("cargo:rustc-link-arg=-Wl,--wrap={call}");
}
