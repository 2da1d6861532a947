package transport

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// anyOrigin in a list of origins admits them all.
const anyOrigin = "*"

// origins is a checked list of origins.
type origins struct {
	any  bool
	list map[string]struct{} // in their canonical form
}

// ParseOrigins checks a list of origins: each is scheme://host or
// scheme://host:port, or "*" for any. It returns them as browsers spell them:
// in lower case, without a port that the scheme implies. The error names the
// first one that is wrong and says how to write it.
func ParseOrigins(list []string) ([]string, error) {
	canonical := make([]string, 0, len(list))
	for _, text := range list {
		if text == anyOrigin {
			canonical = append(canonical, anyOrigin)
			continue
		}
		o, err := parseOrigin(text)
		if err != nil {
			return nil, err
		}
		canonical = append(canonical, o.String())
	}
	return canonical, nil
}

// mustParse is for lists that the program has checked or written itself.
func mustParse(list []string) origins {
	canonical, err := ParseOrigins(list)
	if err != nil {
		panic("transport: " + err.Error())
	}
	set := origins{list: make(map[string]struct{}, len(canonical))}
	for _, text := range canonical {
		set.any = set.any || text == anyOrigin
		set.list[text] = struct{}{}
	}
	return set
}

// origin is where a page comes from, in lower case. An empty port is the
// scheme's own.
type origin struct{ scheme, host, port string }

func parseOrigin(text string) (origin, error) {
	if !strings.Contains(text, "://") {
		return origin{}, fmt.Errorf("origin %q: the scheme is missing: write http://%s or https://%s", text, text, text)
	}
	u, err := url.Parse(text)
	if err != nil {
		return origin{}, fmt.Errorf("origin %q: %w: write it like https://example.com or http://localhost:3000", text, err)
	}
	o := origin{strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()}
	switch {
	case o.host == "":
		return origin{}, fmt.Errorf("origin %q: the host is missing: write it like https://example.com", text)
	case strings.Contains(o.host, "*"):
		return origin{}, fmt.Errorf("origin %q: part of a host cannot be any: list each origin, or \"*\" alone for all", text)
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil || strings.HasSuffix(text, "#"):
		return origin{}, fmt.Errorf("origin %q: an origin is only scheme, host and port: write %q", text, o)
	}
	if o.port == impliedPort(o.scheme) {
		o.port = ""
	}
	return o, nil
}

func (o origin) String() string {
	host := o.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if o.port != "" {
		host += ":" + o.port
	}
	return o.scheme + "://" + host
}

func impliedPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// lists says whether the list admits the value of an Origin header.
func (s origins) lists(text string) bool {
	if s.any {
		return true
	}
	o, err := parseOrigin(text)
	if err != nil {
		return false
	}
	_, listed := s.list[o.String()]
	return listed
}

// admit says whether a WebSocket may be opened: by a program that names no
// origin, by a page from the server's own host, or by one from a listed
// origin. Browsers do not apply CORS to WebSockets, so that without this check
// any page could ride on a visitor's cookies.
func (s origins) admit(r *http.Request) bool {
	values := r.Header["Origin"]
	switch {
	case len(values) == 0:
		return true
	case len(values) > 1:
		return false
	}
	return s.lists(values[0]) || isOwnHost(values[0], r.Host)
}

// isOwnHost compares host and port, not the scheme: a proxy that ends TLS
// leaves the server unaware of it.
func isOwnHost(text, own string) bool {
	o, err := parseOrigin(text)
	if err != nil {
		return false
	}
	host, port, err := net.SplitHostPort(own)
	if err != nil { // no port
		host, port = strings.Trim(own, "[]"), ""
	}
	if port == impliedPort(o.scheme) {
		port = ""
	}
	return strings.EqualFold(host, o.host) && port == o.port
}

// shownOrigin is the origin of a request as the log has it: a client may send
// anything, a token as well.
func shownOrigin(r *http.Request) string {
	text := r.Header.Get("Origin")
	if text == "null" { // a page that has none, such as one from a file
		return text
	}
	o, err := parseOrigin(text)
	if err != nil {
		return "(malformed)"
	}
	return o.String()
}
