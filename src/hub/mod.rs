//! tiny_http on the private socket: control API and pages. To the edge it is one more upstream.
