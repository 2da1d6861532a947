// Does everything that the stock JavaScript client can do with a hub, over one
// transport in one encoding:
//
//   node conformance.mjs --modules CLIENTS_JS --server URL --proxy URL --cutter URL
//                        --transport WebSockets|ServerSentEvents|LongPolling --encoding json|messagepack
//
// The server at URL runs the reference hub with detailed errors. --proxy leads
// to it too, through connections that are cut when --cutter is asked to.
// Each check prints one line: {"check":"name","ok":true,"got":...}.
import { createRequire } from "node:module";
import path from "node:path";
import { isDeepStrictEqual, parseArgs } from "node:util";

const option = { type: "string" };
const { values: given } = parseArgs({
  options: { modules: option, server: option, proxy: option, cutter: option, transport: option, encoding: option },
});
const stock = createRequire(path.join(given.modules, "package.json"));
const { HubConnectionBuilder, HubConnectionState, HttpTransportType, JsonHubProtocol, LogLevel, Subject } = stock("@microsoft/signalr");
const { MessagePackHubProtocol } = stock("@microsoft/signalr-protocol-msgpack");

const json = given.encoding === "json";
const tag = Math.random().toString(36).slice(2); // tells this run's groups, users and texts from others'
const patience = 10_000; // ms for one check
const opened = [];
let sent = 0; // texts, by whoGets

await (given.transport === "ServerSentEvents" && !json ? refusedEncoding() : everything());
await Promise.all(opened.map((connection) => connection.stop()));
process.exit(0); // at once, though fetch keeps an idle connection

async function everything() {
  const [a, b, c] = await Promise.all([open("a"), open("b"), open("c")]);
  await connecting(a);
  await calls(a);
  await failures(a);
  await values(a);
  await streamsDown(a);
  await streamsUp(a);
  await clientResults(a, b);
  await addressing(a, b, c);
  await users();
  await refusals();
  await endings(b);
}

// ---- what is checked

async function connecting({ connection }) {
  await check("connection id", true, async () => /^[\w-]{22}$/.test(connection.connectionId));
  await check("same id at the server", connection.connectionId, () => connection.invoke("MyConnectionId"));
}

async function calls({ connection }) {
  await check("invoke", "é ☃ 😀 \u0001 \" \\ \u2028 </script>", () => connection.invoke("Echo", "é ☃ 😀 \u0001 \" \\ \u2028 </script>"));
  await check("invoke with numbers", -3, () => connection.invoke("Add", 4, -7));
  await check("invoke without result", null, () => connection.invoke("NoResult"));
  await check("invoke with null", [null, null], async () => [await connection.invoke("NullResult"), await connection.invoke("Echo", null)]);
  await check("names in any case", "x", () => connection.invoke("eCHO", "x"));
  await check("renamed method", "renamed ok", () => connection.invoke("renamed"));
  await check("invocations in order", ["slow 60", "1", "2"], async () => {
    const done = [];
    await Promise.all([connection.invoke("Slow", 60), connection.invoke("Echo", "1"), connection.invoke("Echo", "2")]
      .map((call) => call.then((result) => done.push(result))));
    return done;
  });
  await check("send", "sent", async () => {
    await connection.send("SetItem", "k", "sent");
    return connection.invoke("GetItem", "k");
  });
  const long = "ab é ".repeat(5000);
  await check("long text", true, async () => await connection.invoke("Echo", long) === long);
}

