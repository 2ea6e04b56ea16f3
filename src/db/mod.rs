//! The hub's database; the only place that names `rusqlite`. One file per table.
