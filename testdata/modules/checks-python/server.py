"""A module that lets in whoever shows a token with the scope <module>:read, and asks the hub which tokens are good.

Python alone, no packages.
"""
import hashlib
import http.client
import json
import os
import re
import sys
import threading
import time
from collections import OrderedDict, deque
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, urlsplit

MODULE = os.environ["PARACHUTE_MODULE"]
HUB = urlsplit(os.environ["PARACHUTE_HUB_INTROSPECTION_URL"])
KEY_FILE = os.environ["PARACHUTE_MODULE_KEY_FILE"]
GOOD_S = 5  # how long a good answer is believed: a revocation is noticed that late at most
BAD_S = 1  # the same for a bad one
STALE_S = 30  # how long a good answer is still believed while the hub cannot be asked
MOST_ANSWERS = 1024
ASK_S = 5
MOST_IDLE = 4


class Unavailable(Exception):
    """The hub cannot be asked."""


class Answers:
    """What the hub said about tokens, by their hashes."""

    def __init__(self):
        self.lock = threading.Lock()
        self.known = OrderedDict()  # hash -> (at, until, answer), oldest first
        self.asking = {}  # hash -> the question that is on its way

    def of(self, token):
        """{"active": True, "sub": ..., "scope": ..., ...} or {"active": False}."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        with self.lock:
            known = self.known.get(digest)
            if known and time.time() < known[1]:
                return known[2]
            question = self.asking.get(digest)
            if question:
                is_ours = False
            else:
                question, is_ours = Future(), True
                self.asking[digest] = question
        if is_ours:
            try:
                question.set_result(self.ask(digest, token, known))
            except Exception as error:  # whoever waits is told the same
                question.set_exception(error)
            finally:
                with self.lock:
                    del self.asking[digest]
        return question.result()

    def ask(self, digest, token, known):
        try:
            answer = ask(token)
        except Unavailable:
            recent = known and known[2]["active"] and time.time() < known[0] + STALE_S
            if recent and time.time() < known[2]["exp"]:
                return known[2]
            raise
        now = time.time()
        until = min(now + GOOD_S, answer["exp"]) if answer["active"] else now + BAD_S
        with self.lock:
            self.known.pop(digest, None)
            if len(self.known) >= MOST_ANSWERS:
                self.known.popitem(last=False)
            self.known[digest] = (now, until, answer)
        return answer


def ask(token):
    while True:
        try:
            connection, is_kept = IDLE.pop(), True
        except IndexError:
            connection, is_kept = http.client.HTTPConnection(HUB.hostname, HUB.port, timeout=ASK_S), False
        try:
            answer = ask_on(connection, token)
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            if is_kept and isinstance(error, ConnectionError):
                continue  # the hub has closed it since: that says nothing about the next one
            raise Unavailable(str(error)) from error
        IDLE.append(connection)
        return answer


def ask_on(connection, token):
    with open(KEY_FILE, encoding="ascii") as file:
        key = file.read().strip()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", HUB.path, body=f"token={quote(token, safe='')}", headers=headers)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise ValueError(f"the hub answered {response.status}")
    return json.loads(body)


IDLE = deque(maxlen=MOST_IDLE)  # connections to the hub that wait for the next question
ANSWERS = Answers()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.split("?")[0].endswith("/health"):
            return self.say(200, {"status": "ok"})
        bearer = re.fullmatch(r"bearer +(\S+)", self.headers.get("Authorization", ""), re.IGNORECASE)
        if not bearer:
            return self.say(401, {"error": "unauthenticated"})
        try:
            answer = ANSWERS.of(bearer.group(1))
        except Unavailable as error:
            # Not the caller's fault: a 401 would make it throw its good token away.
            print(f"cannot ask the hub about a token: {error}", file=sys.stderr, flush=True)
            return self.say(503, {"error": "auth_unavailable"})
        if not answer["active"]:
            return self.say(401, {"error": "unauthenticated"})
        if f"{MODULE}:read" not in answer["scope"].split(" "):
            return self.say(403, {"error": "insufficient_scope"})
        return self.say(200, {"subject": answer["sub"], "scope": answer["scope"]})

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
