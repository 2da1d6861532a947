// Stock clients that are busy while their server is ended.
//
//   node drain.mjs FOLDER_OF_CLIENTS_JS URL COUNT
//
// COUNT connections over each transport echo texts, one after the other with a pause
// between them, and come back by themselves. "connected" is printed when all have started. From
// the end of standard input on they invoke nothing more; then a line of JSON is printed for each
// of them: the transport, how many texts were echoed, what failed that had been sent, how
// often a text was not sent because the connection was just going, how often it has come back, and what it
// was sent, one list for each connection.
import { createRequire } from "node:module";
import path from "node:path";

const [folder, url, count] = process.argv.slice(2);
const { HubConnectionBuilder, HttpTransportType, HubConnectionState, LogLevel } = createRequire(path.join(folder, "package.json"))("@microsoft/signalr");

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
let over = false;
process.stdin.resume();
process.stdin.on("end", () => { over = true; });

class Busy {
  constructor(transport) {
    this.report = { transport, echoed: 0, failed: [], unsent: 0, back: 0, pieces: [[]] };
    this.connection = new HubConnectionBuilder()
      .withUrl(url, { transport: HttpTransportType[transport], accessTokenFactory: () => transport })
      .withAutomaticReconnect()
      .configureLogging(LogLevel.None)
      .build();
    this.connection.on("ReceiveMessage", (_, text) => this.report.pieces.at(-1).push(Number(text)));
    this.connection.onreconnecting(() => this.report.pieces.push([]));
    this.connection.onreconnected(() => { this.report.back++; });
  }

  async work() {
    while (!over) {
      await pause(20 + Math.random() * 180);
      if (this.connection.state !== HubConnectionState.Connected) continue;
      const text = `${this.report.transport} ${this.report.echoed}`;
      try {
        if (await this.connection.invoke("Echo", text) !== text) throw new Error("another echo");
        this.report.echoed++;
      } catch (error) {
        if (error.message.startsWith("Cannot send data if the connection is not in the 'Connected' State")) this.report.unsent++;
        else this.report.failed.push(error.message);
      }
    }
  }
}

const all = ["WebSockets", "ServerSentEvents", "LongPolling"].flatMap((transport) => Array.from({ length: Number(count) }, () => new Busy(transport)));
await Promise.all(all.map((busy) => busy.connection.start()));
console.log("connected");
await Promise.all(all.map((busy) => busy.work()));
await pause(500); // what is on its way
for (const busy of all) console.log(JSON.stringify(busy.report));
await Promise.all(all.map((busy) => busy.connection.stop()));
