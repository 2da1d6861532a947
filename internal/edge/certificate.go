package edge

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// CertificateOptions are what a Certificate can be told. The zero value of each
// means its default.
type CertificateOptions struct {
	// Refresh is how often the files are looked at. Default: 5 s.
	Refresh time.Duration

	// Logger gets what operators should know: that the certificate has
	// changed, or cannot be read. Default: nothing is logged.
	Logger log.Logger
}

// Certificate is a certificate and its key that follow their files. A pair that is
// no good leaves the one before it; connections that stand keep what they have.
//
// It is safe for concurrent use.
type Certificate struct {
	cert, key string // paths
	logger    log.Logger
	current   atomic.Pointer[tls.Certificate]
	stop      context.CancelFunc
	running   sync.WaitGroup

	// guarded by reading, which is held while the files are read
	reading sync.Mutex
	raw     [2][]byte // the files that current was made of
	failure string    // why they cannot be used now; empty: they can
}

// LoadCertificate reads two PEM files: a certificate, with those that lead from
// it to an authority behind it, and its key. It reads them again when they
// change, until Close. It fails if they are no good now. Nil options mean the defaults.
func LoadCertificate(cert, key string, options *CertificateOptions) (*Certificate, error) {
	var set CertificateOptions
	if options != nil {
		set = *options
	}
	c := &Certificate{cert: cert, key: key, logger: set.Logger}
	if c.logger == nil {
		c.logger = log.NewNopLogger()
	}
	if _, err := c.read(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.running.Go(func() { c.follow(ctx, cmp.Or(set.Refresh, 5*time.Second)) })
	return c, nil
}

// CheckCertificate says why two files are no certificate and its key, if so.
func CheckCertificate(cert, key string) error {
	_, err := (&Certificate{cert: cert, key: key}).read()
	return err
}

// Close stops following the files, and waits until nothing does any more.
func (c *Certificate) Close() {
	c.stop()
	c.running.Wait()
}

// follow looks at the files until ctx ends.
func (c *Certificate) follow(ctx context.Context, every time.Duration) {
	due := time.NewTicker(every)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
			c.Reload()
		}
	}
}

// Reload looks at the files now, and logs what has become of them.
func (c *Certificate) Reload() {
	c.reading.Lock()
	defer c.reading.Unlock()
	changed, err := c.read()
	switch {
	case err != nil && err.Error() != c.failure:
		level.Warn(c.logger).Log("msg", "TLS certificate cannot be read, keeping the one there is", "err", err)
		c.failure = err.Error()
	case err == nil && (changed || c.failure != ""):
		leaf := c.current.Load().Leaf
		level.Info(c.logger).Log("msg", "TLS certificate read", "from", c.cert, "expires", leaf.NotAfter)
		c.failure = ""
	}
}

// read takes what is in the files, if it is good. Their content is compared,
// not their times: those do not tell of everything that deployments do to files.
func (c *Certificate) read() (changed bool, err error) {
	var raw [2][]byte
	for i, path := range [...]string{c.cert, c.key} {
		if raw[i], err = os.ReadFile(path); err != nil {
			return false, err
		}
	}
	if bytes.Equal(raw[0], c.raw[0]) && bytes.Equal(raw[1], c.raw[1]) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(raw[0], raw[1])
	if err != nil {
		return false, fmt.Errorf("%s and %s: %w", c.cert, c.key, err)
	}
	if err := c.worse(&pair); err != nil {
		return false, err
	}
	c.current.Store(&pair)
	c.raw = raw
	return true, nil
}

// worse says why a certificate does not replace the one there is.
func (c *Certificate) worse(new *tls.Certificate) error {
	old, now := c.current.Load(), time.Now()
	if old != nil && now.After(new.Leaf.NotAfter) && now.Before(old.Leaf.NotAfter) {
		return fmt.Errorf("%s: it has expired on %s", c.cert, new.Leaf.NotAfter)
	}
	return nil
}

// Config is for servers: TLS 1.2 with forward secrecy and authenticated encryption,
// or 1.3; HTTP/2 for those who ask for it, else HTTP/1.1.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
		MinVersion:     tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all good
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"h2", "http/1.1"},
	}
}
