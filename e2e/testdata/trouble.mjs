// A stock client with the logging that it has unless somebody says otherwise:
// what it prints is what people see in their console.
//
//   node trouble.mjs FOLDER_OF_CLIENTS_JS URL WebSockets|ServerSentEvents|LongPolling|Any [TOKEN]
//
// Each line of standard input is METHOD and, after a space, an argument.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import path from "node:path";

const [folder, url, transport, token] = process.argv.slice(2);
const { HubConnectionBuilder, HttpTransportType } = createRequire(path.join(folder, "package.json"))("@microsoft/signalr");

const options = { transport: HttpTransportType[transport] };
if (token) options.accessTokenFactory = () => token;
const connection = new HubConnectionBuilder().withUrl(url, options).build();
connection.on("ReceiveMessage", (user, text) => console.log(`${user}: ${text}`));
connection.onclose((error) => console.log(`closed: ${error?.message}`));
try {
  await connection.start();
  console.log("connected");
} catch (error) {
  console.log(`not connected: ${error.message}`);
  process.exit(1);
}
for await (const line of createInterface({ input: process.stdin })) {
  const [method, argument] = line.split(" ", 2);
  connection.invoke(method, argument).catch((error) => console.log(`${method}: ${error.message}`));
}