async function failures({ connection }) {
  const broke = (method) => `An unexpected error occurred invoking '${method}' on the server. `;
  const refused = (method) => `Failed to invoke '${method}' due to an error on the server. `;
  const fails = (name, text, method, ...args) => check(name, text, () => rejection(connection.invoke(method, ...args)));
  await fails("unknown method", refused("Nonsense") + "HubException: Method does not exist.", "Nonsense");
  await fails("name behind a renamed method", refused("OriginalName") + "HubException: Method does not exist.", "OriginalName");
  await fails("too few arguments", refused("Add") + "InvalidDataException: Invocation provides 1 argument(s) but target expects 2.", "Add", 1);
  await fails("arguments of wrong types", refused("Add") + "InvalidDataException: Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.", "Add", "x", {});
  await fails("thrown error", broke("Throw") + "InvalidOperationException: as it is", "Throw", "as it is");
  await fails("hub error", broke("ThrowHub") + "HubException: for all to see", "ThrowHub", "for all to see");
  await fails("unauthorized method", "Failed to invoke 'Secret' because user is unauthorized", "Secret");
  await fails("stream method invoked", "The client attempted to invoke the streaming 'Counter' method with a non-streaming invocation.", "Counter", 1, 0);
  await check("plain method streamed", "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation.",
    async () => (await collect(connection.stream("Echo", "x"))).error);
  await fails("upload forgotten", broke("UploadSum") + "HubException: Client sent 0 stream(s), Hub method expects 1.", "UploadSum");
  await check("alive after failures", "still here", () => connection.invoke("Echo", "still here"));
}

async function values({ connection }) {
  const when = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678));
  const bytes = Uint8Array.of(0, 1, 2, 253, 254, 255);
  const complex = (text, inner) => ({
    Text: text, Numbers: [1, -2, 2147483647], Bytes: json ? Buffer.from(bytes).toString("base64") : bytes,
    When: json ? "2026-01-02T03:04:05.678Z" : when, Id: "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    Ratio: 0.1, Flag: true, Inner: inner, Map: { Key: 1, "other key": -2 },
  });
  const nested = complex("outer", complex("inner", null));
  const cased = json ? camelCased(nested) : nested;
  await check("complex value", cased, async () => plain(await connection.invoke("EchoComplex", cased)));
  await check("complex null", null, () => connection.invoke("EchoComplex", null));
  if (json) {
    const any = { a: [1, 2.5, "3", null, true, { b: [] }], "": -1e-7 };
    await check("any JSON", any, () => connection.invoke("EchoAny", any));
  }
  await check("types received", json
    ? [1, 2.5, true, null, "text", [1, 2], { name: "n", camelCase: 1 }, "AQID", "2026-01-02T03:04:05Z", "00000000-0000-0000-0000-000000000000"]
    : [1, 2.5, true, null, "text", [1, 2], { Name: "n", CamelCase: 1 }, Uint8Array.of(1, 2, 3), new Date(Date.UTC(2026, 0, 2, 3, 4, 5)), "00000000-0000-0000-0000-000000000000"],
  async () => {
    const received = new Promise((resolve) => connection.on("Types", (...args) => resolve(args)));
    await connection.invoke("SendTypes");
    return plain(await received);
  });
}

async function streamsDown({ connection }) {
  const numbers = (count) => Array.from({ length: count }, (_, i) => i);
  await check("stream", { items: numbers(200) }, () => collect(connection.stream("Counter", 200, 0)));
  await check("stream of a channel", { items: numbers(100).map((i) => `item ${i}`) }, () => collect(connection.stream("CounterChannel", 100)));
  await check("empty stream", { items: [] }, () => collect(connection.stream("Counter", 0, 0)));
  await check("streams side by side", [{ items: numbers(20) }, { items: numbers(30) }, "beside"], () =>
    Promise.all([collect(connection.stream("Counter", 20, 2)), collect(connection.stream("Counter", 30, 1)), connection.invoke("Echo", "beside")]));
  await check("stream that throws", { items: [0, 1, 2], error: "An error occurred on the server while streaming results. InvalidOperationException: stream broke" },
    () => collect(connection.stream("StreamThrow", 3)));
  await check("stream with a hub error", { items: [0, 1], error: "An error occurred on the server while streaming results. HubException: stream broke on purpose" },
    () => collect(connection.stream("StreamThrowHub", 2)));
  await check("cancelled stream", [[0, 1, 2, 3, 4], "after"], async () => {
    const items = await new Promise((resolve, reject) => {
      const seen = [];
      const subscription = connection.stream("Counter", 1_000_000, 1).subscribe({
        next: (item) => {
          if (seen.push(item) < 5) return;
          subscription.dispose();
          resolve(seen);
        },
        error: reject,
        complete: () => reject(new Error("it ended by itself")),
      });
    });
    return [items, await connection.invoke("Echo", "after")];
  });
}

