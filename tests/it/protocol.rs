//! The protocol when the other side is wrong, hostile or merely unusual.

mod fine_print;
mod malformed;
