//! Operators' drills: `esker verify` on buckets whole, in use and damaged; `esker rebuild` of a
//! journal that is lost or damaged under load, timed, with everything compared afterwards.

mod bucket;
mod rebuild;
mod verify;
