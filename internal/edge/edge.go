// Package edge is where a server meets the network: the sockets it listens on,
// TLS, the proxies that it believes, and what every request must keep to
// before anybody looks at it.
//
//	ParseAddress  →  Listen  →  Listeners.Serve(http.Server)   sockets: TCP, Unix, systemd's; TLS
//	http.Server   →  Front.ServeHTTP  →  the server's handler  requests: who sends them, how large and how slow they may be
//
// Connections are handed to net/http as they are, *net.TCPConn and *net.UnixConn: the
// package transport reads those without holding memory while there is nothing to read.
package edge
