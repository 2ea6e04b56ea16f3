"""Many connections to 127.0.0.1, none of them a good guest. A process of its own, because they take many descriptors.

usage: attacker.py PORT idle COUNT    opens them and says nothing; `open COUNT`, then `closed N` whenever the hub closes some
       attacker.py PORT slow COUNT    the same with the beginning of a request on each
       attacker.py PORT trickle COUNT the same, and more of it byte by byte, for ever
       attacker.py PORT reset COUNT   opens eight at a time and breaks each off with a reset, at changing moments; `done COUNT`
"""
import resource, select, socket, struct, sys, threading

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

poll, open_ones, closed = select.poll(), {}, 0
for _ in range(count):
    one = socket.create_connection(("127.0.0.1", port))
    if kind in ("slow", "trickle"):
        one.sendall(b"GET /web/a HTTP/1.1\r\nHost: local")
    open_ones[one.fileno()] = one
    poll.register(one, select.POLLIN)
say("open", count)
while open_ones:
    # A byte a tick is more often than any client is quiet, so only a deadline for the whole head ends them.
    ready = poll.poll(100 if kind == "trickle" else None)
    for one in open_ones.values() if kind == "trickle" else ():
        try:
            one.send(b"x")
        except OSError:
            pass
    for fd, _ in ready:
        try:
            ended = not open_ones[fd].recv(65536)
        except OSError:
            ended = True
        if ended:
            poll.unregister(fd)
            open_ones.pop(fd).close()
            closed += 1
    if ready:
        say("closed", closed)
