// A page with a style, a script and data beside it, for a browser. The page looks at itself and posts what it has found,
// which is printed as "report JSON". It says "ready PID".
//
// usage: site.js [GATE]    with GATE it says "waiting PID" and listens only once that file is there
'use strict';
const fs = require('fs');
const http = require('http');

// Runs in the browser. `?sockets=N&at=PATH` makes it open N WebSockets at once and send a mebibyte on each.
async function look() {
  const query = new URLSearchParams(location.search);
  const echo = (number) => new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.host}${query.get('at')}`);
    const sent = new Uint8Array(1 << 20);
    for (let at = 0; at < sent.length; at++) sent[at] = at * 7 + number;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => socket.send(sent);
    socket.onmessage = ({ data }) => {
      const got = new Uint8Array(data);
      resolve(got.length === sent.length && got.every((byte, at) => byte === sent[at]));
    };
    socket.onclose = () => resolve(false);
  });
  const numbers = Array.from({ length: Number(query.get('sockets')) }, (_, number) => number);
  const report = {
    path: location.pathname,
    color: getComputedStyle(document.querySelector('p')).color,
    data: await (await fetch('data.json')).json(),
    echoes: (await Promise.all(numbers.map(echo))).filter((same) => same).length,
    arrived: performance.getEntriesByType('navigation')[0].type,
  };
  document.querySelector('p').textContent = 'looked';
  await fetch('report', { method: 'POST', body: JSON.stringify(report) });
}

const files = {
  '': ['text/html; charset=utf-8', '<!doctype html><title>site</title><link rel="stylesheet" href="style.css">' +
    '<p>not looked</p><script src="script.js"></script>'],
  'style.css': ['text/css', 'p { color: rgb(1, 2, 3) }'],
  'script.js': ['text/javascript', `${look}\naddEventListener('load', look);`],
  'data.json': ['application/json', '{"from":"the module"}'],
};

const server = http.createServer((request, response) => {
  const name = new URL(request.url, 'http://any').pathname.split('/').pop();
  let body = '';
  request.on('data', (part) => { body += part; });
  request.on('end', () => {
    if (request.method === 'POST') console.log('report', body);
    const [type, text] = files[name] ?? ['text/plain', 'thanks\n'];
    response.setHeader('Content-Type', type);
    response.end(text);
  });
});

const listen = () => server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('ready', process.pid));
const [gate] = process.argv.slice(2);
if (gate) {
  console.log('waiting', process.pid);
  const wait = setInterval(() => {
    if (fs.existsSync(gate)) { clearInterval(wait); listen(); }
  }, 20);
} else listen();
