//! `esker doctor` on set-ups that are well, and on ones that are broken: each fault is found, told
//! with what to do, and seen in the exit code; what is well is not blamed.

mod broken;
mod examination;
mod well;
