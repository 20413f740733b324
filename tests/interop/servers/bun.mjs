// Bun, which is uWebSockets, with one port for each setting; and bodies coded by its own library.
//
//     bun bun.mjs {"SETTING": PORT, …}     settings: default, dedicated, a size such as 4KB; http
const LINES = 40_000;
const body = () => Array.from({ length: LINES }, (_, i) => `line ${i + 1} über den Mond\n`).join("");

function coded(request) {
	const how = new URL(request.url).searchParams.get("how");
	const bytes = new TextEncoder().encode(body());
	const coding = how === "gzip" ? "gzip" : "deflate";
	const data = how === "gzip" ? Bun.gzipSync(bytes) : Bun.deflateSync(bytes);
	return new Response(data, { headers: { "Content-Encoding": coding, "Content-Type": "text/plain" } });
}

for (const [name, port] of Object.entries(JSON.parse(process.argv[2]))) {
	if (name === "http") {
		Bun.serve({ hostname: "127.0.0.1", port, fetch: coded });
		continue;
	}
	const compress = name === "default" ? true : { compress: name, decompress: name };
	Bun.serve({
		hostname: "127.0.0.1",
		port,
		fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("", { status: 400 })),
		websocket: {
			perMessageDeflate: compress,
			maxPayloadLength: 16 * 1024 * 1024,
			message: (socket, data) => void socket.send(data, true),
		},
	});
}
