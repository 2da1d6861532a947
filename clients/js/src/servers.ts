// Which servers there are, unless somebody says: those of the file beside the
// page, else the one that serves the page.

// knownServers are the URLs of hubs, in the order in which to try them.
export async function knownServers(): Promise<string[]> {
  const configured = await configuredServers();
  return configured.length > 0 ? configured : [usualServer()];
}

// parseServers reads what people type: URLs, separated by commas or spaces, of
// which the page's own origin may be left out. It throws what is wrong.
export function parseServers(text: string): string[] {
  const servers = text.split(/[\s,]+/).filter(Boolean);
  if (servers.length === 0) throw new Error("Say where the hub is, such as http://localhost:5000/chathub");
  return [...new Set(servers.map(parse))];
}

// shorten leaves out of a server's URL what goes without saying.
export function shorten(server: string): string {
  return server.replace(/^https?:\/\//, "");
}

function parse(text: string): string {
  const wrong = new Error(`${text} is not the URL of a hub: it should look like http://localhost:5000/chathub`);
  let url: URL;
  try {
    url = new URL(text, location.href);
  } catch {
    throw wrong;
  }
  if (!/^https?:$/.test(url.protocol)) throw wrong;
  return url.href;
}

// usualServer is the hub of the page's own origin. Where the page is served for
// development, it is that of signalrd --dev.
function usualServer(): string {
  if (location.port === "3000") return `${location.protocol}//${location.hostname}:5000/chathub`;
  return `${location.origin}/chathub`;
}

// configuredServers are those of config.json, which whoever serves the page may
// change without building it again, or leave out.
async function configuredServers(): Promise<string[]> {
  try {
    const { servers } = await (await fetch("config.json", { cache: "no-cache" })).json();
    return Array.isArray(servers) ? servers.map(String) : [];
  } catch {
    return [];
  }
}
