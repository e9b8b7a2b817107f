//! esker-chain
