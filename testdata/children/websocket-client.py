"""A client for WebSockets that many programs use: opens COUNT of them to URL, and when all are open sends messages of 1 MiB
over each and expects every one back. Says "open COUNT" and, when all are closed, "done COUNT".

usage: websocket-client.py URL COUNT
"""
import asyncio, os, sys
import websockets

MESSAGES, SIZE = 2, 1 << 20
url, count = sys.argv[1], int(sys.argv[2])

async def run():
    # No deadlines of its own: the machine may be slow, and whoever waits for this program has one.
    patient = {"open_timeout": None, "ping_interval": None, "close_timeout": None, "max_size": None}
    clients = await asyncio.gather(*(websockets.connect(url, **patient) for _ in range(count)))
    print("open", count, flush=True)

    async def echo(client):
        for _ in range(MESSAGES):
            sent = os.urandom(SIZE)
            await client.send(sent)
            assert await client.recv() == sent, "another message came back"
            await client.send("a word")
            assert await client.recv() == "a word"
            await (await client.ping())
        await client.close()

    await asyncio.gather(*map(echo, clients))
    print("done", count, flush=True)

asyncio.run(run())
