package notify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// maxKeyFileBytes is the largest file that is taken for keys.
const maxKeyFileBytes = 1 << 20

// KeyFile is keys that follow a file. They are replaced all at once, so that
// those that are gone from the file are good no more; a file that cannot be
// read, or is not one of keys, leaves them as they are. It is safe for
// concurrent use.
type KeyFile struct {
	// Set once.
	path   string
	logger log.Logger
	stop   context.CancelFunc

	keys    atomic.Pointer[StaticKeys]
	running sync.WaitGroup

	// Those of whoever reads: run, once it has been started.
	raw     []byte // what the keys were made of
	failing bool
}

// KeyFileOptions are what a KeyFile can be told. The zero value of each means
// its default.
type KeyFileOptions struct {
	// Refresh is how often the file is read. Default: 5 s.
	Refresh time.Duration

	// Logger gets what operators should know: that keys have changed, that
	// they cannot be read, and that they can again. Default: nothing is logged.
	Logger log.Logger
}

// CheckKeyFile says why a file holds no keys, if so.
func CheckKeyFile(path string) error {
	return newKeyFile(path, log.NewNopLogger()).read()
}

// FollowKeys reads keys from a file (see [ParseKeys]), and again when it
// changes, until Close. It fails if there are none in it now. Nil options mean
// the defaults.
func FollowKeys(path string, options *KeyFileOptions) (*KeyFile, error) {
	var set KeyFileOptions
	if options != nil {
		set = *options
	}
	if set.Logger == nil {
		set.Logger = log.NewNopLogger()
	}
	f := newKeyFile(path, set.Logger)
	if err := f.read(); err != nil {
		return nil, fmt.Errorf("read keys from %s: %w", path, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	f.running.Go(func() { f.run(ctx, cmp.Or(set.Refresh, 5*time.Second)) })
	return f, nil
}

func newKeyFile(path string, logger log.Logger) *KeyFile {
	f := &KeyFile{path: path, logger: logger, stop: func() {}}
	f.keys.Store(new(StaticKeys))
	return f
}

// Find implements Keys.
func (f *KeyFile) Find(id string) (Key, bool) { return f.keys.Load().Find(id) }

// String is the path of the file.
func (f *KeyFile) String() string { return f.path }

// Close stops following the file and waits until nothing does any more. The
// keys that there are stay. It returns nil.
func (f *KeyFile) Close() error {
	f.stop()
	f.running.Wait()
	return nil
}

func (f *KeyFile) run(ctx context.Context, refresh time.Duration) {
	look := time.NewTicker(refresh)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			f.report(f.read())
		}
	}
}

// read reads the whole file: it is small, and times of change do not tell of
// everything that deployments do to files.
func (f *KeyFile) read() error {
	raw, err := readBounded(f.path)
	if err != nil || f.raw != nil && bytes.Equal(raw, f.raw) {
		return err
	}
	keys, err := ParseKeys(raw)
	if err != nil {
		return err
	}
	f.keys.Store(&keys)
	f.raw = raw
	level.Info(f.logger).Log("msg", "keys of notifications read", "from", f.path, "keys", len(keys))
	return nil
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		if failed, ok := errors.AsType[*os.PathError](err); ok {
			return nil, failed.Err // whose path the reader knows
		}
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxKeyFileBytes+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxKeyFileBytes:
		return nil, fmt.Errorf("it is larger than %d bytes", maxKeyFileBytes)
	}
	return data, nil
}

// report logs a failure when it begins and when it has ended.
func (f *KeyFile) report(err error) {
	switch failed := err != nil; {
	case failed && !f.failing:
		level.Warn(f.logger).Log("msg", "keys of notifications cannot be read, keeping those there are and trying again",
			"from", f.path, "keys", len(*f.keys.Load()), "err", err)
	case !failed && f.failing:
		level.Info(f.logger).Log("msg", "keys of notifications can be read again", "from", f.path)
	}
	f.failing = err != nil
}
