package jwtbearer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// KeySetOptions are what a KeySet can be told. The zero value of each means
// its default.
type KeySetOptions struct {
	// Refresh is how often the keys are read anew. After a failure it is
	// sooner. Default: an hour from a URL, 5 s from a file.
	Refresh time.Duration

	// RefreshUnknown is how often they may be read anew besides because a
	// token names a key that is not there. Default: 30 s.
	RefreshUnknown time.Duration

	// Timeout is how long one attempt may take, and so how long a request may
	// wait for it. Default: 5 s.
	Timeout time.Duration

	// Transport is what URLs are fetched with. Default: one like
	// http.DefaultTransport.
	Transport http.RoundTripper

	// Logger gets what operators should know: that keys have changed, that
	// they cannot be read, and that they can again. Default: nothing is logged.
	Logger log.Logger
}

func (o *KeySetOptions) withDefaults(refresh time.Duration) KeySetOptions {
	var set KeySetOptions
	if o != nil {
		set = *o
	}
	set.Refresh = cmp.Or(set.Refresh, refresh)
	set.RefreshUnknown = cmp.Or(set.RefreshUnknown, 30*time.Second)
	set.Timeout = cmp.Or(set.Timeout, 5*time.Second)
	if set.Logger == nil {
		set.Logger = log.NewNopLogger()
	}
	return set
}

// KeySet is a set of keys that follows its source: a file or a URL. Keys are
// replaced all at once, so that those that are gone from the source are good
// no more; what cannot be read, or holds no key, leaves them as they are.
//
// It is safe for concurrent use.
type KeySet struct {
	source  source
	options KeySetOptions
	keys    atomic.Pointer[StaticKeys]
	wanted  chan struct{} // a refresh is
	stop    context.CancelFunc
	running sync.WaitGroup
	stopped <-chan struct{}

	// Those of whoever refreshes: run, once it has been started.
	raw     []byte // what the keys were made of
	failing bool

	mu    sync.Mutex
	round chan struct{} // closed when the refresh that requests wait for is done; nil: none is wanted
	asked time.Time     // when requests last wanted one
}

// CheckFile says why a file holds no keys, if so.
func CheckFile(path string, parse func([]byte) ([]Key, error)) error {
	return newKeySet(fileSource{path, parse}, (*KeySetOptions)(nil).withDefaults(0)).first()
}

// FromFile reads keys from a file, with one of the Parse functions, and again
// when it changes. It fails if it has no keys now. Nil options mean the defaults.
func FromFile(path string, parse func([]byte) ([]Key, error), options *KeySetOptions) (*KeySet, error) {
	s := newKeySet(fileSource{path, parse}, options.withDefaults(5*time.Second))
	if err := s.first(); err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

// FromURL fetches a JSON Web Key Set, and again from time to time. It fails if
// the URL is not one that CheckURL takes; but a server that does not answer, or
// with something else, may do so later: until then there are no keys. Nil options
// mean the defaults.
func FromURL(url string, options *KeySetOptions) (*KeySet, error) {
	source, err := newURLSource(url, options)
	if err != nil {
		return nil, err
	}
	s := newKeySet(source, options.withDefaults(time.Hour))
	s.report(s.refresh(context.Background()))
	s.start()
	return s, nil
}

func newKeySet(source source, options KeySetOptions) *KeySet {
	s := &KeySet{source: source, options: options, wanted: make(chan struct{}, 1)}
	s.keys.Store(new(StaticKeys))
	return s
}

func (s *KeySet) start() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.stopped = stop, ctx.Done()
	s.running.Go(func() { s.run(ctx) })
}

// first reads the source for the first time.
func (s *KeySet) first() error {
	if err := s.refresh(context.Background()); err != nil {
		return fmt.Errorf("read keys from %s: %w", s.source, err)
	}
	return nil
}

// String says where the keys come from, without what may be secret in a URL.
func (s *KeySet) String() string { return s.source.String() }

// Close stops following the source, and waits until nothing does any more. The
// keys that there are stay. It returns nil.
func (s *KeySet) Close() error {
	s.stop()
	s.running.Wait()
	return nil
}

// Find implements Keys. When there is no such key the source is asked for
// newer ones, and waited for, but not if it was asked just before.
func (s *KeySet) Find(ctx context.Context, id string) []Key {
	if found := s.keys.Load().Find(ctx, id); len(found) > 0 {
		return found
	}
	s.renew(ctx)
	return s.keys.Load().Find(ctx, id)
}

// renew waits for a refresh, if one is wanted already or can be.
func (s *KeySet) renew(ctx context.Context) {
	s.mu.Lock()
	if s.round == nil {
		if !s.asked.IsZero() && time.Since(s.asked) < s.options.RefreshUnknown {
			s.mu.Unlock()
			return
		}
		s.round, s.asked = make(chan struct{}), time.Now()
		s.wanted <- struct{}{} // there is room: the last round took its own
	}
	round := s.round
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	select {
	case <-round:
	case <-ctx.Done():
	case <-s.stopped:
	}
}

// run refreshes, in time and when it is wanted, until ctx ends.
func (s *KeySet) run(ctx context.Context) {
	waits := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(min(s.options.Refresh, time.Second)),
		backoff.WithMaxInterval(min(s.options.Refresh, time.Minute)),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0))
	for {
		wait := s.options.Refresh
		if s.failing {
			wait = waits.NextBackOff()
		} else {
			waits.Reset()
		}
		due := time.NewTimer(wait)
		wanted := false
		select {
		case <-ctx.Done():
			due.Stop()
			return
		case <-due.C:
		case <-s.wanted:
			wanted = true
		}
		due.Stop()
		s.report(s.refresh(ctx))
		if wanted {
			s.endRound()
		}
	}
}

func (s *KeySet) endRound() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.round)
	s.round = nil
}

// refresh reads the source once.
func (s *KeySet) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	raw, err := s.source.load(ctx)
	if err != nil || s.raw != nil && bytes.Equal(raw, s.raw) {
		return err
	}
	parsed, err := s.source.parse(raw)
	if err != nil {
		return err
	}
	keys := StaticKeys(parsed)
	s.keys.Store(&keys)
	s.raw = raw
	level.Info(s.options.Logger).Log("msg", "keys read", "from", s.source, "keys", len(keys))
	return nil
}

// report logs a failure when it begins and when it has ended.
func (s *KeySet) report(err error) {
	switch failed := err != nil; {
	case errors.Is(err, context.Canceled): // by Close
		return
	case failed && !s.failing:
		level.Warn(s.options.Logger).Log("msg", "keys cannot be read, keeping those there are and trying again", "from", s.source, "keys", len(*s.keys.Load()), "err", err)
		s.failing = true
	case !failed && s.failing:
		level.Info(s.options.Logger).Log("msg", "keys can be read again", "from", s.source)
		s.failing = false
	}
}
