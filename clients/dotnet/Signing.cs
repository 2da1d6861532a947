using System.Security.Cryptography;
using System.Text;

namespace Clients;

/// <summary>A notification with all that belongs to a signature.</summary>
record SignedNotification(string? User, string Message, string Id, long Time, string Key, string Signature);

/// <summary>Signs notifications, for servers that take no others (docs/notifications.md).</summary>
sealed record SigningKey(string Id, string Secret)
{
    /// <summary>The first key of a file, on each line of which there is one: an id and a secret.</summary>
    public static SigningKey Read(string file)
    {
        foreach (var line in File.ReadLines(file))
        {
            if (line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries) is [var id, var secret] && !id.StartsWith('#'))
                return new SigningKey(id, secret);
        }
        throw new InvalidDataException($"{file}: there is no key in it");
    }

    /// <summary>Signs a notification, which has an id of its own, at a time in seconds since 1970.</summary>
    public SignedNotification Sign(string channel, string? user, string message, string id, long time)
    {
        string[] signed = ["signalrd notification 1", channel, Id, time.ToString(), id, user ?? "", message];
        var text = string.Concat(signed.Select(part => $"{Encoding.UTF8.GetByteCount(part)}:{part},"));
        var signature = HMACSHA256.HashData(Encoding.UTF8.GetBytes(Secret), Encoding.UTF8.GetBytes(text));
        return new(user, message, id, time, Id, Convert.ToHexString(signature));
    }
}
