package doctor

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"signalrd/hubs/transport"
	"signalrd/internal/client"
)

// health asks the server how it is. Only signalrd answers that; what is in front need
// not pass it on.
func (d *doctor) health(ctx context.Context) {
	at := d.options.Hub.ResolveReference(&url.URL{Path: "/healthz"})
	answer, err := d.request(ctx, http.MethodGet, at, nil)
	const check = "health"
	switch {
	case err != nil:
		return // negotiate has told
	case answer.status == http.StatusOK && strings.TrimSpace(answer.body) == "ok":
		d.ok(check, "%s says ok", client.WithoutQuery(at))
	case answer.status == http.StatusOK && strings.HasPrefix(answer.body, "degraded"):
		_, why, _ := strings.Cut(strings.TrimSpace(answer.body), "\n")
		d.fail(check, "see to what it says; on that machine, signalrd doctor tells more", "%s says degraded: %s", client.WithoutQuery(at), strings.ReplaceAll(why, "\n", "; "))
	default:
		d.ok(check, "unknown: there is no signalrd's answer at %s, and need not be", client.WithoutQuery(at))
	}
}

// answer is an answer of HTTP.
type answer struct {
	status int
	header http.Header
	body   string // its beginning
}

func (d *doctor) request(ctx context.Context, method string, at *url.URL, header http.Header) (*answer, error) {
	ctx, cancel := d.step(ctx)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, at.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	through := http.DefaultTransport.(*http.Transport).Clone()
	defer through.CloseIdleConnections()
	response, err := through.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	const enough = 1000
	body, err := io.ReadAll(io.LimitReader(response.Body, enough))
	if err != nil {
		return nil, err
	}
	return &answer{response.StatusCode, response.Header, string(body)}, nil
}

// pages looks whether browsers would let pages of an origin connect: by CORS, with
// credentials, which clients send unless told otherwise, and at the upgrade to a
// WebSocket, where CORS does not count (protocol §1.4).
func (d *doctor) pages(ctx context.Context, working transport.Transports) {
	const check = "pages"
	const advice = "add it to the server's --origins (in ASP.NET Core: AddCors with WithOrigins, AllowAnyHeader and AllowCredentials); what is in front must pass on OPTIONS, and add no such headers itself"
	origin := d.options.Origin
	if origin != d.options.Hub.Scheme+"://"+d.options.Hub.Host { // else browsers do not ask
		at := d.options.Hub.JoinPath("negotiate")
		preflight, err := d.request(ctx, http.MethodOptions, at, http.Header{
			"Origin":                         {origin},
			"Access-Control-Request-Method":  {http.MethodPost},
			"Access-Control-Request-Headers": {"authorization,x-requested-with,x-signalr-user-agent"},
		})
		if err != nil {
			d.fail(check, client.Advice(err), "OPTIONS %s: %v", client.WithoutQuery(at), err)
			return
		}
		if wrong := refuses(preflight, origin); wrong != "" {
			d.fail(check, advice, "browsers let no page from %s connect: %s", origin, wrong)
			return
		}
	}
	if working&transport.WebSockets != 0 {
		v := d.insist(ctx, client.Options{Transports: transport.WebSockets, Origin: origin})
		defer v.end()
		if v.err != nil {
			d.fail(check, client.Advice(v.err), "%v", v.err)
			return
		}
	}
	d.ok(check, "those from %s may connect", origin)
}

// refuses says why a browser would not go on after a preflight; empty if it would.
func refuses(preflight *answer, origin string) string {
	names := func(header, want string) bool {
		for _, value := range preflight.header.Values(header) {
			for part := range strings.SplitSeq(value, ",") {
				if strings.EqualFold(strings.TrimSpace(part), want) {
					return true
				}
			}
		}
		return false
	}
	switch allowed := preflight.header.Values("Access-Control-Allow-Origin"); {
	case preflight.status < 200 || preflight.status > 299:
		return "OPTIONS is answered " + http.StatusText(preflight.status)
	case len(allowed) == 0:
		return "the answer to OPTIONS has no Access-Control-Allow-Origin"
	case len(allowed) > 1:
		return "the answer to OPTIONS has Access-Control-Allow-Origin twice, as if two had added it"
	case allowed[0] != origin:
		return "the answer to OPTIONS allows " + allowed[0]
	case !names("Access-Control-Allow-Credentials", "true"):
		return "the answer to OPTIONS does not allow credentials"
	}
	for _, header := range []string{"authorization", "x-requested-with", "x-signalr-user-agent"} {
		if !names("Access-Control-Allow-Headers", header) {
			return "the answer to OPTIONS does not allow the header " + header
		}
	}
	return ""
}
