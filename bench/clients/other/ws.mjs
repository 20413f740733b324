// The npm package ws on Node.js: `node ws.mjs CASE URL COUNT SIZE [OPEN]`.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { main } from "./driver.mjs";

// The folder in which it is installed.
const WebSocket = createRequire(`${process.env.BENCH_NODE}/package.json`)("ws");
const options = { perMessageDeflate: false, maxPayload: 1 << 30 };
if (process.env.BENCH_CA) options.ca = readFileSync(process.env.BENCH_CA);

// By default it sends messages of less than 1,024 bytes uncompressed.
const compressed = ({ level }) => ({ threshold: 128, zlibDeflateOptions: level ? { level } : {} });

await main(
	(url, deflate) =>
		new Promise((resolve, reject) => {
			const perMessageDeflate = deflate ? compressed(deflate) : false;
			const ws = new WebSocket(url, { ...options, perMessageDeflate });
			const socket = {
				onText: null,
				send: (text) => ws.send(text),
				sent: (text) =>
					new Promise((done, failed) => ws.send(text, (error) => (error ? failed(error) : done()))),
				close: () => ws.close(),
				buffered: () => ws.bufferedAmount,
			};
			socket.first = new Promise((first) => ws.once("message", first));
			// Text arrives as bytes that were checked; a program needs a string.
			ws.on("message", (data) => socket.onText?.(data.toString()));
			ws.on("open", () => resolve(socket));
			ws.on("error", reject);
		}),
);
