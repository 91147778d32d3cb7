//! Pack and request to segments: which bytes of a prompt the template wrote, and which the caller wrote.

pub mod import;
pub mod pack;
pub mod segment;
pub mod video;
