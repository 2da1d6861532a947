using System.Runtime.InteropServices;
using Microsoft.AspNetCore.SignalR.Client;

namespace Clients;

/// <summary>
/// Prints what a hub sends, and says what is typed. Standard output has one line
/// "connected URL as NAME" and then one line "SENDER: TEXT" for each message. Each
/// line of standard input is sent as a chat message. SIGINT and SIGTERM end it.
/// </summary>
static class Listener
{
    public static async Task<int> Run(string url, string? name)
    {
        using var stop = new CancellationTokenSource();
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, End);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, End);

        await using var connection = new HubConnectionBuilder()
            .WithUrl(url, options =>
            {
                if (!string.IsNullOrEmpty(name)) options.AccessTokenProvider = () => Task.FromResult<string?>(name);
            })
            .WithAutomaticReconnect(new ForGood())
            .Build();
        connection.On<string?, string?>("ReceiveMessage", (sender, text) => Console.WriteLine($"{OneLine(sender)}: {OneLine(text)}"));
        connection.Reconnecting += error => Console.Error.WriteLineAsync($"connection lost: {error?.Message}");
        connection.Reconnected += _ => Console.Error.WriteLineAsync("connected again");

        try
        {
            await Start(connection, stop.Token);
            Console.WriteLine($"connected {url} as {(string.IsNullOrEmpty(name) ? "Anonymous" : name)}");
            // Reading the console cannot be cancelled, so nothing waits for it.
            _ = Task.Run(() => Say(connection));
            await Task.Delay(Timeout.Infinite, stop.Token);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
        }
        return 0;

        void End(PosixSignalContext signal)
        {
            signal.Cancel = true; // not at once: the connection is closed first
            stop.Cancel();
        }
    }

    // Automatic reconnection begins with the first connection, so the first is
    // tried until it succeeds.
    static async Task Start(HubConnection connection, CancellationToken stop)
    {
        for (; ; await Task.Delay(1000, stop))
        {
            try
            {
                await connection.StartAsync(stop);
                return;
            }
            catch (Exception error) when (error is not OperationCanceledException)
            {
                Console.Error.WriteLine($"not connected: {error.Message}");
            }
        }
    }

    static async Task Say(HubConnection connection)
    {
        while (Console.In.ReadLine() is { } line)
        {
            try
            {
                await connection.InvokeAsync("SendMessage", line);
            }
            catch (Exception error)
            {
                Console.Error.WriteLine($"not sent: {error.Message}");
            }
        }
    }

    static string OneLine(string? text) => text?.ReplaceLineEndings(" ") ?? "null";

    sealed class ForGood : IRetryPolicy
    {
        public TimeSpan? NextRetryDelay(RetryContext lost) =>
            TimeSpan.FromMilliseconds(Math.Min(100 * Math.Pow(2, lost.PreviousRetryCount), 5000));
    }
}
