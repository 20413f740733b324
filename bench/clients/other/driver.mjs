// The cases for JavaScript: `COMMAND CASE URL COUNT SIZE [OPEN]`, one line of JSON.
//
// `connect(url, deflate)` returns a promise of { send, close, buffered, onText }; `onText` is set here. In the
// cases with compression, OPEN is the level: `deflate` is { level }, undefined for the default; and
// `sent(text)` returns a promise that resolves when the text was written.
import { readFileSync } from "node:fs";

const status = (name) => {
	const line = readFileSync("/proc/self/status", "utf8").match(new RegExp(`^${name}:\\s+(\\d+)`, "m"));
	return Number(line[1]);
};

const start = () => ({ wall: process.hrtime.bigint(), cpu: process.cpuUsage() });

function stop(from, messages, bytes) {
	const wall = Number(process.hrtime.bigint() - from.wall);
	const { user, system } = process.cpuUsage(from.cpu);
	return {
		messages,
		bytes,
		wall_ns: wall,
		cpu_ns: (user + system) * 1000,
		user_ns: user * 1000,
		sys_ns: system * 1000,
	};
}

const warmUp = (count) => Math.min(Math.max(Math.floor(count / 10), 1), 20000);

// Counts messages: `wait(n)` resolves when n have arrived; `bytes` and `last` are then set.
function listen(socket) {
	const heard = { left: 0, bytes: 0, last: null };
	let done;
	socket.onText = (text) => {
		heard.bytes += text.length;
		if (--heard.left === 0) {
			heard.last = text;
			done();
		}
	};
	heard.wait = (n) => {
		heard.left = n;
		heard.bytes = 0;
		return new Promise((resolve) => (done = resolve));
	};
	return heard;
}

const cases = {
	async receive(connect, { url, count, size, deflate }) {
		const socket = await connect(url, deflate);
		const heard = listen(socket);
		let report;
		for (const n of [warmUp(count), count]) {
			const ready = heard.wait(1);
			socket.send(`prepare ${n} ${size}`);
			await ready;
			const answer = /^ready ?(\d*)$/.exec(heard.last);
			if (!answer) throw new Error(heard.last);
			const from = start();
			const all = heard.wait(n);
			socket.send("go");
			await all;
			report = stop(from, n, heard.bytes);
			// The server reports their length on the wire, if they are compressed.
			if (answer[1]) report.wire_bytes = Number(answer[1]);
		}
		socket.close();
		return report;
	},

	async rt(connect, { url, count, size, open }) {
		const others = [];
		for (let i = 1; i < open; i++) others.push(await connect(url));
		const socket = await connect(url);
		const text = "r".repeat(size);
		const times = [];
		let report;
		for (const n of [warmUp(count), count]) {
			times.length = 0;
			let bytes = 0;
			const from = start();
			await new Promise((resolve) => {
				let at = process.hrtime.bigint();
				socket.onText = (answer) => {
					const now = process.hrtime.bigint();
					times.push(Number(now - at));
					bytes += answer.length;
					if (times.length === n) return resolve();
					at = process.hrtime.bigint();
					socket.send(text);
				};
				socket.send(text);
			});
			report = stop(from, n, bytes);
		}
		times.sort((a, b) => a - b);
		report.p50_ns = times[Math.floor(times.length * 0.5)];
		report.p99_ns = times[Math.floor(times.length * 0.99)];
		socket.close();
		for (const other of others) other.close();
		return report;
	},

	async burst(connect, { url, count, size }) {
		const socket = await connect(url);
		const heard = listen(socket);
		const text = "s".repeat(size);
		let report;
		for (const n of [warmUp(count), count]) {
			const from = start();
			for (let i = 1; i <= n; i++) {
				socket.send(text);
				if (i % 512 === 0) {
					while (socket.buffered() > 1 << 20) await new Promise(setImmediate);
				}
			}
			while (socket.buffered() > 0) await new Promise(setImmediate);
			report = stop(from, n, n * size);
			const answer = heard.wait(1);
			socket.send("?");
			await answer;
			if (heard.last !== `${n} ${n * size}`) throw new Error(heard.last);
		}
		socket.close();
		return report;
	},

	// Sends texts of the server back to it, compressed. The repeated data is far longer than the window, so
	// that the compressor finds none of it there.
	async send(connect, { url, count, size, deflate }) {
		const socket = await connect(url, deflate);
		const kept = Math.min(Math.max(Math.floor((4 << 20) / size), 1), count);
		const texts = [];
		await new Promise((resolve) => {
			socket.onText = (text) => texts.push(text) === kept && resolve();
			socket.send(`sample ${kept} ${size}`);
		});
		const heard = listen(socket);
		let report;
		for (const n of [warmUp(count), count]) {
			const from = start();
			let sent;
			for (let i = 1; i <= n; i++) {
				sent = socket.sent(texts[i % kept]);
				if (i % 64 === 0) await sent;
			}
			await sent;
			report = stop(from, n, n * size);
			// The server reports how much has arrived, and its length on the wire.
			const answer = heard.wait(1);
			socket.send("?");
			await answer;
			const expected = `${n} ${n * size} `;
			if (!heard.last.startsWith(expected)) throw new Error(heard.last);
			report.wire_bytes = Number(heard.last.slice(expected.length));
		}
		socket.close();
		return report;
	},

	// With compression each connection sends back what it has received.
	async idle(connect, { url, count, size, deflate }) {
		const sockets = [];
		const from = start();
		let before = 0;
		for (let i = 0; i <= count; i++) {
			const socket = await connect(url, deflate);
			if (size > 0) {
				const text = await socket.first;
				if (deflate) await socket.sent(text.toString());
			}
			sockets.push(socket);
			if (i === 0) before = status("VmRSS");
		}
		if (deflate && size > 0) await new Promise((done) => setTimeout(done, 2000));
		const after = status("VmRSS");
		const report = stop(from, count, count * size);
		report.rss_before_kib = before;
		report.rss_after_kib = after;
		return report;
	},
};

export async function main(connect) {
	const [name, url, count, size, open] = process.argv.slice(2);
	const run = cases[name.replace(/^deflate-/, "")];
	if (!run) throw new Error(`there is no case ${name} here`);
	const args = { url, count: Number(count), size: Number(size), open: Number(open ?? 1) };
	if (name.startsWith("deflate-")) args.deflate = { level: args.open || undefined };
	const report = await run(connect, args);
	report.rss_peak_kib = status("VmHWM");
	console.log(JSON.stringify(report));
	process.exit(0);
}
