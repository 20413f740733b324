//! What speaks the protocol on a socket: a session of the core, which a tape may write down.

#[cfg(not(feature = "tape"))]
pub(in crate::net) use crate::proto::Session;
#[cfg(feature = "tape")]
pub(in crate::net) use crate::tape::Taped as Session;
