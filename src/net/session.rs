//! The session of a connection: the core's session, which a tape may record.

#[cfg(not(feature = "tape"))]
pub(in crate::net) use crate::proto::Session;
#[cfg(feature = "tape")]
pub(in crate::net) use crate::tape::Taped as Session;
