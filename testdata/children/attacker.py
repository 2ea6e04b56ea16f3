"""Many connections to 127.0.0.1, none of them a good guest. A process of its own, because they take many descriptors.

usage: attacker.py PORT idle COUNT    opens them and says nothing; `open COUNT`, then `closed N` whenever the hub closes some
       attacker.py PORT slow COUNT    the same with the beginning of a request on each
       attacker.py PORT trickle COUNT the same, and more of it byte by byte, for ever
       attacker.py PORT body COUNT    the same with the body of a request to the hub, far from its end
       attacker.py PORT upload COUNT  the same from elsewhere with that of a request to a module
       attacker.py PORT sip COUNT     asks for the discovery document from elsewhere, and takes it byte by byte
       attacker.py PORT reset COUNT   opens eight at a time and breaks each off with a reset, at changing moments; `done COUNT`
"""
import resource, select, socket, struct, sys, threading, time

port, kind, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
BEGINNINGS = [
    b"", b"GET", b"GET /web/a HTTP/1.1\r\nHost: localhost\r\n",
    b"GET /web/a HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /web/big?10000000 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /web/sse HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /web/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nsome",
    b"POST /api/modules HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nsome",
]

def say(*words):
    print(*words, flush=True)

def reset(numbers):
    for number in numbers:
        one = socket.create_connection(("127.0.0.1", port))
        one.sendall(BEGINNINGS[number % len(BEGINNINGS)])
        if number % 4 == 0 and number % len(BEGINNINGS) in (3, 4, 5, 6):
            one.recv(1)
        # On, for no time at all: closing throws away what is not sent and resets (socket(7)).
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()

if kind == "reset":
    broken = []
    def run(numbers):
        try:
            reset(numbers)
        except OSError as error:
            broken.append(error)
    together = [threading.Thread(target=run, args=(range(first, count, 8),)) for first in range(8)]
    for one in together:
        one.start()
    for one in together:
        one.join()
    say("done", count if not broken else broken)
    sys.exit()

FIRST = {
    "slow": b"GET /web/a HTTP/1.1\r\nHost: local",
    "trickle": b"GET /web/a HTTP/1.1\r\nHost: local",
    "body": b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx",
    "upload": b"POST /web/upload HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n"
              b"Content-Length: 1000000\r\n\r\nx",
    "sip": b"GET /.well-known/parachute.json HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
}
DRIPS = kind in ("trickle", "body", "upload")
poll, open_ones, closed = select.poll(), {}, 0
for _ in range(count):
    one = socket.socket()
    if kind == "sip":
        # Before it is connected, or the other side believes in more room.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    one.connect(("127.0.0.1", port))
    one.sendall(FIRST.get(kind, b""))
    open_ones[one.fileno()] = one
    poll.register(one, select.POLLIN)
say("open", count)
while open_ones:
    # A byte a tick is more often than any client is quiet, so only a deadline for the whole ends them.
    ready = poll.poll(100 if DRIPS else None)
    for one in open_ones.values() if DRIPS else ():
        try:
            one.send(b"x")
        except OSError:
            pass
    for fd, _ in ready:
        try:
            ended = not open_ones[fd].recv(1 if kind == "sip" else 65536)
        except OSError:
            ended = True
        if ended:
            poll.unregister(fd)
            open_ones.pop(fd).close()
            closed += 1
    if ready and kind == "sip":
        time.sleep(0.1)
    elif ready:
        say("closed", closed)
