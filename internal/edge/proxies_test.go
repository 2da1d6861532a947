package edge

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// arriving is a request from a peer, with headers as "Name: value" lines.
func arriving(peer string, lines ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/chathub", nil)
	r.RemoteAddr, r.Host = peer, "inner:5000"
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func proxies(t *testing.T, header string, list ...string) Proxies {
	t.Helper()
	p, err := ParseProxies(list, header)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestForwarded(t *testing.T) {
	const near, far = "10.0.0.1:1234", "203.0.113.9:4711"
	for _, test := range []struct {
		name                 string
		header               string
		peer                 string
		lines                []string
		client, scheme, host string
	}{
		{"nothing said", "x-forwarded", near, nil, near, "http", "inner:5000"},
		{"all said", "x-forwarded", near, []string{"X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: HTTPS", "X-Forwarded-Host: chat.example.com"}, "192.0.2.7:0", "https", "chat.example.com"},
		{"from elsewhere", "x-forwarded", far, []string{"X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: chat.example.com"}, far, "http", "inner:5000"},
		{"from elsewhere, Forwarded", "forwarded", far, []string{"Forwarded: for=192.0.2.7;proto=https;host=chat.example.com"}, far, "http", "inner:5000"},
		{"the client has lied", "x-forwarded", near, []string{"X-Forwarded-For: 1.1.1.1, 10.9.9.9, 192.0.2.7"}, "192.0.2.7:0", "http", "inner:5000"},
		{"the client has lied, on lines of its own", "x-forwarded", near, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 192.0.2.7"}, "192.0.2.7:0", "http", "inner:5000"},
		{"two proxies", "x-forwarded", near, []string{"X-Forwarded-For: 192.0.2.7, 10.0.0.2"}, "192.0.2.7:0", "http", "inner:5000"},
		{"two proxies, each with its scheme", "x-forwarded", near, []string{"X-Forwarded-For: 1.1.1.1, 192.0.2.7, 10.0.0.2", "X-Forwarded-Proto: http, https, http", "X-Forwarded-Host: evil.example, chat.example.com, second:80"}, "192.0.2.7:0", "https", "chat.example.com"},
		{"two proxies, the last replaces the scheme", "x-forwarded", near, []string{"X-Forwarded-For: 192.0.2.7, 10.0.0.2", "X-Forwarded-Proto: https"}, "192.0.2.7:0", "https", "inner:5000"},
		{"more schemes than hops", "x-forwarded", near, []string{"X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https, http", "X-Forwarded-Host: evil.example, chat.example.com"}, "192.0.2.7:0", "http", "chat.example.com"},
		{"proxies only", "x-forwarded", near, []string{"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, "10.0.0.3:0", "http", "inner:5000"},
		{"a scheme alone", "x-forwarded", near, []string{"X-Forwarded-Proto: https"}, near, "https", "inner:5000"},
		{"with a port", "x-forwarded", near, []string{"X-Forwarded-For: 192.0.2.7:99"}, "192.0.2.7:99", "http", "inner:5000"},
		{"IPv6", "x-forwarded", near, []string{"X-Forwarded-For: 2001:db8::7"}, "[2001:db8::7]:0", "http", "inner:5000"},
		{"IPv6 with a port", "x-forwarded", near, []string{"X-Forwarded-For: [2001:db8::7]:99"}, "[2001:db8::7]:99", "http", "inner:5000"},
		{"IPv4 within IPv6", "x-forwarded", "[::ffff:10.0.0.1]:1234", []string{"X-Forwarded-For: ::ffff:192.0.2.7"}, "192.0.2.7:0", "http", "inner:5000"},
		{"a proxy with IPv6", "x-forwarded", "[fd00::1]:1234", []string{"X-Forwarded-For: 192.0.2.7"}, "192.0.2.7:0", "http", "inner:5000"},
		{"a proxy on a link", "x-forwarded", "[fd00::1%eth0]:1234", []string{"X-Forwarded-For: 192.0.2.7"}, "192.0.2.7:0", "http", "inner:5000"},
		{"garbage", "x-forwarded", near, []string{"X-Forwarded-For: 192.0.2.7, somewhere", "X-Forwarded-Proto: gopher", "X-Forwarded-Host: a b"}, near, "http", "inner:5000"},
		{"empty", "x-forwarded", near, []string{"X-Forwarded-For: ", "X-Forwarded-Host: "}, near, "http", "inner:5000"},
		{"by a Unix socket", "x-forwarded", "@", []string{"X-Forwarded-For: 192.0.2.7"}, "192.0.2.7:0", "http", "inner:5000"},
		{"by a Unix socket, nothing said", "x-forwarded", "@", nil, "@", "http", "inner:5000"},
		{"Forwarded is not asked for", "x-forwarded", near, []string{"Forwarded: for=192.0.2.7;proto=https"}, near, "http", "inner:5000"},
		{"X-Forwarded-For is not asked for", "forwarded", near, []string{"X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https"}, near, "http", "inner:5000"},

		{"Forwarded", "forwarded", near, []string{"Forwarded: for=192.0.2.7;proto=https;host=chat.example.com;by=10.0.0.1"}, "192.0.2.7:0", "https", "chat.example.com"},
		{"Forwarded, quoted", "forwarded", near, []string{`Forwarded: For="[2001:db8::7]:99";Proto=https;Host="chat.example.com:8443"`}, "[2001:db8::7]:99", "https", "chat.example.com:8443"},
		{"Forwarded, the client has lied", "forwarded", near, []string{`Forwarded: for=1.1.1.1;host=evil.example, for=192.0.2.7`}, "192.0.2.7:0", "http", "inner:5000"},
		{"Forwarded, an open quote before it", "forwarded", near, []string{`Forwarded: for="1.1.1.1`, `Forwarded: for=192.0.2.7;proto=https`}, "192.0.2.7:0", "https", "inner:5000"},
		{"Forwarded, an escape before it", "forwarded", near, []string{`Forwarded: for="1.1.1.1\`, `Forwarded: for="192.0.2.7"`}, "192.0.2.7:0", "http", "inner:5000"},
		{"Forwarded, two proxies", "forwarded", near, []string{`Forwarded: for=192.0.2.7;proto=https;host=chat.example.com`, `Forwarded: for=10.0.0.2;proto=http`}, "192.0.2.7:0", "https", "chat.example.com"},
		{"Forwarded, unknown", "forwarded", near, []string{"Forwarded: for=unknown;proto=https"}, near, "https", "inner:5000"},
		{"Forwarded, obfuscated", "forwarded", near, []string{`Forwarded: for=192.0.2.1, for="_hidden:_port";proto=https`}, near, "https", "inner:5000"},
		{"Forwarded, obfuscated port", "forwarded", near, []string{`Forwarded: for="192.0.2.7:_port"`}, "192.0.2.7:0", "http", "inner:5000"},
		{"Forwarded, malformed", "forwarded", near, []string{`Forwarded: for`, `Forwarded: ;;;`}, near, "http", "inner:5000"},
		{"Forwarded, empty", "forwarded", near, []string{`Forwarded: `}, near, "http", "inner:5000"},
	} {
		p := proxies(t, test.header, "10.0.0.0/8", "fd00::1", "unix")
		r := arriving(test.peer, test.lines...)
		p.rewrite(r)
		if r.RemoteAddr != test.client || r.URL.Scheme != test.scheme || r.Host != test.host {
			t.Errorf("%s: %s, %s, %s, want %s, %s, %s", test.name, r.RemoteAddr, r.URL.Scheme, r.Host, test.client, test.scheme, test.host)
		}
	}
}

// Without trusted proxies only the connection counts.
func TestNobodyIsTrusted(t *testing.T) {
	var none Proxies
	for _, peer := range []string{"127.0.0.1:1", "@"} {
		r := arriving(peer, "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example", "Forwarded: for=192.0.2.7")
		none.rewrite(r)
		if r.RemoteAddr != peer || r.URL.Scheme != "http" || r.Host != "inner:5000" {
			t.Errorf("%s: %s, %s, %s", peer, r.RemoteAddr, r.URL.Scheme, r.Host)
		}
	}
	secure := arriving("127.0.0.1:1")
	secure.TLS = new(tls.ConnectionState)
	secure.URL.Scheme = "gopher" // as in GET gopher://host/
	none.rewrite(secure)
	if secure.URL.Scheme != "https" {
		t.Errorf("with TLS the scheme is %s", secure.URL.Scheme)
	}
}

func TestClient(t *testing.T) {
	for remote, want := range map[string]netip.Addr{
		"192.0.2.7:0":          netip.MustParseAddr("192.0.2.7"),
		"[::ffff:192.0.2.7]:9": netip.MustParseAddr("192.0.2.7"),
		"[2001:db8::7]:9":      netip.MustParseAddr("2001:db8::7"),
		"@":                    {},
		"":                     {},
	} {
		if got := Client(arriving(remote)); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

func TestParseProxies(t *testing.T) {
	p := proxies(t, "x-forwarded", "10.1.2.3/8", "::ffff:192.0.2.1")
	for addr, want := range map[string]bool{"10.9.9.9": true, "11.0.0.1": false, "192.0.2.1": true, "192.0.2.2": false} {
		if p.trusts(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s is trusted: %v", addr, !want)
		}
	}
	for text, says := range map[string]string{"all": "say a network", "10.0.0.0/33": "say a network", "0.0.0.0/0": "everybody", "::/0": "everybody", "": "say a network"} {
		if _, err := ParseProxies([]string{text}, "x-forwarded"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{"for=192.0.2.7;proto=https", `for="[2001:db8::7]:99", for=a;host="\"`, `",;=\`, "=", `a="`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const added = "for=192.0.2.7;proto=https;host=chat.example.com"
		for _, header := range []http.Header{{"Forwarded": {text, added}}, {"Forwarded": {text + ", " + added}}} {
			hops := forwarded(header)
			if last := hops[len(hops)-1]; last.client.Addr().String() != "192.0.2.7" || last.scheme != "https" || last.host != "chat.example.com" {
				t.Errorf("behind %q the proxy says %+v", text, last)
			}
		}
	})
}
