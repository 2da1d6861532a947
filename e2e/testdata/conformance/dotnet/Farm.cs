using System.Collections.Concurrent;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;

namespace Conformance;

/// <summary>
/// Holds connections of the stock .NET client, and does with them what standard input
/// says, until it ends. Both ways it speaks as farm.mjs does.
/// </summary>
sealed class Farm
{
    static readonly JsonSerializerOptions Web = new(JsonSerializerDefaults.Web) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    readonly ConcurrentDictionary<string, HubConnection> connections = [];

    record Command(int Call, string Do, string Connection, string? Url, string? Encoding, string? User, string? Method, JsonElement[]? Arguments);

    public async Task Run()
    {
        while (await Console.In.ReadLineAsync() is { } line)
            _ = Answer(JsonSerializer.Deserialize<Command>(line, Web)!); // the next may begin before this one is done
    }

    async Task Answer(Command command)
    {
        try
        {
            Print(new { command.Call, Result = await Do(command) });
        }
        catch (Exception error)
        {
            Print(new { command.Call, Error = error.Message });
        }
    }

    Task<string?> Do(Command command) => command.Do switch
    {
        "open" => Open(command),
        "invoke" => connections[command.Connection].InvokeCoreAsync<string?>(command.Method!, [.. command.Arguments!.Select(Argument)]),
        "close" => Close(command),
        _ => throw new InvalidOperationException($"what is {command.Do}?"),
    };

    async Task<string?> Open(Command command)
    {
        var builder = new HubConnectionBuilder()
            .WithUrl(command.Url!, options => options.AccessTokenProvider = () => Task.FromResult(command.User));
        if (command.Encoding == "messagepack") builder.AddMessagePackProtocol();
        var hub = connections[command.Connection] = builder.Build();
        void Report(string method, params string[] arguments) => Print(new { command.Connection, method, arguments });
        hub.On<string>("Message", text => Report("Message", text));
        hub.On<string, string>("ReceiveMessage", (sender, text) => Report("ReceiveMessage", sender, text));
        hub.On("Ask", async (string question) =>
        {
            Report("Ask", question);
            if (question == "fail") throw new InvalidOperationException("no idea");
            if (question == "silence") await Task.Delay(Timeout.Infinite);
            return $"{question} by {command.Connection}";
        });
        hub.Closed += error =>
        {
            Report("closed", error == null ? [] : [error.Message]);
            return Task.CompletedTask;
        };
        await hub.StartAsync();
        return hub.ConnectionId;
    }

    async Task<string?> Close(Command command)
    {
        await connections[command.Connection].StopAsync();
        return null;
    }

    static object? Argument(JsonElement value) =>
        value.ValueKind == JsonValueKind.Array ? value.Deserialize<string[]>() : value.Deserialize<string>();

    static void Print<T>(T line) => Console.WriteLine(JsonSerializer.Serialize(line, Web));
}
