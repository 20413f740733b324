// Deno: WebSockets by Deno.upgradeWebSocket, and bodies that Deno.serve compresses where asked.
//
//     deno run --allow-net deno.mjs {"default": PORT}
const LINES = 40_000;
const body = () => Array.from({ length: LINES }, (_, i) => `line ${i + 1} über den Mond\n`).join("");
const { default: port } = JSON.parse(Deno.args[0]);

Deno.serve({ hostname: "127.0.0.1", port, automaticCompression: true }, (request) => {
	if (request.headers.get("upgrade") !== "websocket") {
		return new Response(body(), { headers: { "Content-Type": "text/plain; charset=utf-8" } });
	}
	const { socket, response } = Deno.upgradeWebSocket(request);
	socket.binaryType = "arraybuffer";
	socket.onmessage = (event) => socket.send(event.data);
	return response;
});
