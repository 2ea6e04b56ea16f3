//! Pure: base64url, HS256, claims, scopes. The only place that names `hmac` and `sha2`.
