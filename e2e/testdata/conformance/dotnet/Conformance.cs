using System.Text.Json;
using System.Threading.Channels;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using static Conformance.Report;

namespace Conformance;

/// <summary>
/// Does everything that the stock .NET client can do with a hub, over one transport in
/// one encoding. The server runs the reference hub with detailed errors. The proxy leads
/// to it too, through connections that are cut when the cutter is asked to.
/// </summary>
sealed class Client(string server, string proxy, string cutter, string transport, string encoding)
{
    readonly string tag = Guid.NewGuid().ToString("N"); // tells this run's groups, users and texts from others'
    readonly bool json = encoding == "json";
    readonly List<HubConnection> opened = [];
    int sent; // texts, by WhoGets

    public async Task Run()
    {
        if (transport == "ServerSentEvents" && !json) await RefusedEncoding();
        else await Everything();
        await Task.WhenAll(opened.Select(connection => connection.DisposeAsync().AsTask()));
    }

    async Task Everything()
    {
        var clients = await Task.WhenAll(Open("a"), Open("b"), Open("c"));
        var (a, b) = (clients[0], clients[1]);
        await Connecting(a.Hub);
        await Calls(a.Hub);
        await Failures(a.Hub);
        await Values(a.Hub);
        await StreamsDown(a.Hub);
        await StreamsUp(a.Hub);
        await ClientResults(a.Hub, b.Hub);
        await Addressing(clients);
        await Users();
        await Refusals();
        await Endings(b.Hub);
    }

    // ---- what is checked

    static async Task Connecting(HubConnection hub)
    {
        await Check("connection id", 22, async () => hub.ConnectionId?.Length);
        await Check("same id at the server", hub.ConnectionId, async () => await hub.InvokeAsync<string>("MyConnectionId"));
    }

    static async Task Calls(HubConnection hub)
    {
        const string odd = "é ☃ 😀 \u0001 \" \\ \u2028 </script>";
        await Check("invoke", odd, async () => await hub.InvokeAsync<string>("Echo", odd));
        await Check("invoke with numbers", -3, async () => await hub.InvokeAsync<int>("Add", 4, -7));
        await Check("invoke without result", null, async () =>
        {
            await hub.InvokeAsync("NoResult");
            return await hub.InvokeAsync<object?>("NoResult");
        });
        await Check("invoke with null", new string?[] { null, null }, async () =>
            new[] { await hub.InvokeAsync<string?>("NullResult"), await hub.InvokeAsync<string?>("Echo", null) });
        await Check("names in any case", "x", async () => await hub.InvokeAsync<string>("eCHO", "x"));
        await Check("renamed method", "renamed ok", async () => await hub.InvokeAsync<string>("renamed"));
        await Check("invocations in order", Enumerable.Range(0, 20), async () =>
        {
            var came = Channel.CreateUnbounded<int>();
            using var _ = hub.On<string>("Message", text => came.Writer.TryWrite(int.Parse(text)));
            for (var i = 0; i < 20; i++) await hub.SendAsync("SendCaller", i.ToString());
            return await came.Reader.ReadAllAsync().Take(20).ToListAsync();
        });
        await Check("send", "sent", async () =>
        {
            await hub.SendAsync("SetItem", "k", "sent");
            return await hub.InvokeAsync<string>("GetItem", "k");
        });
        var text = string.Concat(Enumerable.Repeat("ab é ", 5000));
        await Check("long text", true, async () => await hub.InvokeAsync<string>("Echo", text) == text);
    }

