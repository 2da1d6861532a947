// Serves the page of public/ and the stock SignalR client on
// http://localhost:3000, which is the origin that signalrd --dev lets in.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";

const files = {
  "/": ["public/index.html", "text/html; charset=utf-8"],
  "/app.js": ["public/app.js", "text/javascript; charset=utf-8"],
  "/style.css": ["public/style.css", "text/css; charset=utf-8"],
  "/signalr.js": ["node_modules/@microsoft/signalr/dist/browser/signalr.min.js", "text/javascript; charset=utf-8"],
};

const server = createServer(async (request, response) => {
  const [file, type] = files[request.url.split("?")[0]] ?? [];
  if (!file) {
    response.writeHead(404, { "content-type": "text/plain" }).end("not found\n");
    return;
  }
  try {
    const body = await readFile(new URL(file, import.meta.url));
    response.writeHead(200, {
      "content-type": type,
      "cache-control": "no-cache",
      // The page may connect to any server, but runs and shows only what is its own.
      "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src *; img-src data:; base-uri 'none'; form-action 'none'",
    }).end(body);
  } catch {
    response.writeHead(500, { "content-type": "text/plain" }).end(`${file} is missing: run npm ci\n`);
  }
});

const port = Number(process.env.PORT || 3000);
server.on("error", (error) => {
  console.error(`cannot serve: ${error.message}; PORT chooses another port`);
  process.exit(1);
});
server.listen(port, "127.0.0.1", () => console.log(`open http://localhost:${port}`));

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(0));
