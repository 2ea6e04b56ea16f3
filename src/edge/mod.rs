//! The only code that reads the network; the only place that names `httparse`.
