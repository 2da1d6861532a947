// Connects a stock client with an access token, and each time it has lost its
// connection with the next one.
//
//   node signin.mjs FOLDER_OF_CLIENTS_JS URL WebSockets|ServerSentEvents|LongPolling TOKEN...
//
// Standard output has a line for each thing that happens: "connected" or
// "refused: WHY", then "lost" and "connected again", and "SENDER: TEXT" for
// each message. Each line of standard input is sent as a chat message; its end
// ends the connection.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import path from "node:path";

const [folder, url, transport, ...tokens] = process.argv.slice(2);
const { HubConnectionBuilder, HttpTransportType, LogLevel } = createRequire(path.join(folder, "package.json"))("@microsoft/signalr");

const connection = new HubConnectionBuilder()
  .withUrl(url, {
    transport: HttpTransportType[transport],
    accessTokenFactory: () => tokens[0], // asked several times for one connection
  })
  .withAutomaticReconnect()
  .configureLogging(LogLevel.None)
  .build();
connection.on("ReceiveMessage", (sender, text) => console.log(`${sender}: ${text}`));
connection.onreconnecting(() => {
  tokens.shift();
  console.log("lost");
});
connection.onreconnected(() => console.log("connected again"));

try {
  await connection.start();
} catch (error) {
  console.log(`refused: ${error.message}`);
  process.exit(0);
}
console.log("connected");
for await (const line of createInterface({ input: process.stdin })) {
  await connection.invoke("SendMessage", line);
}
await connection.stop();