    static async Task Failures(HubConnection hub)
    {
        Task Fails(string name, string want, string method, params object?[] arguments) =>
            Check(name, want, async () => await Failure(hub.InvokeCoreAsync(method, arguments)));
        await Fails("unknown method", Refused("Nonsense") + "HubException: Method does not exist.", "Nonsense");
        await Fails("name behind a renamed method", Refused("OriginalName") + "HubException: Method does not exist.", "OriginalName");
        await Fails("too few arguments", Refused("Add") + "InvalidDataException: Invocation provides 1 argument(s) but target expects 2.", "Add", 1);
        await Fails("arguments of wrong types", Refused("Add") + "InvalidDataException: Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.", "Add", "x", new object());
        await Fails("thrown error", Broke("Throw") + "InvalidOperationException: as it is", "Throw", "as it is");
        await Fails("hub error", Broke("ThrowHub") + "HubException: for all to see", "ThrowHub", "for all to see");
        await Fails("unauthorized method", "Failed to invoke 'Secret' because user is unauthorized", "Secret");
        await Fails("stream method invoked", "The client attempted to invoke the streaming 'Counter' method with a non-streaming invocation.", "Counter", 1, 0);
        await Check("plain method streamed", "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation.",
            async () => (await Collect(hub.StreamAsync<string>("Echo", "x"))).Error);
        await Fails("upload forgotten", Broke("UploadSum") + "HubException: Client sent 0 stream(s), Hub method expects 1.", "UploadSum");
        await Check("alive after failures", "still here", async () => await hub.InvokeAsync<string>("Echo", "still here"));
    }

