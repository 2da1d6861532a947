package edge

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// FrontOptions are what a Front can be told. The zero value of each means its
// default.
type FrontOptions struct {
	// Proxies are those that are believed. Default: none.
	Proxies Proxies

	// BasePath is a path that a proxy puts in front of all others, "/app". It is
	// taken away; requests without it are served, too. Default: none.
	BasePath string

	// HSTS is for how long browsers are to come by https only, told in answers
	// to those who do. Default: they are not told.
	HSTS time.Duration

	// MaxURLBytes is the longest path and query served. Default: 16,384.
	MaxURLBytes int

	// BodyTimeout is how long the body of a request may take whose handler
	// does not say otherwise, as the package transport does. Default: 30 s.
	BodyTimeout time.Duration

	// Logger gets, at level debug, who asks for what. Default: nothing is logged.
	Logger log.Logger

	// Debugging says whether that is of interest now: a line that nobody wants
	// costs more than all else here. Default: it is.
	Debugging func() bool
}

func (o FrontOptions) withDefaults() FrontOptions {
	o.MaxURLBytes = cmp.Or(o.MaxURLBytes, 16<<10)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, 30*time.Second)
	if o.Logger == nil {
		o.Logger, o.Debugging = log.NewNopLogger(), func() bool { return false }
	}
	if o.Debugging == nil {
		o.Debugging = func() bool { return true }
	}
	return o
}

// Front is what a request passes first. It changes the request in place:
//
//   - RemoteAddr, Host and URL.Scheme are those of the client, where a trusted
//     proxy has told of it: see [Client].
//   - URL.Path is without BasePath.
//
// Its answers let nobody guess what they are (X-Content-Type-Options). It leaves the
// http.ResponseWriter as it is, so that connections can be taken over.
type Front struct {
	options FrontOptions
	next    http.Handler
	debug   log.Logger
	hsts    []string
}

// NewFront makes a Front before next.
func NewFront(next http.Handler, options FrontOptions) *Front {
	f := &Front{options: options.withDefaults(), next: next}
	f.debug = level.Debug(f.options.Logger)
	if f.options.HSTS > 0 {
		f.hsts = []string{fmt.Sprintf("max-age=%d", int(f.options.HSTS.Seconds()))}
	}
	return f
}

var noSniff = []string{"nosniff"}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.options.Proxies.rewrite(r)
	if f.options.Debugging() {
		f.debug.Log("msg", "request", "client", r.RemoteAddr, "method", r.Method, "scheme", r.URL.Scheme, "host", shown(r.Host), "path", shown(r.URL.Path), "proto", r.Proto)
	}
	header := w.Header()
	header["X-Content-Type-Options"] = noSniff
	if f.hsts != nil && r.URL.Scheme == "https" {
		header["Strict-Transport-Security"] = f.hsts
	}
	if uncertainEnd(r) {
		header.Set("Connection", "close")
	}
	if len(r.RequestURI) > f.options.MaxURLBytes {
		header.Set("Connection", "close")
		http.Error(w, fmt.Sprintf("The URL is longer than %d bytes.", f.options.MaxURLBytes), http.StatusRequestURITooLong)
		return
	}
	if r.ContentLength != 0 {
		// Where it cannot be set the server's own times hold.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(f.options.BodyTimeout))
	}
	f.stripBase(r)
	f.next.ServeHTTP(w, r)
}

// uncertainEnd says whether a proxy in front may see the end of a request elsewhere.
// What follows then on the connection need not be a request that anybody has sent
// (RFC 9112 §6.1). A chunked body may have had a Content-Length as well, which net/http does not
// tell; on a request of HTTP/1.0 it may have been chunked, which is not told, either.
func uncertainEnd(r *http.Request) bool {
	return r.ProtoMajor == 1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0)
}

// shown is a path or a host as the log has it. Whoever asks chooses how long it is, and
// may have taken a query for a part of it, with a token in it.
func shown(text string) string {
	const most = 200
	if end := strings.IndexAny(text, "?&;="); end >= 0 {
		text = text[:end] + "..."
	}
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}

// stripBase takes the base path away, whatever its case, as the hubs' own paths
// are compared.
func (f *Front) stripBase(r *http.Request) {
	base := f.options.BasePath
	if base == "" {
		return
	}
	rest, ok := cutFold(r.URL.Path, base)
	if !ok || rest != "" && rest[0] != '/' {
		return
	}
	raw, ok := cutFold(r.URL.RawPath, base)
	if !ok {
		raw = "" // it was written with escapes, and is made anew
	}
	r.URL.Path, r.URL.RawPath = cmp.Or(rest, "/"), raw
}

func cutFold(text, prefix string) (rest string, ok bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return "", false
	}
	return text[len(prefix):], true
}

// CheckBasePath says what is wrong with a base path.
func CheckBasePath(path string) error {
	if path != "" && (!strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.ContainsAny(path, "?#%")) {
		return fmt.Errorf("%q: a base path starts with a slash and ends without: say /app", path)
	}
	return nil
}