async function streamsUp({ connection }) {
  // feed gives a subject its items once the invocation is under way.
  const feed = (items, end = (subject) => subject.complete()) => {
    const subject = new Subject();
    queueMicrotask(() => {
      for (const item of items) subject.next(item);
      end(subject);
    });
    return subject;
  };
  const hundred = Array.from({ length: 100 }, (_, i) => i);
  await check("upload", 4950, () => connection.invoke("UploadSum", feed(hundred)));
  await check("upload of nothing", 0, () => connection.invoke("UploadSum", feed([])));
  await check("upload beside arguments", "head" + hundred.join(""), () => connection.invoke("UploadConcat", "head", feed(hundred.map(String))));
  await check("upload and stream", { items: ["A", "ß", "É", "END"] }, () => collect(connection.stream("Shout", feed(["a", "ß", "é", "end"]))));
  await check("answer to each upload", ["ONE", "TWO", "THREE"], async () => {
    const said = ["one", "two", "three"], heard = [];
    const up = new Subject();
    const done = new Promise((resolve, reject) => connection.stream("Shout", up).subscribe({
      next: (item) => {
        heard.push(item);
        heard.length < said.length ? up.next(said[heard.length]) : up.complete();
      },
      error: reject,
      complete: resolve,
    }));
    up.next(said[0]);
    await done;
    return heard;
  });
  await check("upload that fails", "An unexpected error occurred invoking 'UploadSum' on the server. HubException: no more",
    () => rejection(connection.invoke("UploadSum", feed([1, 2], (subject) => subject.error(new Error("no more"))))));
  await check("alive after uploads", "fine", () => connection.invoke("Echo", "fine"));
}

async function clientResults(a, b) {
  const broke = (method) => `An unexpected error occurred invoking '${method}' on the server. `;
  const ask = (connection, handler) => {
    connection.off("Ask");
    if (handler) connection.on("Ask", handler);
  };
  ask(a.connection, (question) => `${question}!`);
  ask(b.connection, async (question) => `${question} from b, ${await b.connection.invoke("Echo", "asking meanwhile")}`);
  await check("result of the caller", "answer: why!", () => a.connection.invoke("AskCaller", "why"));
  await check("result of another", "answer: hello from b, asking meanwhile", () => a.connection.invoke("AskConnection", b.connection.connectionId, "hello"));
  await check("result of nobody", broke("AskConnection") + "IOException: Connection 'nobody' does not exist.",
    () => rejection(a.connection.invoke("AskConnection", "nobody", "hello")));
  ask(b.connection, () => null);
  await check("null result of another", "answer: ", () => a.connection.invoke("AskConnection", b.connection.connectionId, "hello"));
  ask(b.connection, () => { throw new Error("no idea"); });
  await check("result handler that throws", broke("AskConnection") + "HubException: Error: no idea",
    () => rejection(a.connection.invoke("AskConnection", b.connection.connectionId, "hello")));
  ask(b.connection);
  await check("no result handler", broke("AskConnection") + "HubException: Client didn't provide a result.",
    () => rejection(a.connection.invoke("AskConnection", b.connection.connectionId, "hello")));
}

