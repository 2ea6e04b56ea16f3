//! One function per call of the hub's API; the only place that names `ureq`.
