// ws, the WebSocket server of Node, with one port for each setting; and coded bodies by Node's zlib.
//
//     node ws.mjs {"SETTING": PORT, …}     settings: default, asks-9 to asks-15, alone, fragments; http
import http from "node:http";
import zlib from "node:zlib";
import { createRequire } from "node:module";
import path from "node:path";

const { WebSocketServer } = createRequire(path.join(process.cwd(), "/"))("ws");
const LINES = 40_000;
const body = () => Array.from({ length: LINES }, (_, i) => `line ${i + 1} über den Mond\n`).join("");

function setting(name) {
	const asked = name.match(/^asks-(\d+)$/);
	if (asked) return { serverMaxWindowBits: +asked[1], clientMaxWindowBits: +asked[1] };
	if (name === "alone") return { serverNoContextTakeover: true, clientNoContextTakeover: true };
	return {};
}

const coders = { gzip: zlib.createGzip, deflate: zlib.createDeflate, raw: zlib.createDeflateRaw };
const acks = new Map();

// An event goes out when the one before it was acknowledged: what holds one back stops all.
async function events(url, coder) {
	const id = url.searchParams.get("id");
	for (let k = 1; k <= 10; k++) {
		coder.write(`event: tick\nid: ${k}\ndata: {"tick":${k}}\n\n`);
		const acked = new Promise((resolve) => acks.set(`${id}/${k}`, resolve));
		await new Promise((resolve) => coder.flush(zlib.constants.Z_SYNC_FLUSH, resolve));
		await acked;
	}
	coder.end();
}

function answer(request, response) {
	const url = new URL(request.url, "http://loopback");
	if (url.pathname === "/ack") {
		const key = `${url.searchParams.get("id")}/${url.searchParams.get("k")}`;
		acks.get(key)?.();
		acks.delete(key);
		return response.end("ok");
	}
	const how = url.searchParams.get("how");
	const isEvents = url.pathname === "/events";
	response.setHeader("Content-Type", isEvents ? "text/event-stream" : "text/plain; charset=utf-8");
	response.setHeader("Content-Encoding", how === "gzip" ? "gzip" : "deflate");
	const coder = coders[how]();
	coder.pipe(response);
	if (isEvents) events(url, coder);
	else coder.end(body());
}

for (const [name, port] of Object.entries(JSON.parse(process.argv[2]))) {
	if (name === "http") {
		http.createServer(answer).listen(port, "127.0.0.1");
		continue;
	}
	const perMessageDeflate = { threshold: 0, ...setting(name) };
	const server = new WebSocketServer({ host: "127.0.0.1", port, perMessageDeflate });
	server.on("connection", (socket) => {
		socket.on("error", (e) => console.error(name, e.message));
		socket.on("message", (data, binary) => {
			const third = name === "fragments" ? Math.floor(data.length / 3) : 0;
			if (third > 0) {
				socket.send(data.subarray(0, third), { binary, fin: false });
				socket.send(data.subarray(third, 2 * third), { binary, fin: false });
			}
			socket.send(data.subarray(2 * third), { binary });
		});
	});
}