async function addressing(a, b, c) {
  const clients = [a, b, c], group = `group ${tag}`;
  const [idA, idB] = clients.map(({ connection }) => connection.connectionId);
  const goes = (name, want, method, ...args) =>
    check(name, want, () => whoGets(clients, want, (text) => a.connection.invoke(method, ...args, text)));
  await goes("to all", "abc", "SendAll");
  await goes("to the caller", "a", "SendCaller");
  await goes("to the others", "bc", "SendOthers");
  await goes("to all except some", "c", "SendAllExcept", [idA, idB]);
  await goes("to one connection", "b", "SendConnection", idB);
  await goes("to some connections", "ab", "SendConnections", [idA, idB, "nobody"]);
  await a.connection.invoke("Join", group);
  await b.connection.invoke("Join", group);
  await goes("to a group", "ab", "SendGroup", group);
  await goes("to the others in a group", "b", "SendOthersInGroup", group);
  await goes("to a group except some", "a", "SendGroupExcept", group, [idB]);
  await goes("group names have case", "", "SendGroup", group.toUpperCase());
  await a.connection.invoke("JoinOther", c.connection.connectionId, group);
  await a.connection.invoke("LeaveOther", idB, group);
  await goes("after joining and leaving", "ac", "SendGroup", group);
  await a.connection.invoke("Leave", group);
  await goes("to several groups", "c", "SendGroups", [group, "nobody's"]);
}

async function users() {
  const [first, second, other] = await Promise.all([open("1", { user: `u ${tag}` }), open("2", { user: `u ${tag}` }), open("3", { user: `v ${tag}` })]);
  const goes = (name, want, method, to) =>
    check(name, want, () => whoGets([first, second, other], want, (text) => other.connection.invoke(method, to, text)));
  await check("signed in", [`u ${tag}`, `secret for u ${tag}`], async () => [await first.connection.invoke("WhoAmI"), await second.connection.invoke("Secret")]);
  await goes("to a user", "12", "SendUser", `u ${tag}`);
  await goes("to several users", "123", "SendUsers", [`u ${tag}`, `v ${tag}`]);
  const inside = await open("4", { user: `w ${tag}`, path: "/reference-authorized" });
  await check("authorized hub", `w ${tag}`, () => inside.connection.invoke("WhoAmI"));
}

async function refusal() {
  const connection = build({ path: "/reference?onconnected=throw" });
  const closed = new Promise((resolve) => connection.onclose((error) => resolve(error?.message)));
  try { // whether it starts first depends on what comes together
    await connection.start();
  } catch (error) {
    return error.message;
  }
  return closed;
}

async function refusals() {
  await check("authorized hub, anonymous", true, async () =>
    (await rejection(build({ path: "/reference-authorized" }).start())).includes("Unauthorized: Status code '401'"));
  await check("refused by the hub", "Server returned an error on close: Connection closed with an error. InvalidOperationException: connect refused", async () => {
    for (;;) {
      const reason = await refusal();
      // The client pings once it has shaken hands. Over server-sent events that is a
      // request, which may find the connection gone; then the client tells of that.
      if (!reason.includes("Status code '404'")) return reason;
    }
  });
  await check("message too large", "Server returned an error on close: Connection closed with an error. InvalidDataException: " +
    "The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions.", async () => {
    const { connection } = await open("large");
    const closed = new Promise((resolve) => connection.onclose((error) => resolve(error?.message)));
    connection.send("Echo", "x".repeat(40_000)).catch(() => {}); // may fail as the server closes
    return closed;
  });
}

async function endings(other) {
  await check("aborted by the server, not reconnected", ["closed", undefined, 0], async () => {
    const { connection, losses } = await open("d", { reconnect: true });
    const closed = new Promise((resolve) => connection.onclose((error) => resolve(["closed", error?.message])));
    await connection.send("AbortMe");
    return [...await closed, losses()];
  });
  await check("cut, then reconnected with a new id", [true, true, "back"], async () => {
    const { connection } = await open("e", { reconnect: true, server: given.proxy });
    const before = connection.connectionId;
    const again = new Promise((resolve, reject) => {
      connection.onreconnected(resolve);
      connection.onclose((error) => reject(new Error(`closed: ${error}`)));
    });
    await fetch(`${given.cutter}/cut?how=reset`, { method: "POST" });
    const id = await again;
    return [id !== before, id === await connection.invoke("MyConnectionId"), await connection.invoke("Echo", "back")];
  });
  await check("stopped", ["closed", undefined, HubConnectionState.Disconnected, 0], async () => {
    const { connection, losses } = await open("f", { reconnect: true });
    const closed = new Promise((resolve) => connection.onclose((error) => resolve(["closed", error?.message])));
    await connection.stop();
    return [...await closed, connection.state, losses()];
  });
  await check("stopped, as others see it", "gone", async () => {
    const { connection } = await open("g");
    const id = connection.connectionId;
    await connection.stop();
    const text = await rejection(other.connection.invoke("AskConnection", id, "there?"));
    return text.replace(new RegExp(`.*IOException: Connection '${id}' (disconnected|does not exist)\\.$`), "gone");
  });
}

