// Bun: echoes. bun bun.js PORT
Bun.serve({
  port: Number(process.argv[2]),
  hostname: "127.0.0.1",
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("no WebSocket", { status: 400 })),
  websocket: {
    perMessageDeflate: true,
    message: (socket, message) => void socket.send(message),
  },
});
