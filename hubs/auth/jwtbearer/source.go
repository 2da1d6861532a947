package jwtbearer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
)

// maxSourceBytes is the largest file or answer that is taken for keys.
const maxSourceBytes = 1 << 20

// source is where keys are read from. Its String is for logs.
type source interface {
	fmt.Stringer
	load(context.Context) ([]byte, error)
	parse([]byte) ([]Key, error)
}

// fileSource is a file. Its whole content is read each time: it is small, and
// times of change do not tell of everything that deployments do to files.
type fileSource struct {
	path   string
	parser func([]byte) ([]Key, error)
}

func (f fileSource) String() string { return f.path }

func (f fileSource) load(context.Context) ([]byte, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer file.Close()
	return readBounded(file)
}

// withoutPath is what is wrong with a file, whose name its reader adds.
func withoutPath(err error) error {
	var failed *os.PathError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

func (f fileSource) parse(data []byte) ([]Key, error) { return f.parser(data) }

// urlSource is a JSON Web Key Set on a server.
type urlSource struct {
	url    *url.URL
	client *http.Client
}

func newURLSource(address string, options *KeySetOptions) (*urlSource, error) {
	if err := CheckURL(address); err != nil {
		return nil, err
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	// Keys are fetched rarely: no connection is kept for the next time.
	own := http.DefaultTransport.(*http.Transport).Clone()
	own.DisableKeepAlives = true
	var transport http.RoundTripper = own
	if options != nil && options.Transport != nil {
		transport = options.Transport
	}
	return &urlSource{parsed, &http.Client{Transport: transport, CheckRedirect: checkRedirect}}, nil
}

// CheckURL says what is wrong with a URL to fetch keys from: whoever can change
// them on the way can be anybody, so it begins with https://, or with http://
// if the host is this one.
func CheckURL(address string) error {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || !isTrustworthy(parsed) {
		return errors.New("a URL of keys is https://HOST/PATH, or http:// with a host such as localhost or 127.0.0.1")
	}
	return nil
}

func isTrustworthy(u *url.URL) bool {
	switch host := u.Hostname(); u.Scheme {
	case "https":
		return true
	case "http":
		return host == "localhost" || net.ParseIP(host).IsLoopback()
	default:
		return false
	}
}

func checkRedirect(to *http.Request, via []*http.Request) error {
	switch {
	case !isTrustworthy(to.URL):
		return errors.New("the server sends us on to a URL that is not https")
	case len(via) > 5:
		return errors.New("the server sends us on and on")
	default:
		return nil
	}
}

// String leaves out what may be secret.
func (s *urlSource) String() string {
	shown := url.URL{Scheme: s.url.Scheme, Host: s.url.Host, Path: s.url.Path}
	return shown.String()
}

func (s *urlSource) load(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), http.NoBody)
	if err != nil {
		return nil, errors.New("this URL cannot be asked for")
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %d where 200 was expected", response.StatusCode)
	}
	return readBounded(response.Body)
}

// withoutURL is what went wrong with a request, whose URL may hold a secret.
func withoutURL(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

func (s *urlSource) parse(data []byte) ([]Key, error) { return parsePublicJWKS(data) }

// readBounded reads everything, but no more than there can be.
func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSourceBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSourceBytes {
		return nil, fmt.Errorf("it is larger than %d bytes", maxSourceBytes)
	}
	return data, nil
}
