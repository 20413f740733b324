// The WebSocket of Bun, on uSockets: `bun bun.ts CASE URL COUNT SIZE [OPEN]`.
import { main } from "./driver.mjs";

const tls = process.env.BENCH_CA ? { ca: Bun.file(process.env.BENCH_CA) } : undefined;

await main(
	(url: string) =>
		new Promise((resolve, reject) => {
			// @ts-ignore: options beyond the standard
			const ws = new WebSocket(url, { perMessageDeflate: false, tls });
			let heard: () => void;
			const socket: any = {
				onText: null,
				send: (text: string) => ws.send(text),
				close: () => ws.close(),
				buffered: () => ws.bufferedAmount,
				first: new Promise<void>((first) => (heard = first)),
			};
			ws.onmessage = (event) => {
				heard();
				socket.onText?.(event.data);
			};
			ws.onopen = () => resolve(socket);
			ws.onerror = reject;
		}),
);
