package replay

import (
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// canonical writes an outcome so that two that are the same have the same text. JSON is
// compared by what it says: the order of members, how a string is escaped and how a number
// is spelled do not matter. All else is compared as it stands.
func canonical(o Outcome, unordered bool) string {
	plain := struct {
		HTTP     any
		Received map[string][]string
	}{canonicalReport(o.HTTP), make(map[string][]string)}
	for client, frames := range o.Received {
		list := make([]string, len(frames))
		for i, f := range frames {
			list[i] = canonicalFrame(f, unordered)
		}
		if unordered {
			slices.Sort(list)
			list = onePing(list)
		}
		plain.Received[client] = list
	}
	return marshal(plain)
}

// onePing leaves one of a row of pings, which sorting has brought together.
func onePing(list []string) []string {
	ping, packedPing := canonicalFrame(`{"type":6}`, false), canonicalFrame("mp [6]", false)
	return slices.CompactFunc(list, func(a, b string) bool { return a == b && (a == ping || a == packedPing) })
}

// canonicalReport takes what is told of a response; only bodies are looked into.
func canonicalReport(text json.RawMessage) any {
	var told map[string]any
	if json.Unmarshal(text, &told) != nil {
		return string(text)
	}
	switch body := told["body"].(type) {
	case string:
		told["body"] = canonicalText(body)
	case []any: // messages of MessagePack
		for i, f := range body {
			if f, is := f.(string); is {
				body[i] = canonicalFrame(f, false)
			}
		}
	}
	return told
}

func canonicalFrame(text string, unordered bool) string {
	for _, kind := range []kind{data, answer, binary, packed, closed} {
		rest, is := strings.CutPrefix(text, string(kind))
		switch {
		case !is:
			continue
		case kind == answer:
			return text[:len(kind)] + marshal(canonicalReport(json.RawMessage(rest)))
		case kind == data:
			var events string
			if json.Unmarshal([]byte(rest), &events) != nil {
				return text
			}
			return text[:len(kind)] + canonicalEvents(events, unordered)
		}
		return text[:len(kind)] + canonicalText(rest)
	}
	return canonicalText(text)
}

// canonicalEvents takes the text of an event stream.
func canonicalEvents(text string, unordered bool) string {
	if !unordered {
		return canonicalText(text)
	}
	text, head := strings.CutPrefix(text, "data: ")
	records := strings.SplitAfter(text, separator)
	for i, each := range records {
		records[i] = canonicalText(each)
	}
	slices.Sort(records)
	return strconv.FormatBool(head) + strings.Join(records, "")
}

// canonicalText takes JSON, JSON records with or without "data: " before them, or
// anything else, which stays as it is.
func canonicalText(text string) string {
	if rest, is := strings.CutPrefix(text, "data: "); is {
		return "data: " + canonicalText(rest)
	}
	if strings.Contains(text, separator) {
		records := strings.Split(text, separator)
		for i, each := range records {
			records[i] = canonicalText(each)
		}
		return strings.Join(records, separator)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.InputOffset() != int64(len(text)) {
		return text
	}
	return marshal(canonicalValue(v))
}

// canonicalValue puts numbers of one value in one spelling.
func canonicalValue(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = canonicalValue(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = canonicalValue(v[name])
		}
	case json.Number:
		if _, err := v.Float64(); err != nil {
			return v // too large to be written out
		}
		number, _ := new(big.Rat).SetString(v.String())
		return struct{ Number string }{number.RatString()}
	}
	return v
}
