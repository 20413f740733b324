//! Atomics. In loom a sequentially consistent access only acquires and releases; only a fence does
//! more. So such an access gets a fence before and behind it, which makes all of them sequentially
//! consistent; weaker accesses get none.

pub(crate) use loom::sync::atomic::Ordering;
use loom::sync::atomic::fence;

fn ordered<R>(ordering: Ordering, act: impl FnOnce() -> R) -> R {
    let fenced = ordering == Ordering::SeqCst;
    if fenced {
        fence(Ordering::SeqCst);
    }
    let result = act();
    if fenced {
        fence(Ordering::SeqCst);
    }
    result
}

macro_rules! atomic {
    ($name:ident, $of:ty) => {
        #[derive(Default)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        // Not each of the three types needs each call.
        #[allow(dead_code)]
        impl $name {
            pub(crate) fn new(value: $of) -> $name {
                $name(loom::sync::atomic::$name::new(value))
            }

            #[track_caller]
            pub(crate) fn load(&self, ordering: Ordering) -> $of {
                ordered(ordering, || self.0.load(ordering))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $of, ordering: Ordering) {
                ordered(ordering, || self.0.store(value, ordering));
            }

            #[track_caller]
            pub(crate) fn swap(&self, value: $of, ordering: Ordering) -> $of {
                ordered(ordering, || self.0.swap(value, ordering))
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                current: $of,
                new: $of,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$of, $of> {
                ordered(success, || self.0.compare_exchange(current, new, success, failure))
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicU8, u8);
atomic!(AtomicU64, u64);

impl AtomicU64 {
    #[track_caller]
    pub(crate) fn fetch_add(&self, value: u64, ordering: Ordering) -> u64 {
        ordered(ordering, || self.0.fetch_add(value, ordering))
    }
}