// A stock client finds out by itself that an event stream cannot carry bytes.
async function refusedEncoding() {
  await check("binary over an event stream", true, async () =>
    (await rejection(build({}).start())).includes("'ServerSentEvents' does not support Binary."));
}

// ---- how

// build makes a connection that is not started yet.
function build({ user, path = "/reference", server = given.server, reconnect }) {
  const builder = new HubConnectionBuilder()
    .withUrl(server + path, {
      transport: HttpTransportType[given.transport],
      ...(user && { accessTokenFactory: () => user }),
    })
    .withHubProtocol(json ? new JsonHubProtocol() : new MessagePackHubProtocol())
    .configureLogging(LogLevel.None); // errors are looked at where they are expected
  if (reconnect) builder.withAutomaticReconnect([0, 50, 100, 200, 500, 1000, 2000]);
  return builder.build();
}

// open connects a client with a name, which collects the Messages it gets.
async function open(name, settings = {}) {
  const connection = build(settings);
  opened.push(connection);
  const texts = [], waiting = new Map(); // text to what it resolves
  let losses = 0;
  connection.onreconnecting(() => losses++);
  connection.on("Message", (text) => {
    texts.push(text);
    waiting.get(text)?.();
  });
  await connection.start();
  return {
    name, connection, losses: () => losses,
    count: (text) => texts.filter((t) => t === text).length,
    arrival: (text) => texts.includes(text) ? undefined : new Promise((resolve) => waiting.set(text, resolve)),
  };
}

// whoGets sends a text and returns the names of those whom it reached, twice
// if it came twice. Those who should get it are awaited; then everybody is sent
// another text, behind which nothing can be on its way to those who should not.
async function whoGets(clients, wanted, send) {
  const text = `${tag} ${++sent}`, end = `${text} end`;
  await send(text);
  await Promise.all(clients.filter(({ name }) => wanted.includes(name)).map((client) => client.arrival(text)));
  await clients[0].connection.invoke("SendConnections", clients.map(({ connection }) => connection.connectionId), end);
  await Promise.all(clients.map((client) => client.arrival(end)));
  return clients.map((client) => client.name.repeat(client.count(text))).join("");
}

function collect(stream) {
  return new Promise((resolve) => {
    const items = [];
    stream.subscribe({
      next: (item) => items.push(item),
      error: (error) => resolve({ items, error: error.message }),
      complete: () => resolve({ items }),
    });
  });
}

// rejection is the text with which a promise is rejected.
async function rejection(promise) {
  try {
    return `no error but ${JSON.stringify(await promise)}`;
  } catch (error) {
    return error.message;
  }
}

function camelCased(object) {
  return Object.fromEntries(Object.entries(object).map(([name, value]) =>
    [name[0].toLowerCase() + name.slice(1), name === "Inner" && value ? camelCased(value) : value]));
}

// plain turns the Buffers and ArrayBuffer views of MessagePack into Uint8Arrays, which compare.
function plain(value) {
  if (ArrayBuffer.isView(value)) return Uint8Array.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object" || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]));
}

async function check(name, want, act) {
  let timer, got;
  try {
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`nothing within ${patience} ms`)), patience); });
    got = await Promise.race([act(), late]);
  } catch (error) {
    got = `failed: ${error.message}`;
  }
  clearTimeout(timer);
  const ok = isDeepStrictEqual(got, want);
  console.log(JSON.stringify({ check: name, ok, got: got ?? null, ...(!ok && { want: want ?? null }) }));
}
