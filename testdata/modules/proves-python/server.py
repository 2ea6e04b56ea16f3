"""A module that is told by the hub who its caller is, and lets in who has the scope <module>:read.

Whoever reaches the port without the hub can write the same fields, but not the proof. Python alone, no packages.
"""
import base64
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODULE = os.environ["PARACHUTE_MODULE"]
FRESH_S = 30  # how old a proof may be

# Once: the file is written anew for the next child before this one has ended.
with open(os.environ["PARACHUTE_MODULE_KEY_FILE"], encoding="ascii") as file:
    KEY = base64.urlsafe_b64decode(file.read().strip() + "=")


def caller(method, target, headers):
    """(subject, scope) of whoever calls, or None when the hub does not say so."""
    names = ("Token-Id", "Proof-Time", "Subject", "Scope", "Proof")
    values = [headers.get_all(f"X-Parachute-{name}", []) for name in names]
    if any(len(value) != 1 for value in values):
        return None
    token_id, at, subject, scope, proof = (value[0] for value in values)
    if not at.isascii() or not at.isdigit() or abs(time.time() - int(at)) > FRESH_S:
        return None
    said = "\n".join((method, target, token_id, at, subject, scope))
    expected = hmac.new(KEY, said.encode("latin-1"), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), proof.encode("latin-1")):
        return None
    return subject, scope


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.split("?")[0].endswith("/health"):
            return self.say(200, {"status": "ok"})
        target = self.requestline.split(" ")[1]
        known = caller(self.command, target, self.headers)
        if known is None:
            return self.say(401, {"error": "unauthenticated"})
        subject, scope = known
        if f"{MODULE}:read" not in scope.split(" "):
            return self.say(403, {"error": "insufficient_scope"})
        return self.say(200, {"subject": subject, "scope": scope})

    def say(self, status, answer):
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """The edge counts requests already."""


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
