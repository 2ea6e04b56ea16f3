// A WebSocket server (RFC 6455) on nothing but Node: sends every message back. It says "ready PID", and "open" and
// "closed" with the number of connections that there are. It takes the first subprotocol that it is offered.
'use strict';
const crypto = require('crypto');
const http = require('http');

const CONTINUATION = 0, CLOSE = 8, PING = 9, PONG = 10;
let connections = 0;

function frame(opcode, payload) {
  const size = payload.length;
  const head = size < 126 ? Buffer.alloc(2) : size < 65536 ? Buffer.alloc(4) : Buffer.alloc(10);
  head[0] = 0x80 | opcode;
  if (size < 126) head[1] = size;
  else if (size < 65536) { head[1] = 126; head.writeUInt16BE(size, 2); }
  else { head[1] = 127; head.writeBigUInt64BE(BigInt(size), 2); }
  return Buffer.concat([head, payload]);
}

// The first frame in `bytes`: whether its message ends with it, opcode, payload and what is behind it; undefined while it
// is not complete.
function parse(bytes) {
  if (bytes.length < 2) return undefined;
  let size = bytes[1] & 0x7f, at = 2;
  if (size === 126) { if (bytes.length < 4) return undefined; size = bytes.readUInt16BE(2); at = 4; }
  else if (size === 127) { if (bytes.length < 10) return undefined; size = Number(bytes.readBigUInt64BE(2)); at = 10; }
  if (!(bytes[1] & 0x80)) throw new Error('a client must mask');
  if (bytes.length < at + 4 + size) return undefined;
  const mask = bytes.subarray(at, at + 4), payload = Buffer.from(bytes.subarray(at + 4, at + 4 + size));
  for (let i = 0; i < size; i++) payload[i] ^= mask[i & 3];
  return { last: (bytes[0] & 0x80) !== 0, opcode: bytes[0] & 0x0f, payload, rest: bytes.subarray(at + 4 + size) };
}

const server = http.createServer((request, response) => response.end('plain ' + request.url + '\n'));

server.on('upgrade', (request, socket, head) => {
  const wanted = request.headers['sec-websocket-protocol'];
  const accept = crypto.createHash('sha1')
    .update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    (wanted ? `Sec-WebSocket-Protocol: ${wanted.split(',')[0]}\r\n` : '') +
    `Sec-WebSocket-Accept: ${accept}\r\nX-Path: ${request.url}\r\n\r\n`);
  console.log('open', ++connections);
  let parts = [head], size = head.length, needed = 0, message;
  const read = (part) => {
    parts.push(part);
    size += part.length;
    if (size < needed) return;
    let bytes = Buffer.concat(parts);
    for (let next; (next = parse(bytes)); bytes = next.rest) {
      if (next.opcode === CLOSE) { socket.end(frame(CLOSE, next.payload)); return; }
      if (next.opcode === PING) socket.write(frame(PONG, next.payload));
      else if (next.opcode !== PONG) {
        // Browsers cut large messages into several frames; only the first says what they are.
        if (next.opcode !== CONTINUATION) message = { opcode: next.opcode, pieces: [] };
        message.pieces.push(next.payload);
        if (next.last) socket.write(frame(message.opcode, Buffer.concat(message.pieces)));
      }
    }
    parts = [bytes];
    size = bytes.length;
    // Putting the parts of a large frame together for each of them would take time that grows with the square.
    needed = size >= 10 && (bytes[1] & 0x7f) === 127 ? Number(bytes.readBigUInt64BE(2)) + 14 : 0;
  };
  socket.on('data', read);
  read(Buffer.alloc(0)); // what came right behind the head
  socket.on('end', () => socket.end()); // Node leaves its half open otherwise
  socket.on('error', () => socket.destroy());
  socket.on('close', () => console.log('closed', --connections));
});

server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('ready', process.pid));
