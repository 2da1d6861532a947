package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/publish"
	"signalrd/notify"
)

const notifyChannel = "notify.users"

// The secrets of a key that servers know, and of one of the same name that they do not.
const keySecret, forgedSecret = "geheim-0123456789-0123456789-0123456789", "fremd-0123456789-0123456789-0123456789"

// twoSigned is two signalrds that take nothing but signed notifications.
func twoSigned(t *testing.T) *farm { return newFarm(t, signalrd, 2, signedOnly(t)...) }

// signedOnly is the flags for that.
func signedOnly(t *testing.T) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte("chaos "+keySecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--notify-keys-file", path, "--notify-max-bytes", "100000"}
}

// worker publishes notifications for one user.
type worker struct {
	line
	admin  *redis.Client
	good   *publish.Publisher
	forger *publish.Publisher
	count  atomic.Uint32 // of those that Redis has taken
}

func (r *run) newWorker() *worker {
	r.Helper()
	name := fmt.Sprint("worker", trafficNumber.Add(1))
	w := &worker{line: line{name, "user"}, admin: r.admin()}
	for into, secret := range map[**publish.Publisher]string{&w.good: keySecret, &w.forger: forgedSecret} {
		key, err := notify.NewKey("chaos", secret)
		if err != nil {
			r.Fatal(err)
		}
		*into = publish.New(w.admin, publish.Options{Channel: notifyChannel, MaxBytes: 1 << 20, Key: &key})
	}
	return w
}

// publish publishes the next.
func (w *worker) publish(ctx context.Context) error {
	text := w.text(w.count.Load() + 1)
	_, err := w.good.One(ctx, publish.Notification{User: &w.sender, Message: &text})
	if err == nil {
		w.count.Add(1)
	}
	return err
}

// listeners are clients of a worker's user, one at each server over each carrier.
func (r *run) listeners(w *worker) (all []*receiver) {
	r.Helper()
	for _, s := range r.servers {
		for _, by := range carriers {
			c, err := connect(s.hub(), w.sender, by)
			if err != nil {
				r.Fatal(err)
			}
			all = append(all, &receiver{client: c, server: s})
		}
	}
	return all
}

// expectAll checks that all of a worker's notifications came, in order.
func (r *run) expectAll(w *worker, all []*receiver) {
	r.Helper()
	for _, one := range all {
		r.must("notifications", eventually(func() error {
			if n := one.highest(w.line); n < w.count.Load() {
				return fmt.Errorf("%d of %d came to %s", n, w.count.Load(), one.server.name)
			}
			return nil
		}))
		for _, fault := range one.faults(w.line, due{1, w.count.Load(), w.count.Load()}) {
			r.Errorf("on %s over %s: %s", one.server.name, one.carrier, fault)
		}
		one.close()
	}
}

// forge has a worker publish among garbage, forgeries, and what was heard before.
func forge(r *run) {
	w := r.newWorker()
	all := r.listeners(w)
	again := r.eavesdrop(w)
	never := "never"
	for range 300 {
		for range r.rand.IntN(3) {
			r.must("publish garbage", w.admin.Publish(r.Context(), notifyChannel, r.garbage()).Err())
		}
		if r.rand.IntN(3) == 0 {
			_, err := w.forger.One(r.Context(), publish.Notification{User: &w.sender, Message: &never})
			r.must("forge", err)
		}
		r.must("publish", w.publish(r.Context()))
		if r.rand.IntN(3) == 0 {
			if payload, ok := again(); ok {
				r.must("publish again", w.admin.Publish(r.Context(), notifyChannel, payload).Err())
			}
		}
	}
	r.expectAll(w, all)
	for _, one := range all {
		for l, e := range one.lines {
			if l == w.line && e.came.Highest() > w.count.Load() {
				r.Errorf("%s: forged", l)
			}
		}
		for _, text := range one.strange {
			r.Errorf("on %s: %.100q came", one.server.name, text)
		}
	}
}

// eavesdrop returns what returns something that was published before.
func (r *run) eavesdrop(w *worker) (again func() (payload string, ok bool)) {
	heard := w.admin.Subscribe(r.Context(), notifyChannel)
	if _, err := heard.Receive(r.Context()); err != nil {
		r.Fatal(err)
	}
	var mu sync.Mutex
	var payloads []string
	var listening sync.WaitGroup
	listening.Go(func() {
		for {
			m, err := heard.ReceiveMessage(context.Background())
			if err != nil {
				return // closed
			}
			mu.Lock()
			payloads = append(payloads, m.Payload)
			mu.Unlock()
		}
	})
	r.Cleanup(func() {
		heard.Close()
		listening.Wait()
	})
	return func() (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		if len(payloads) == 0 {
			return "", false
		}
		return payloads[r.rand.IntN(len(payloads))], true
	}
}

// garbage is what no worker should publish.
func (r *run) garbage() string {
	switch r.rand.IntN(6) {
	case 0:
		return ""
	case 1:
		return `{"user":null,"message":"unsigned/all/1"}`
	case 2:
		return `{"message":"` + strings.Repeat("x", 100_000+r.rand.IntN(2_000_000)) + `"}`
	case 3:
		return strings.Repeat("[", 1+r.rand.IntN(50_000))
	case 4:
		return string(mutated([]byte(`{"user":"everybody","message":"forged/all/1","id":"1","time":1795654800,"key":"chaos","signature":"00"}`), r.rand))
	default:
		b := make([]byte, r.rand.IntN(200))
		for i := range b {
			b[i] = byte(r.rand.Uint32())
		}
		return string(b)
	}
}
