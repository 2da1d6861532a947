// Why a connection failed, in words that say what to do. The stock client tells
// by texts only, so that is what is looked at.
import { shorten } from "./servers";
import type { Failure } from "./state";

// explainStart says why no connection came about. Where that is not plain, it
// asks the server whether it is there at all.
export async function explainStart(error: unknown, server: string): Promise<Failure> {
  return isSilence(error) ? explainSilence(server) : explainRetry(error, server);
}

// explainRetry says why a connection that was lost did not come back.
export function explainRetry(error: unknown, server: string): Failure {
  const text = messageOf(error);
  const where = shorten(server);
  const status = Number(/(?:Status code|from negotiate) '(\d{3})'/.exec(text)?.[1]);
  if (status) return explainStatus(status, where);
  if (isSilence(error)) return nobody(where);
  if (/SyntaxError/.test(text)) return noHub(where, "What answers there is not a SignalR hub.");
  return explainMismatch(text) ?? passing(`No connection to ${where}`, text);
}

// explainLoss says why a connection was lost, which may come back.
export function explainLoss(error: unknown): Failure {
  const advice = error ? messageOf(error) : "The server ended it. Another try may find it, or another one.";
  return passing("The connection was lost", advice);
}

// explainEnd says why the hub has ended a connection and wants it to stay so.
export function explainEnd(error: unknown): Failure {
  const said = error ? messageOf(error).replace("Server returned an error on close: ", "It says: ") : "It did not say why.";
  return {
    summary: "The hub closed the connection for good",
    advice: `${said} Connect again if you think that it should let you in.`,
    kind: "refusal",
  };
}

function explainStatus(status: number, where: string): Failure {
  switch (status) {
    case 401:
      return {
        summary: "The server does not accept this sign-in",
        advice: `${where} answered 401. With signalrd --dev a name is enough; a server with --auth=jwt wants a signed token.`,
        field: "name",
        kind: "refusal",
      };
    case 403:
      return {
        summary: "You may not use this hub",
        advice: `${where} knows who you are and answered 403: somebody else may be let in.`,
        field: "name",
        kind: "refusal",
      };
    case 404:
    case 405:
      return noHub(where, `The server answered ${status}.`);
    default:
      return passing("The server is in trouble", `${where} answered ${status}.`);
  }
}

function noHub(where: string, why: string): Failure {
  return {
    summary: `There is no hub at ${where}`,
    advice: `${why} Look at the path: signalrd's is /chathub unless its --path says otherwise.`,
    field: "server",
    kind: "address",
  };
}

// explainMismatch finds what the server and the form do not agree on.
function explainMismatch(text: string): Failure | undefined {
  if (/handshake error.*protocol/i.test(text)) {
    return {
      summary: "The server does not speak this encoding",
      advice: `Choose the other one. It said: ${text}`,
      field: "encoding",
      kind: "refusal",
    };
  }
  if (/'ServerSentEvents' does not support Binary/.test(text)) {
    return {
      summary: "Server-sent events carry text only",
      advice: "Choose JSON, or another transport: MessagePack is binary.",
      field: "transport",
      kind: "refusal",
    };
  }
  const tried = /Error: \w+ failed:/.test(text); // and it did not work
  if (!tried && /None of the transports|disabled by the client/.test(text)) {
    return {
      summary: "The server does not offer this transport",
      advice: "Choose Automatic, or ask for another --transports of the server.",
      field: "transport",
      kind: "refusal",
    };
  }
  return undefined;
}

// explainSilence tells why a request had no answer that the page may read:
// browsers do not say whether nobody answered, or somebody who does not let in
// this page.
async function explainSilence(server: string): Promise<Failure> {
  const where = shorten(server);
  if (!navigator.onLine) return passing("This device is offline", "The next try waits for the network.");
  if (location.protocol === "https:" && server.startsWith("http:")) {
    return {
      summary: "A secure page cannot use an insecure server",
      advice: `Give ${where} a certificate and use https://, or open the page over http://.`,
      field: "server",
      kind: "address",
    };
  }
  if (!(await answers(server, "no-cors")) || (await answers(server, "cors"))) {
    return nobody(where);
  }
  return {
    summary: `${where} does not let in this page`,
    advice: `Start it with --origins=${location.origin}. If it has that, look at the path: there may be no hub.`,
    field: "server",
    kind: "address",
  };
}

// answers tells whether anything comes back that a page may see in this mode.
async function answers(server: string, mode: RequestMode): Promise<boolean> {
  try {
    await fetch(server, { mode, cache: "no-store", signal: AbortSignal.timeout(5000) });
    return true;
  } catch {
    return false;
  }
}

function nobody(where: string): Failure {
  return passing(`Nobody answers at ${where}`, "Is the server running? go run ./cmd/signalrd --dev starts one.");
}

function passing(summary: string, advice: string): Failure {
  return { summary, advice, kind: "passing" };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

// isSilence tells whether fetch failed: there was no answer that the page may read.
function isSilence(error: unknown): boolean {
  return /TypeError/.test(messageOf(error));
}