    async Task Values(HubConnection hub)
    {
        Complex Value(string text, Complex? inner) => new()
        {
            Text = text, Numbers = [1, -2, int.MaxValue], Bytes = [0, 1, 2, 253, 254, 255],
            When = new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc).AddTicks(1234567),
            Id = Guid.Parse("6f9619ff-8b86-d011-b42d-00c04fc964ff"), Ratio = 0.1, Flag = true, Inner = inner,
            Map = new() { ["Key"] = 1, ["other key"] = -2 },
        };
        var nested = Value("outer", Value("inner", null));
        await Check("complex value", nested, async () => await hub.InvokeAsync<Complex>("EchoComplex", nested));
        await Check("complex null", null, async () => await hub.InvokeAsync<Complex?>("EchoComplex", null));
        if (json)
        {
            var any = JsonDocument.Parse("""{"a":[1,2.5,"3",null,true,{"b":[]}],"":-1e-7}""").RootElement;
            await Check("any JSON", any, async () => await hub.InvokeAsync<JsonElement>("EchoAny", any));
        }
        object?[] want = [1, 2.5, true, null, "text", new[] { 1, 2 }, new Named("n", 1), new byte[] { 1, 2, 3 }, new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc), Guid.Empty];
        await Check("types received", want, async () =>
        {
            var received = new TaskCompletionSource<object?[]>();
            Type[] types = [.. want.Select(value => value?.GetType() ?? typeof(string))];
            using var _ = hub.On("Types", types, (arguments, _) => { received.SetResult(arguments); return Task.CompletedTask; }, new object());
            await hub.InvokeAsync("SendTypes");
            return await received.Task;
        });
    }

    static async Task StreamsDown(HubConnection hub)
    {
        static Items<int> Numbers(int count, string? error = null) => new([.. Enumerable.Range(0, count)], error);
        const string broke = "An error occurred on the server while streaming results. ";
        await Check("stream", Numbers(200), async () => await Collect(hub.StreamAsync<int>("Counter", 200, 0)));
        await Check("stream of a channel", new Items<string>([.. Enumerable.Range(0, 100).Select(i => $"item {i}")], null), async () =>
            await Collect((await hub.StreamAsChannelAsync<string>("CounterChannel", 100)).ReadAllAsync()));
        await Check("empty stream", Numbers(0), async () => await Collect(hub.StreamAsync<int>("Counter", 0, 0)));
        await Check("streams side by side", new object[] { Numbers(20), Numbers(30), "beside" }, async () =>
        {
            var (first, second) = (Collect(hub.StreamAsync<int>("Counter", 20, 2)), Collect(hub.StreamAsync<int>("Counter", 30, 1)));
            var beside = await hub.InvokeAsync<string>("Echo", "beside");
            return new object[] { await first, await second, beside };
        });
        await Check("stream that throws", Numbers(3, broke + "InvalidOperationException: stream broke"),
            async () => await Collect(hub.StreamAsync<int>("StreamThrow", 3)));
        await Check("stream with a hub error", Numbers(2, broke + "HubException: stream broke on purpose"),
            async () => await Collect(hub.StreamAsync<int>("StreamThrowHub", 2)));
        await Check("cancelled stream", new object[] { new[] { 0, 1, 2, 3, 4 }, "after" }, async () =>
        {
            var seen = new List<int>();
            await foreach (var item in hub.StreamAsync<int>("Counter", 1_000_000, 1))
            {
                seen.Add(item);
                if (seen.Count == 5) break; // which cancels it at the server
            }
            return new object[] { seen, await hub.InvokeAsync<string>("Echo", "after") };
        });
    }

    static async Task StreamsUp(HubConnection hub)
    {
        await Check("upload", 4950, async () => await hub.InvokeAsync<int>("UploadSum", Feed(Enumerable.Range(0, 100))));
        await Check("upload of nothing", 0, async () => await hub.InvokeAsync<int>("UploadSum", Feed<int>([])));
        await Check("upload beside arguments", "head" + string.Concat(Enumerable.Range(0, 100)), async () =>
        {
            var items = Channel.CreateBounded<string>(10);
            var sum = hub.InvokeAsync<string>("UploadConcat", "head", items.Reader);
            for (var i = 0; i < 100; i++) await items.Writer.WriteAsync(i.ToString());
            items.Writer.Complete();
            return await sum;
        });
        await Check("two uploads", 321, async () =>
        {
            // The client sends nothing more of one stream when another of the same
            // invocation has ended, so both end when all is sent.
            var (first, second) = (new TaskCompletionSource(), new TaskCompletionSource());
            return await hub.InvokeAsync<int>("UploadTwo", Feed([1, 20], first, second.Task), Feed([10, 20], second, first.Task));
        });
        await Check("upload and stream", new Items<string>(["A", "ß", "É", "END"], null),
            async () => await Collect(hub.StreamAsync<string>("Shout", Feed(["a", "ß", "é", "end"]))));
        await Check("answer to each upload", new[] { "ONE", "TWO", "THREE" }, async () =>
        {
            var (said, heard) = (new[] { "one", "two", "three" }, new List<string>());
            var up = Channel.CreateUnbounded<string>();
            up.Writer.TryWrite(said[0]);
            await foreach (var item in hub.StreamAsync<string>("Shout", up.Reader))
            {
                heard.Add(item);
                if (heard.Count < said.Length) up.Writer.TryWrite(said[heard.Count]);
                else up.Writer.Complete();
            }
            return heard;
        });
        await Check("upload that fails", Broke("UploadSum") + "HubException: Stream errored by client: 'System.InvalidOperationException: no more", async () =>
        {
            var items = Channel.CreateUnbounded<int>();
            items.Writer.TryWrite(1);
            items.Writer.Complete(new InvalidOperationException("no more"));
            return (await Failure(hub.InvokeAsync<int>("UploadSum", items.Reader))).Split('\n')[0]; // without the client's stack trace
        });
        await Check("alive after uploads", "fine", async () => await hub.InvokeAsync<string>("Echo", "fine"));
    }

    static async Task ClientResults(HubConnection a, HubConnection b)
    {
        Task<string> AskB() => a.InvokeAsync<string>("AskConnection", b.ConnectionId, "hello");
        using var answerOfA = a.On("Ask", (string question) => $"{question}!");
        using (b.On("Ask", async (string question) => $"{question} from b, {await b.InvokeAsync<string>("Echo", "asking meanwhile")}"))
        {
            await Check("result of the caller", "answer: why!", async () => await a.InvokeAsync<string>("AskCaller", "why"));
            await Check("result of another", "answer: hello from b, asking meanwhile", async () => await AskB());
        }
        await Check("result of nobody", Broke("AskConnection") + "IOException: Connection 'nobody' does not exist.",
            async () => await Failure(a.InvokeAsync<string>("AskConnection", "nobody", "hello")));
        using (b.On("Ask", (string question) => (string?)null))
            await Check("null result of another", "answer: ", async () => await AskB());
        using (b.On<string, string>("Ask", Clueless))
            await Check("result handler that throws", Broke("AskConnection") + "HubException: no idea", async () => await Failure(AskB()));
        static string Clueless(string question) => throw new InvalidOperationException("no idea");
        await Check("no result handler", Broke("AskConnection") + "HubException: Client failed to parse argument(s).", async () => await Failure(AskB()));
    }

    async Task Addressing(Listener[] clients)
    {
        var (a, b, c) = (clients[0].Hub, clients[1].Hub, clients[2].Hub);
        var group = $"group {tag}";
        Task Goes(string name, string want, string method, params object?[] arguments) =>
            Check(name, want, async () => await WhoGets(clients, want, text => a.InvokeCoreAsync(method, [.. arguments, text])));
        await Goes("to all", "abc", "SendAll");
        await Goes("to the caller", "a", "SendCaller");
        await Goes("to the others", "bc", "SendOthers");
        await Goes("to all except some", "c", "SendAllExcept", new object[] { new[] { a.ConnectionId, b.ConnectionId } });
        await Goes("to one connection", "b", "SendConnection", b.ConnectionId);
        await Goes("to some connections", "ab", "SendConnections", new object[] { new[] { a.ConnectionId, b.ConnectionId, "nobody" } });
        await a.InvokeAsync("Join", group);
        await b.InvokeAsync("Join", group);
        await Goes("to a group", "ab", "SendGroup", group);
        await Goes("to the others in a group", "b", "SendOthersInGroup", group);
        await Goes("to a group except some", "a", "SendGroupExcept", group, new[] { b.ConnectionId });
        await Goes("group names have case", "", "SendGroup", group.ToUpperInvariant());
        await a.InvokeAsync("JoinOther", c.ConnectionId, group);
        await a.InvokeAsync("LeaveOther", b.ConnectionId, group);
        await Goes("after joining and leaving", "ac", "SendGroup", group);
        await a.InvokeAsync("Leave", group);
        await Goes("to several groups", "c", "SendGroups", new object[] { new[] { group, "nobody's" } });
    }

    async Task Users()
    {
        var clients = await Task.WhenAll(Open("1", user: $"u {tag}"), Open("2", user: $"u {tag}"), Open("3", user: $"v {tag}"));
        Task Goes(string name, string want, string method, object to) =>
            Check(name, want, async () => await WhoGets(clients, want, text => clients[2].Hub.InvokeAsync(method, to, text)));
        await Check("signed in", new[] { $"u {tag}", $"secret for u {tag}" }, async () =>
            new[] { await clients[0].Hub.InvokeAsync<string>("WhoAmI"), await clients[1].Hub.InvokeAsync<string>("Secret") });
        await Goes("to a user", "12", "SendUser", $"u {tag}");
        await Goes("to several users", "123", "SendUsers", new[] { $"u {tag}", $"v {tag}" });
        var inside = await Open("4", user: $"w {tag}", path: "/reference-authorized");
        await Check("authorized hub", $"w {tag}", async () => await inside.Hub.InvokeAsync<string>("WhoAmI"));
    }

    async Task Refusals()
    {
        const string closed = "The server closed the connection with the following error: Connection closed with an error. ";
        await Check("authorized hub, anonymous", "Response status code does not indicate success: 401 (Unauthorized).",
            async () => await Failure(Build(path: "/reference-authorized").StartAsync()));
        await Check("refused by the hub", closed + "InvalidOperationException: connect refused", async () =>
        {
            var (hub, end) = WithEnd(Build(path: "/reference?onconnected=throw"));
            await hub.StartAsync();
            return (await end)?.Message;
        });
        await Check("message too large", closed + "InvalidDataException: The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions.", async () =>
        {
            var (hub, end) = WithEnd((await Open("large")).Hub);
            _ = Failure(hub.SendAsync("Echo", new string('x', 40_000))); // may fail as the server closes
            return (await end)?.Message;
        });
    }

    async Task Endings(HubConnection other)
    {
        await Check("aborted by the server, not reconnected", new object?[] { null, 0 }, async () =>
        {
            var listener = await Open("d", reconnect: true);
            var (hub, end) = WithEnd(listener.Hub);
            await hub.SendAsync("AbortMe");
            return new object?[] { (await end)?.Message, listener.Losses };
        });
        await Check("cut, then reconnected with a new id", new object[] { true, true, "back" }, async () =>
        {
            var hub = (await Open("e", reconnect: true, at: proxy)).Hub;
            var before = hub.ConnectionId;
            var again = new TaskCompletionSource<string?>();
            hub.Reconnected += id => { again.SetResult(id); return Task.CompletedTask; };
            hub.Closed += error => { again.TrySetException(error ?? new InvalidOperationException("it closed")); return Task.CompletedTask; };
            using var http = new HttpClient();
            (await http.PostAsync($"{cutter}/cut?how=reset", null)).EnsureSuccessStatusCode();
            var id = await again.Task;
            return new object[] { id != before, id == await hub.InvokeAsync<string>("MyConnectionId"), await hub.InvokeAsync<string>("Echo", "back") };
        });
        await Check("stopped", new object?[] { null, "Disconnected", 0 }, async () =>
        {
            var listener = await Open("f", reconnect: true);
            var (hub, end) = WithEnd(listener.Hub);
            await hub.StopAsync();
            return new object?[] { (await end)?.Message, hub.State.ToString(), listener.Losses };
        });
        await Check("stopped, as others see it", true, async () =>
        {
            var hub = (await Open("g")).Hub;
            var id = hub.ConnectionId;
            await hub.StopAsync();
            var text = await Failure(other.InvokeAsync<string>("AskConnection", id, "there?"));
            var gone = Broke("AskConnection") + $"IOException: Connection '{id}' ";
            return text == gone + "does not exist." || text == gone + "disconnected." ? true : text;
        });
    }

    // A stock client finds out by itself that an event stream cannot carry bytes.
    Task RefusedEncoding() => Check("binary over an event stream", true, async () =>
        (await Failure(Build().StartAsync())).Contains("(ServerSentEvents failed: The transport does not support the 'Binary' transfer format.)"));

    // ---- how

    static string Broke(string method) => $"An unexpected error occurred invoking '{method}' on the server. ";
    static string Refused(string method) => $"Failed to invoke '{method}' due to an error on the server. ";

    HubConnection Build(string? user = null, string path = "/reference", string? at = null, bool reconnect = false)
    {
        var builder = new HubConnectionBuilder().WithUrl((at ?? server) + path, Enum.Parse<HttpTransportType>(transport), options =>
        {
            if (user != null) options.AccessTokenProvider = () => Task.FromResult<string?>(user);
        });
        if (!json) builder.AddMessagePackProtocol();
        if (reconnect) builder.WithAutomaticReconnect([.. new[] { 0, 50, 100, 200, 500, 1000, 2000 }.Select(ms => TimeSpan.FromMilliseconds(ms))]);
        return builder.Build();
    }

    async Task<Listener> Open(string name, string? user = null, string path = "/reference", string? at = null, bool reconnect = false)
    {
        var listener = new Listener(name, Build(user, path, at, reconnect));
        lock (opened) opened.Add(listener.Hub);
        await listener.Hub.StartAsync();
        return listener;
    }

    static (HubConnection, Task<Exception?>) WithEnd(HubConnection hub)
    {
        var end = new TaskCompletionSource<Exception?>();
        hub.Closed += error => { end.TrySetResult(error); return Task.CompletedTask; };
        return (hub, end.Task);
    }

    // WhoGets sends a text and returns the names of those whom it reached, twice if it came
    // twice. Those who should get it are awaited; then everybody is sent another text, behind
    // which nothing can be on its way to those who should not.
    async Task<string> WhoGets(Listener[] clients, string wanted, Func<string, Task> send)
    {
        var (text, end) = ($"{tag} {++sent}", $"{tag} {sent} end");
        await send(text);
        await Task.WhenAll(clients.Where(client => wanted.Contains(client.Name)).Select(client => client.Arrival(text)));
        await clients[0].Hub.InvokeAsync("SendConnections", clients.Select(client => client.Hub.ConnectionId).ToArray(), end);
        await Task.WhenAll(clients.Select(client => client.Arrival(end)));
        return string.Concat(clients.Select(client => string.Concat(Enumerable.Repeat(client.Name, client.Count(text)))));
    }

    record Items<T>(List<T> Came, string? Error);

    static async Task<Items<T>> Collect<T>(IAsyncEnumerable<T> stream)
    {
        var came = new List<T>();
        try
        {
            await foreach (var item in stream) came.Add(item);
            return new(came, null);
        }
        catch (Exception error)
        {
            return new(came, error.Message);
        }
    }

    static async IAsyncEnumerable<T> Feed<T>(IEnumerable<T> items, TaskCompletionSource? sent = null, Task? endWith = null)
    {
        foreach (var item in items)
        {
            await Task.Yield();
            yield return item;
        }
        sent?.SetResult(); // the last item: this continues after that
        if (endWith != null) await endWith;
    }
}
