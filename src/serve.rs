//! Builds the hub in boot order, waits for a signal, takes it down.
