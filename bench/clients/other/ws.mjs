// The npm package ws on Node.js: `node ws.mjs CASE URL COUNT SIZE [OPEN]`.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { main } from "./driver.mjs";

// Where it is installed.
const WebSocket = createRequire(`${process.env.BENCH_NODE}/package.json`)("ws");
const options = { perMessageDeflate: false, maxPayload: 1 << 30 };
if (process.env.BENCH_CA) options.ca = readFileSync(process.env.BENCH_CA);

await main(
	(url) =>
		new Promise((resolve, reject) => {
			const ws = new WebSocket(url, options);
			const socket = {
				onText: null,
				send: (text) => ws.send(text),
				close: () => ws.close(),
				buffered: () => ws.bufferedAmount,
			};
			socket.first = new Promise((first) => ws.once("message", first));
			// Text comes as bytes that were checked; a program wants a string.
			ws.on("message", (data) => socket.onText?.(data.toString()));
			ws.on("open", () => resolve(socket));
			ws.on("error", reject);
		}),
);
