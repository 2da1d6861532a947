// The page: sign in, chat, see notifications arrive, and see what becomes of
// the connection.
import { closeChat, focusChat, openChat, setUpChat, showMessage, showRemark } from "./chat";
import { Connection, type Settings } from "./connection";
import { measure } from "./latency";
import { setUpNotifications, showNotification } from "./notifications";
import { shorten } from "./servers";
import { blame, readSettings, setUpSettings, showForm } from "./settings";
import type { State } from "./state";
import { focusDisconnect, setUpStatus, showLatency, showState } from "./status";

let connection: Connection | undefined;
let state: State = { is: "idle" };
let me = "";
let stopMeasuring = () => {};

setUpStatus({ retry: () => connection?.retryNow(), disconnect });
setUpChat(async (text) => connection?.send(text));
setUpNotifications();
addEventListener("online", () => connection?.retryNow());
void setUpSettings(connect);

function connect(): void {
  let settings: Settings;
  try {
    settings = readSettings();
  } catch (error) {
    changed({ is: "closed", failure: { summary: (error as Error).message, advice: "", field: "server", kind: "address" } });
    return;
  }
  me = settings.name || "Anonymous";
  const mine = new Connection(settings, { changed: (next) => mine === connection && changed(next), received });
  connection = mine;
  void mine.run();
}

function disconnect(): void {
  void connection?.stop();
  connection = undefined;
  changed({ is: "idle" });
}

// changed shows a state, and puts the focus where it is needed when the element
// that had it is gone.
function changed(next: State): void {
  const before = state;
  const focused = document.activeElement;
  state = next;
  stopMeasuring();
  showState(next, me);
  showForm(next.is === "idle" || next.is === "closed");
  switch (next.is) {
    case "idle":
      closeChat();
      return blame(undefined);
    case "closed":
      closeChat();
      return blame(next.failure.field);
    case "connecting":
      return focusDisconnect();
    case "connected":
      return opened(next.server, before, focused);
  }
}

function opened(server: string, before: State, focused: Element | null): void {
  openChat();
  stopMeasuring = measure((text) => connection!.echo(text), showLatency);
  const back = before.is === "retrying" && before.lost;
  const focusIsLost = focused?.checkVisibility() === false; // with the button Try now
  if (back) showRemark(`Connected again, to ${shorten(server)}. What was said in between is missing.`);
  if (!back || focusIsLost) focusChat();
}

function received(sender: string, text: string): void {
  if (sender === "System") showNotification(text);
  else showMessage(sender, text, sender === me);
}
