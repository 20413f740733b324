// The servers of the jobs, on the package ws of npm: what a path stands for is in `paths`.
//
//     node server.js CERT KEY CLIENT_CA SOCKET
//
// One line of JSON says where they listen: plain, tls, mtls (demands a certificate of the client).
'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const { WebSocketServer } = require('ws');

const [cert, key, clientCa, socket] = process.argv.slice(2);

// Every byte there is, line ends and zeros among them.
const picture = Buffer.from(Array.from({ length: 1024 }, (_, i) => i & 255));

// Connections of each name of /flaky/NAME so far.
const flaky = new Map();

const paths = {
  // Each message as it came.
  echo: (ws) => ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary })),
  // A field of the request, for each message.
  header: (ws, request, name) => ws.on('message', () => ws.send(request.headers[name] ?? 'nothing')),
  protocol: (ws) => ws.on('message', () => ws.send(ws.protocol || 'none')),
  extensions: (ws) => ws.on('message', () => ws.send(ws.extensions.split(';')[0] || 'none')),
  picture: (ws) => ws.send(picture),
  // Numbers without end.
  ticks: (ws) => {
    let n = 0;
    const timer = setInterval(() => ws.send(String(++n)), 20);
    ws.on('close', () => clearInterval(timer));
  },
  // Says so when a ping comes.
  pinged: (ws) => ws.once('ping', () => ws.send('pinged')),
  // Cuts the first connection of each name, without a close frame.
  flaky: (ws, _, name) => {
    const count = (flaky.get(name) ?? 0) + 1;
    flaky.set(name, count);
    if (count === 1) ws.send('first', () => ws.terminate());
    else ws.send('second');
  },
  hello: (ws) => {
    ws.send('hello');
    ws.send(Buffer.from([0, 255]));
    ws.close(1000, 'bye');
  },
};

const server = new WebSocketServer({
  noServer: true,
  perMessageDeflate: true,
  handleProtocols: (offered) => (offered.has('chat.v2') ? 'chat.v2' : false),
});

function upgrade(request, stream, head) {
  const [, path, name] = request.url.split('/');
  server.handleUpgrade(request, stream, head, (ws) => {
    ws.on('error', () => {});
    (paths[path] ?? paths.echo)(ws, request, name);
  });
}

const tls = { cert: fs.readFileSync(cert), key: fs.readFileSync(key) };
const all = [
  ['plain', http.createServer(), [0, '127.0.0.1']],
  ['tls', https.createServer(tls), [0, '127.0.0.1']],
  ['mtls', https.createServer({ ...tls, ca: fs.readFileSync(clientCa), requestCert: true }), [0, '127.0.0.1']],
  ['unix', http.createServer(), [socket]],
];
let left = all.length;
for (const [, listener, where] of all) {
  listener.on('upgrade', upgrade);
  listener.listen(...where, () => {
    if (--left === 0) {
      const ports = all.map(([name, one]) => [name, one.address().port ?? socket]);
      console.log(JSON.stringify(Object.fromEntries(ports)));
    }
  });
}
