//! Pure: which origin and which issuers hold, from given facts.
