import { defineConfig, type Plugin } from "vite";

// Port 3000 of localhost is the origin that signalrd --dev lets in. The base is
// relative, so that what is built can be served under any path.
const here = { port: 3000, strictPort: true };
export default defineConfig({ base: "./", server: here, preview: here, plugins: [contentSecurityPolicy()] });

// contentSecurityPolicy lets the built page connect to any server, but run and
// show only what is its own.
function contentSecurityPolicy(): Plugin {
  const content = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src http: https: ws: wss:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  const tag = { tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content }, injectTo: "head-prepend" as const };
  return { name: "content-security-policy", apply: "build", transformIndexHtml: () => [tag] };
}
