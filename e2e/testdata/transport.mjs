// Connects a stock client over one transport, echoes texts one after the
// other, says one to everybody, and stops:
//
//   node transport.mjs FOLDER_OF_CLIENTS_JS URL WebSockets|ServerSentEvents|LongPolling
import { createRequire } from "node:module";
import path from "node:path";

const [folder, url, transport] = process.argv.slice(2);
const { HubConnectionBuilder, HttpTransportType, LogLevel } = createRequire(path.join(folder, "package.json"))("@microsoft/signalr");

const connection = new HubConnectionBuilder()
  .withUrl(url, { transport: HttpTransportType[transport], accessTokenFactory: () => transport })
  .configureLogging(LogLevel.Error)
  .build();
const said = new Promise((resolve) => connection.on("ReceiveMessage", (user, text) => resolve(`${user}: ${text}`)));
await connection.start();
for (let i = 0; i < 50; i++) {
  const text = `${i} ${"é".repeat(i * 100)}`;
  if (await connection.invoke("Echo", text) !== text) throw new Error(`echo ${i} came back changed`);
}
await connection.invoke("SendMessage", "done");
console.log(await said);
await connection.stop();
