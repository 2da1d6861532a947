package edge

import (
	"net/http"
	"slices"
	"strings"
)

// forwardedBy are the hops that X-Forwarded-* tell of, the last one at the end.
// A scheme or a host belongs to the hop at its place if there is one for each
// hop, else to the last: a proxy that does not add to what it got replaces it.
func forwardedBy(header http.Header) []origin {
	clients, schemes, hosts := list(header, "X-Forwarded-For"), list(header, "X-Forwarded-Proto"), list(header, "X-Forwarded-Host")
	hops := make([]origin, max(1, len(clients)))
	for i, text := range clients {
		hops[i].client = parseNode(text)
	}
	last := len(hops) - 1
	for i := range hops {
		if len(schemes) == len(hops) {
			hops[i].scheme = checkScheme(schemes[i])
		}
		if len(hosts) == len(hops) {
			hops[i].host = checkHost(hosts[i])
		}
	}
	if n := len(schemes); n > 0 && n != len(hops) {
		hops[last].scheme = checkScheme(schemes[n-1])
	}
	if n := len(hosts); n > 0 && n != len(hops) {
		hops[last].host = checkHost(hosts[n-1])
	}
	return hops
}

// list is a header that is a list, over however many lines it goes.
func list(header http.Header, name string) (values []string) {
	for _, line := range header[name] {
		for value := range strings.SplitSeq(line, ",") {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// forwarded are the hops that Forwarded tells of (RFC 7239 §4), the last one at the
// end. It is read from there: what a client has written cannot spoil what a proxy has
// put behind it. An element that is malformed tells nothing.
func forwarded(header http.Header) (hops []origin) {
	for _, text := range elements(strings.Join(header["Forwarded"], ",")) {
		hops = append(hops, parseElement(text))
	}
	return hops
}

// elements are the parts of a list between commas that are not quoted.
func elements(text string) (parts []string) {
	end, quoted := len(text), false
	for i := len(text) - 1; i >= 0; i-- {
		switch {
		case text[i] == '"' && !strings.HasSuffix(text[:i], `\`):
			quoted = !quoted
		case text[i] == ',' && !quoted:
			parts = append(parts, text[i+1:end])
			end = i
		}
	}
	parts = append(parts, text[:end])
	slices.Reverse(parts)
	return parts
}

func parseElement(text string) (hop origin) {
	for more := true; more; {
		var name, value string
		if name, value, text, more = pair(text); name == "" {
			return origin{}
		}
		switch strings.ToLower(name) {
		case "for":
			hop.client = parseNode(value)
		case "proto":
			hop.scheme = checkScheme(value)
		case "host":
			hop.host = checkHost(value)
		}
	}
	return hop
}

// pair takes name=value or name="value" off the beginning of an element, and says
// whether another one follows. The name is empty where there is none.
func pair(text string) (name, value, rest string, more bool) {
	name, value, ok := strings.Cut(strings.Trim(text, " \t"), "=")
	if !ok {
		return "", "", "", false
	}
	if quoted, ok := strings.CutPrefix(value, `"`); ok {
		// Nothing that we take has a quote in it, or what is written with a backslash.
		value, rest, ok = strings.Cut(quoted, `"`)
		if !ok || rest != "" && rest[0] != ';' {
			return "", "", "", false
		}
		rest, more = strings.CutPrefix(rest, ";")
		return name, value, rest, more
	}
	value, rest, more = strings.Cut(value, ";")
	return name, value, rest, more
}

// checkScheme is empty for what is none that we serve.
func checkScheme(text string) string {
	switch text = strings.ToLower(text); text {
	case "http", "https":
		return text
	}
	return ""
}

// checkHost is empty for what can be no host with or without a port.
func checkHost(text string) string {
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(".-_:[]", c) >= 0:
		default:
			return ""
		}
	}
	return text
}
