//! Bugs that simulations build into the product, to show that they would find them.
//!
//! A place in the product asks [`planted`] whether to do the wrong thing. Without the feature
//! `planted`, which only simulations turn on, the answer is `false` at compile time and no trace of
//! the wrong branch is left in the binary. With it, [`plant`] turns one bug on for the calling
//! thread: simulations run on one thread, so that runs beside each other do not mix.

macro_rules! bugs {
    ($($variant:ident, $breaks:literal, $says:literal;)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Planted {
            $(#[doc = $says] $variant,)*
        }

        impl Planted {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name, as commands take it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// What it does.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self { $(Self::$variant => $says,)* }
            }

            /// The promise or invariant that it breaks (`docs/invariants.md`).
            #[must_use]
            pub const fn breaks(self) -> &'static str {
                match self { $(Self::$variant => $breaks,)* }
            }
        }
    };
}

bugs! {
    HwIsLogEnd, "CP6", "the high watermark is the end of what is reserved";
    OverlayKept, "CP9", "producer state of a void segment is kept";
    AckOutOfOrder, "CP1", "segment n + 1 is acknowledged before segment n is written";
    ReadPastSeal, "CP4", "recovery reads a chain past its seal";
}

#[cfg(feature = "planted")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

/// Whether `bug` is to be done here. `false` at compile time without the feature `planted`.
#[cfg(not(feature = "planted"))]
#[inline(always)]
#[must_use]
pub const fn planted(_bug: Planted) -> bool {
    false
}

/// Whether `bug` is to be done here, on this thread.
#[cfg(feature = "planted")]
#[inline]
#[must_use]
pub fn planted(bug: Planted) -> bool {
    PLANTED.get() == Some(bug)
}

/// Turns one bug on for the calling thread, and any other off.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Planted>) {
    PLANTED.set(bug);
}
