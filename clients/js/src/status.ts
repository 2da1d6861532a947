// What the connection is doing: in a word, always to be seen, with its facts
// while there is one and the problem when there is none.
import { find, setText } from "./dom";
import { shorten } from "./servers";
import type { Failure, State } from "./state";

const word = find("state");
const countdown = find("countdown");
const problem = find("problem");
const line = find("line");
const retry = find<HTMLButtonElement>("retry");
const disconnect = find<HTMLButtonElement>("disconnect");
const latency = find("latency");

const transports: Record<string, string> = { ServerSentEvents: "Server-sent events", LongPolling: "Long polling" };
let ticking = 0;

export function setUpStatus(actions: { retry(): void; disconnect(): void }): void {
  retry.addEventListener("click", actions.retry);
  disconnect.addEventListener("click", actions.disconnect);
}

export function showState(state: State, me: string): void {
  document.documentElement.dataset.state = state.is;
  document.title = state.is === "connected" ? `${me} · signalrd chat` : "signalrd chat";
  setText(word, describe(state, me));
  showCountdown(state);
  showFacts(state);
  showProblem("failure" in state ? state.failure : undefined);
}

export function showLatency(latest: number, median: number): void {
  latency.textContent = `${milliseconds(latest)} (median ${milliseconds(median)})`;
}

export function focusDisconnect(): void {
  disconnect.focus();
}

function describe(state: State, me: string): string {
  switch (state.is) {
    case "idle":
      return "Not connected";
    case "connecting":
      return "Connecting";
    case "connected":
      return `Connected as ${me}`;
    case "retrying":
      return state.lost ? "Reconnecting" : "Not connected yet";
    case "closed":
      return "Closed";
  }
}

// showCountdown counts the seconds until the next try. They are no part of what
// screen readers are told of by themselves.
function showCountdown(state: State): void {
  clearInterval(ticking);
  if (state.is !== "retrying") {
    countdown.textContent = "";
    return;
  }
  const tick = () => {
    const seconds = Math.ceil((state.at - Date.now()) / 1000);
    countdown.textContent = seconds > 0 ? `next try in ${seconds} s` : "trying now";
  };
  tick();
  ticking = window.setInterval(tick, 250);
}

function showFacts(state: State): void {
  line.hidden = state.is === "idle" || state.is === "closed";
  retry.hidden = state.is !== "retrying";
  setText(latency, "measuring");
  if ("server" in state) setText(find("at"), shorten(state.server));
  if (state.is !== "connected") return; // the style sheet hides the rest
  setText(find("over"), transports[state.transport] ?? state.transport);
  setText(find("in"), state.encoding);
}

function showProblem(failure: Failure | undefined): void {
  problem.hidden = !failure;
  setText(find("problem-summary"), failure?.summary ?? "");
  setText(find("problem-advice"), failure?.advice ?? "");
}

function milliseconds(time: number): string {
  return `${time.toFixed(time < 10 ? 1 : 0)} ms`;
}
