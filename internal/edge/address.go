package edge

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// Address says where to listen.
type Address struct {
	text    string
	network string // "tcp", "unix" or "systemd"
	name    string // host:port; a path; the name of systemd's sockets, empty for all that have not been asked for by name
	scheme  string // "http" or "https"; empty: https over TCP if there is a certificate
}

// String is the address as it was written.
func (a Address) String() string { return a.text }

// NeedsCertificate says whether the address cannot be served without one.
func (a Address) NeedsCertificate() bool { return a.scheme == "https" }

// IsUnix says whether the address is a Unix socket to be made.
func (a Address) IsUnix() bool { return a.network == "unix" }

// Reach says where a program on this machine reaches a server that listens on the
// address, and whether TLS is spoken there. That is not known of a socket of
// systemd's.
func (a Address) Reach(certificate bool) (network, address string, secure, known bool) {
	secure = a.scheme == "https" || a.scheme == "" && a.network == "tcp" && certificate
	address = a.name
	if a.network == "tcp" {
		host, port, _ := net.SplitHostPort(a.name) // ParseAddress has said so
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			address = net.JoinHostPort("127.0.0.1", port) // one of all addresses
		}
	}
	return a.network, address, secure, a.network != "systemd"
}

// secure says whether to speak TLS on a socket that the address has led to. What
// comes over a Unix socket has not been on a network.
func (a Address) secure(l net.Listener, certificate bool) bool {
	if a.scheme != "" {
		return a.scheme == "https"
	}
	return certificate && l.Addr().Network() == "tcp"
}

// ParseAddress takes one of
//
//	127.0.0.1:5000  [::1]:5000  localhost:5000  :5000    TCP
//	unix:/run/signalrd/http.sock                         a Unix socket, which is made
//	systemd  systemd:NAME                                sockets that systemd has opened: all, or those with a FileDescriptorName
//
// each with http:// or https:// before it to say whether TLS is spoken there.
// The error says how to write it.
func ParseAddress(text string) (Address, error) {
	a := Address{text: text}
	rest := text
	if scheme, after, ok := strings.Cut(text, "://"); ok && (scheme == "http" || scheme == "https") {
		a.scheme, rest = scheme, after
	}
	var err error
	a.network, a.name, _ = strings.Cut(rest, ":")
	switch {
	case a.network == "systemd":
	case a.network == "unix":
		a.name = strings.TrimPrefix(a.name, "//")
		if !filepath.IsAbs(a.name) || strings.HasSuffix(a.name, "/") {
			err = errors.New("the path of a Unix socket starts with a slash: say unix:/run/signalrd/http.sock")
		}
	default:
		a.network, a.name = "tcp", rest
		err = checkHostPort(rest)
	}
	if err != nil {
		return Address{}, fmt.Errorf("%q: %w", text, err)
	}
	return a, nil
}

func checkHostPort(text string) error {
	if _, err := strconv.ParseUint(text, 10, 16); err == nil {
		return fmt.Errorf("that is a port without an address: say 127.0.0.1:%s, or :%s for all addresses of this machine", text, text)
	}
	if strings.Count(text, ":") > 1 && !strings.ContainsAny(text, "[/") {
		return errors.New("an IPv6 address stands in brackets: say [::1]:5000")
	}
	_, port, err := net.SplitHostPort(text)
	if number, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || number > 65535 {
		return errors.New("say host:port such as 127.0.0.1:5000, :5000 or [::1]:5000, unix:/path, or systemd")
	}
	return nil
}
