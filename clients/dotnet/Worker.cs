using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using StackExchange.Redis;

namespace Clients;

/// <summary>What a worker publishes. Its names begin with capitals on the wire.</summary>
record Notification(string? User, string Message);

/// <summary>
/// Publishes notifications, which every signalrd hands to its clients. REDIS_URL
/// says where Redis is, by default redis://127.0.0.1:6379. NOTIFY_KEYS_FILE names
/// the file with the key that they are signed with; without it they are not.
/// </summary>
sealed class Worker
{
    const string Channel = "notify.users";

    string? user;
    int count = 1;
    string? message;
    SigningKey? key;

    public static bool TryParse(string[] args, [NotNullWhen(true)] out Worker? worker)
    {
        var parsed = worker = new Worker();
        for (; args is not []; )
        {
            switch (args)
            {
                case ["--user", var user, .. var rest]:
                    (parsed.user, args) = (user, rest);
                    break;
                case ["--count", var n, .. var rest] when int.TryParse(n, out var count) && count > 0:
                    (parsed.count, args) = (count, rest);
                    break;
                case [var message, .. var rest] when parsed.message is null && !message.StartsWith("--"):
                    (parsed.message, args) = (message, rest);
                    break;
                default:
                    return false;
            }
        }
        return parsed.message is not null;
    }

    public async Task<int> Run()
    {
        try
        {
            if (Environment.GetEnvironmentVariable("NOTIFY_KEYS_FILE") is { Length: > 0 } file)
                key = SigningKey.Read(file);
            await using var redis = await ConnectionMultiplexer.ConnectAsync(Address());
            var servers = await Publish(redis.GetSubscriber());
            Console.WriteLine($"published {count}, heard by {servers} server{(servers == 1 ? "" : "s")}");
            return 0;
        }
        catch (Exception error) when (error is RedisException or UriFormatException or IOException or UnauthorizedAccessException or InvalidDataException)
        {
            Console.Error.WriteLine($"not published: {error.Message}");
            return 1;
        }
    }

    async Task<long> Publish(ISubscriber redis)
    {
        const int batch = 1000; // what is not awaited one by one travels together
        long servers = 0;
        for (var first = 1; first <= count; first += batch)
        {
            var sent = new List<Task<long>>();
            for (var i = first; i < first + batch && i <= count; i++)
            {
                var notification = new Notification(user, count > 1 ? $"{message} {i}" : message!);
                sent.Add(redis.PublishAsync(RedisChannel.Literal(Channel), Payload(notification)));
            }
            servers = Math.Max(servers, (await Task.WhenAll(sent)).Max());
        }
        return servers;
    }

    string Payload(Notification n) => key is null
        ? JsonSerializer.Serialize(n)
        : JsonSerializer.Serialize(key.Sign(Channel, n.User, n.Message, Guid.NewGuid().ToString(), DateTimeOffset.UtcNow.ToUnixTimeSeconds()));

    static ConfigurationOptions Address()
    {
        var url = new Uri(Environment.GetEnvironmentVariable("REDIS_URL") is { Length: > 0 } set ? set : "redis://127.0.0.1:6379");
        var options = new ConfigurationOptions
        {
            EndPoints = { { url.Host, url.Port > 0 ? url.Port : 6379 } },
            Ssl = url.Scheme == "rediss",
            // Nothing but this is asked of Redis, so that a worker's user needs no more rights.
            CommandMap = CommandMap.Create(["AUTH", "PING", "PUBLISH"]),
            ConfigurationChannel = "",
        };
        if (url.UserInfo.Split(':', 2) is [var name, var password])
        {
            options.User = name.Length > 0 ? Uri.UnescapeDataString(name) : null;
            options.Password = Uri.UnescapeDataString(password);
        }
        return options;
    }
}
