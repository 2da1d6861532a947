// Holds connections of the stock JavaScript client, and does with them what
// standard input says, a JSON object a line, until it ends:
//
//   node farm.mjs --modules CLIENTS_JS
//
//   {"call":1,"do":"open","connection":"a","url":"http://...","encoding":"json","user":"Ale"}
//   {"call":2,"do":"invoke","connection":"a","method":"Echo","arguments":["x"]}
//   {"call":3,"do":"close","connection":"a"}
//
// Invocations of one connection begin in the order in which they are said. Each call
// is answered, {"call":2,"result":"x"} or {"call":2,"error":"..."}; the result of
// open is the connection id. What a connection receives is printed as
// {"connection":"a","method":"Message","arguments":["x"]}, and its end with the
// method "closed". To Ask it answers the question and its name; with an error
// if that is "fail", never if it is "silence".
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const { values: given } = parseArgs({ options: { modules: { type: "string" } } });
const stock = createRequire(path.join(given.modules, "package.json"));
const { HubConnectionBuilder, JsonHubProtocol, LogLevel } = stock("@microsoft/signalr");
const { MessagePackHubProtocol } = stock("@microsoft/signalr-protocol-msgpack");

const connections = new Map();
const actions = { open, invoke, close };

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  actions[command.do](command).then(
    (result) => print({ call: command.call, result }),
    (error) => print({ call: command.call, error: error.message }));
}
process.exit(0);

async function open({ connection: name, url, encoding, user }) {
  const connection = new HubConnectionBuilder()
    .withUrl(url, { accessTokenFactory: () => user })
    .withHubProtocol(encoding === "json" ? new JsonHubProtocol() : new MessagePackHubProtocol())
    .configureLogging(LogLevel.None) // errors are looked at where they are expected
    .build();
  connections.set(name, connection);
  const report = (method) => (...args) => print({ connection: name, method, arguments: args });
  connection.on("Message", report("Message"));
  connection.on("ReceiveMessage", report("ReceiveMessage"));
  connection.on("Ask", (question) => {
    report("Ask")(question);
    if (question === "fail") throw new Error("no idea");
    return question === "silence" ? new Promise(() => {}) : `${question} by ${name}`;
  });
  connection.onclose((error) => report("closed")(...(error ? [error.message] : [])));
  await connection.start();
  return connection.connectionId;
}

function invoke({ connection, method, arguments: args }) {
  return connections.get(connection).invoke(method, ...args);
}

function close({ connection }) {
  return connections.get(connection).stop();
}

function print(line) {
  console.log(JSON.stringify(line));
}
