// The page: sign in, chat, see notifications arrive. Everything that comes
// from others is shown as text, never as HTML.
const { HubConnectionBuilder, HubConnectionState, LogLevel } = signalR;
const $ = (id) => document.getElementById(id);

const keptEntries = 500; // per list; older ones go
let connection;
let me;
let notifications = 0;

// A link such as /?name=Ale&server=http://localhost:5001/chathub fills in the form.
const link = new URLSearchParams(location.search);
for (const field of ["name", "server"]) {
  if (link.has(field)) $(field).value = link.get(field);
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  if (connection) disconnect();
  else connect($("server").value.trim(), $("name").value.trim());
});

$("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value;
  try {
    await connection.invoke("SendMessage", text);
    if ($("text").value === text) $("text").value = "";
    showError();
  } catch (error) {
    showError(`Not sent: ${error.message}`);
  }
});

async function connect(url, name) {
  me = name || "Anonymous";
  const mine = (connection = new HubConnectionBuilder()
    .withUrl(url, name ? { accessTokenFactory: () => name } : {})
    .withAutomaticReconnect({ nextRetryDelayInMilliseconds: (lost) => Math.min(500 * 2 ** lost.previousRetryCount, 10_000) })
    .configureLogging(LogLevel.Warning)
    .build());
  mine.on("ReceiveMessage", receive);
  mine.onreconnecting(() => show("reconnecting"));
  mine.onreconnected(() => show("connected"));
  mine.onclose((error) => {
    if (connection === mine) ended(error);
  });
  showError();
  show("connecting");
  try {
    await mine.start();
    if (connection !== mine) return; // given up in the meantime
    show("connected");
    $("text").focus();
  } catch (error) {
    if (connection === mine) ended(error);
  }
}

async function disconnect() {
  const mine = connection;
  ended();
  await mine.stop();
}

function ended(error) {
  connection = undefined;
  show("disconnected");
  if (error) showError(error.message);
}

function receive(sender, text) {
  if (sender === "System") {
    add($("notifications"), "", text);
    $("count").textContent = ++notifications;
    $("count").hidden = false;
  } else {
    add($("chat"), sender, text);
  }
}

function add(list, sender, text) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const entry = document.createElement("li");
  const now = new Date();
  const time = element("time", now.toLocaleTimeString());
  time.dateTime = now.toISOString();
  if (sender) entry.append(element("b", sender));
  entry.append(element("span", text ?? "(no message)"), time);
  entry.classList.toggle("mine", sender === me);
  list.append(entry);
  if (list.children.length > keptEntries) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function show(state) {
  const words = {
    connecting: "connecting …",
    connected: `connected as ${me}`,
    reconnecting: "connection lost, reconnecting …",
    disconnected: "not connected",
  };
  $("state").textContent = words[state];
  $("state").dataset.state = state;
  const connected = connection?.state === HubConnectionState.Connected;
  $("text").disabled = $("send").disabled = !connected;
  $("name").disabled = $("server").disabled = state !== "disconnected";
  $("connect").textContent = state === "disconnected" ? "Connect" : "Disconnect";
  document.title = connected ? `${me} · signalrd chat` : "signalrd chat";
}

function showError(text = "") {
  $("error").textContent = text;
  $("error").hidden = !text;
}
