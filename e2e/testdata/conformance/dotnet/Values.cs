namespace Conformance;

/// <summary>What the hub's EchoComplex takes and returns.</summary>
public record Complex
{
    public string? Text { get; init; }
    public int[]? Numbers { get; init; }
    public byte[]? Bytes { get; init; }
    public DateTime When { get; init; }
    public Guid Id { get; init; }
    public double Ratio { get; init; }
    public bool Flag { get; init; }
    public Complex? Inner { get; init; }
    public Dictionary<string, int>? Map { get; init; }
}

/// <summary>One of the values that SendTypes sends.</summary>
public record Named(string Name, int CamelCase)
{
    public Named() : this("", 0) { } // for MessagePack
}
