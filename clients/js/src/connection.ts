// A connection to one of several servers that comes back by itself: the stock
// client reconnects to the same server, and where that does not help, the next
// one is tried. What is sent to it meanwhile is missed.
import { HttpTransportType, type HubConnection, HubConnectionBuilder, JsonHubProtocol, LogLevel, type RetryContext } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";
import { explainEnd, explainLoss, explainRetry, explainStart } from "./failure";
import type { Failure, State } from "./state";

export interface Settings {
  name: string; // empty: not signed in
  servers: string[]; // URLs of hubs, at least one
  transport: "Automatic" | "WebSockets" | "ServerSentEvents" | "LongPolling";
  encoding: "JSON" | "MessagePack";
}

export interface Listener {
  changed(state: State): void;
  received(sender: string, text: string): void;
}

const triesBeforeNext = 2; // after a loss, if there is another server
const requestTimeout = 10_000; // ms

export class Connection {
  #settings: Settings;
  #listener: Listener;
  #hub: HubConnection | undefined;
  #server = ""; // whose turn it is
  #transport = "";
  #wasConnected = false;
  #stopped = false;
  #hurried = false;
  #failures = 0; // in a row
  #problem: Failure | undefined; // why the stock client reconnects, or has given up
  #endWait = () => {};

  constructor(settings: Settings, listener: Listener) {
    this.#settings = settings;
    this.#listener = listener;
  }

  // run connects, and connects again, until stop is called or there is no hope.
  async run(): Promise<void> {
    const { servers } = this.#settings;
    for (let turn = 0; ; ) {
      this.#server = servers[turn % servers.length]!;
      const failure = await this.#connectOnce();
      if (this.#stopped) return;
      if (this.#hurried) {
        this.#hurried = false;
        this.#showRetrying(this.#server, 0, failure);
        continue; // with the same server
      }
      if (this.#isFinal(failure)) return this.#listener.changed({ is: "closed", failure });
      turn++;
      this.#failures++;
      await this.#wait(servers[turn % servers.length]!, failure);
      if (this.#stopped) return;
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#endWait();
    await this.#hub?.stop();
  }

  // retryNow cuts a wait for the next try short.
  retryNow(): void {
    this.#endWait();
    if (this.#hub?.state === "Reconnecting") {
      this.#hurried = true;
      void this.#hub.stop();
    }
  }

  async send(text: string): Promise<void> {
    await this.#connected().invoke("SendMessage", text);
  }

  async echo(text: string): Promise<string> {
    return this.#connected().invoke("Echo", text);
  }

  #connected(): HubConnection {
    if (this.#hub?.state !== "Connected") throw new Error("there is no connection");
    return this.#hub;
  }

  // #connectOnce connects to the server whose turn it is. It returns why there
  // is no connection any more.
  async #connectOnce(): Promise<Failure> {
    if (!this.#wasConnected && this.#failures === 0) this.#listener.changed({ is: "connecting", server: this.#server });
    this.#problem = undefined;
    const hub = (this.#hub = this.#build());
    const closed = new Promise<Failure>((resolve) => hub.onclose((error) => resolve(this.#problem ?? explainEnd(error))));
    try {
      await hub.start();
    } catch (error) {
      return explainStart(error, this.#server);
    }
    this.#showConnected();
    return closed;
  }

  #build(): HubConnection {
    const { name, transport, encoding } = this.#settings;
    const hub = new HubConnectionBuilder()
      .withUrl(this.#server, {
        ...(name && { accessTokenFactory: () => name }), // an application would ask who signs people in
        ...(transport !== "Automatic" && { transport: HttpTransportType[transport] }),
        timeout: requestTimeout,
      })
      .withHubProtocol(encoding === "MessagePack" ? new MessagePackHubProtocol() : new JsonHubProtocol())
      .withAutomaticReconnect({ nextRetryDelayInMilliseconds: (context) => this.#nextDelay(context) })
      .configureLogging({ log: (level, text) => this.#log(level, text) })
      .build();
    hub.on("ReceiveMessage", (sender: string, text: string) => this.#listener.received(sender, text));
    hub.onreconnected(() => this.#showConnected());
    return hub;
  }

  // #log finds out about the transport: the client tells nobody else.
  #log(level: LogLevel, text: string): void {
    this.#transport = /^Selecting transport '(\w+)'/.exec(text)?.[1] ?? this.#transport;
    if (level >= LogLevel.Warning) console.warn(text);
  }

  #showConnected(): void {
    if (this.#stopped) return;
    this.#failures = 0;
    this.#problem = undefined;
    this.#wasConnected = true;
    this.#listener.changed({ is: "connected", server: this.#server, transport: this.#transport, encoding: this.#settings.encoding });
  }

  // #nextDelay answers the stock client, which asks how long to wait when it
  // has lost a connection and after each try in vain. null: it should give up.
  #nextDelay({ previousRetryCount, retryReason }: RetryContext): number | null {
    const failure = previousRetryCount === 0 ? explainLoss(retryReason) : explainRetry(retryReason, this.#server);
    this.#problem = failure;
    const others = this.#settings.servers.length > 1;
    if (this.#isFinal(failure) || (others && previousRetryCount >= triesBeforeNext)) {
      return null;
    }
    const delay = backoff(previousRetryCount);
    this.#showRetrying(this.#server, delay, failure);
    return delay;
  }

  // #wait waits before a server's turn. Once around they follow each other at once.
  async #wait(server: string, failure: Failure): Promise<void> {
    const rounds = this.#failures / this.#settings.servers.length;
    const delay = Number.isInteger(rounds) ? backoff(rounds) : 0;
    this.#showRetrying(server, delay, failure);
    await new Promise<void>((resolve) => {
      this.#endWait = resolve;
      setTimeout(resolve, delay);
    });
    if (!this.#stopped) this.#showRetrying(server, 0, failure);
  }

  #showRetrying(server: string, delay: number, failure: Failure): void {
    this.#listener.changed({ is: "retrying", server, at: Date.now() + delay, lost: this.#wasConnected, failure });
  }

  // #isFinal says whether there is no point in trying again. An address that
  // was good, or one of several, may become good.
  #isFinal(failure: Failure): boolean {
    if (failure.kind === "address") return !this.#wasConnected && this.#settings.servers.length === 1;
    return failure.kind === "refusal";
  }
}

// backoff is how many milliseconds to wait before a try, by the number of those
// before it. It has something random, so that not everybody who loses a server
// comes to the next one at once.
function backoff(tries: number): number {
  return Math.min(500 * 2 ** tries, 10_000) * (0.5 + Math.random() / 2);
}
