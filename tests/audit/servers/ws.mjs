// ws (npm): echoes. node ws.mjs PORT; NODE_MODULES names where it is installed.
import { createRequire } from "node:module";
const require = createRequire(`${process.env.NODE_MODULES}/`);
const { WebSocketServer } = require("ws");
const server = new WebSocketServer({ port: Number(process.argv[2]), host: "127.0.0.1", perMessageDeflate: true });
server.on("connection", (socket) => {
  socket.on("message", (data, binary) => socket.send(data, { binary }));
  socket.on("error", () => {});
});
