//! Events are numbers, in the order in which they must be reported.

use std::marker::PhantomData;

/// There is one connection.
#[derive(Clone, Copy)]
pub(crate) struct ConnId;

/// It borrows, as the crate's events do.
pub(crate) struct Event<'a> {
    pub(crate) number: u32,
    of: PhantomData<&'a ()>,
}

impl Event<'_> {
    pub(crate) fn new(number: u32) -> Self {
        Event { number, of: PhantomData }
    }
}
