// node's ws against the hostile server: ws_client.mjs URL [--protocol P] [--message N].
// Prints what it tells, a line each; see README.md. NODE_MODULES says where ws is.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const require = createRequire(process.env.NODE_MODULES + "/");
const WebSocket = require("ws");

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { protocol: { type: "string" }, message: { type: "string" } },
});
const [url] = positionals;
if (url === "version") {
  console.log(`${require("ws/package.json").version} (node ${process.versions.node})`);
} else {
  const options = { perMessageDeflate: false };
  if (values.message) options.maxPayload = Number(values.message);
  const ws = new WebSocket(url, values.protocol ? [values.protocol] : [], options);
  let failed = false;
  ws.on("open", () => console.log("opened", ws.protocol));
  ws.on("message", (data, isBinary) => {
    console.log(isBinary ? "binary" : "text", data.length, data.subarray(0, 40).toString("hex"));
  });
  ws.on("error", (e) => {
    failed = true;
    console.log("error", e.message.split("\n")[0]);
  });
  ws.on("close", (code) => {
    if (!failed) console.log(code === 1006 ? "error 1006" : `close ${code}`);
  });
}
