// Prints what a hub sends, and says what is typed:
//
//   node listener.mjs URL [NAME]
//
// Standard output has one line "connected URL as NAME" and then one line
// "SENDER: TEXT" for each message. Each line of standard input is sent as a
// chat message. SIGINT and SIGTERM end it.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

const [url, name] = process.argv.slice(2);
if (!url) {
  console.error("usage: node listener.mjs URL [NAME]\n  for example http://localhost:5000/chathub Ale");
  process.exit(2);
}

const connection = new HubConnectionBuilder()
  .withUrl(url, name ? { accessTokenFactory: () => name } : {})
  .withAutomaticReconnect({ nextRetryDelayInMilliseconds: (lost) => Math.min(100 * 2 ** lost.previousRetryCount, 5000) })
  .configureLogging(LogLevel.None) // what matters is said below
  .build();

connection.on("ReceiveMessage", (sender, text) => console.log(`${oneLine(sender)}: ${oneLine(text)}`));
connection.onreconnecting((error) => console.error(`connection lost: ${error?.message}`));
connection.onreconnected(() => console.error("connected again"));

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await connection.stop();
    process.exit(0);
  });
}

await start();
console.log(`connected ${url} as ${name || "Anonymous"}`);

for await (const line of createInterface({ input: process.stdin })) {
  try {
    await connection.invoke("SendMessage", line);
  } catch (error) {
    console.error(`not sent: ${error.message}`);
  }
}

// Automatic reconnection begins with the first connection, so the first is
// tried until it succeeds.
async function start() {
  for (;;) {
    try {
      return await connection.start();
    } catch (error) {
      console.error(`not connected: ${error.message}`);
      await sleep(1000);
    }
  }
}

function oneLine(text) {
  return String(text).replace(/[\r\n]+/g, " ");
}
