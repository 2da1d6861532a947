package transport

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestBufferLimits(t *testing.T) {
	for _, test := range []struct {
		limit, size int
		full        bool
	}{{10, 9, false}, {10, 10, true}, {10, 11, true}, {0, 1, true}, {-1, 1 << 20, false}, {10, 0, false}} {
		b := newBuffer(test.limit)
		if full, err := b.put(make([]byte, test.size)); full != test.full || err != nil {
			t.Errorf("limit %d, %d bytes: %v, %v", test.limit, test.size, full, err)
		}
	}
}

// TestBufferRoom holds a putter up until half of the limit is left.
func TestBufferRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBuffer(10)
		b.put([]byte("0123456789ab"))
		passed := make(chan error, 1)
		go func() { passed <- b.awaitRoom(context.Background()) }()
		for _, n := range []int{1, 5} {
			b.take(n)
			synctest.Wait()
			select {
			case err := <-passed:
				t.Fatalf("went on early: %v", err)
			default:
			}
		}
		b.take(1)
		if err := <-passed; err != nil {
			t.Error(err)
		}
		if rest, _ := b.peek(); string(rest) != "789ab" {
			t.Errorf("%q", rest)
		}
	})
}

func TestBufferEnds(t *testing.T) {
	over := errors.New("over")
	for name, test := range map[string]struct {
		end     func(*buffer)
		putErr  error
		roomErr error
		rest    string
		last    error
	}{
		"finish": {func(b *buffer) { b.finish(over); b.finish(io.EOF) }, over, over, "0123456789", over},
		"cut":    {func(b *buffer) { b.finish(over); b.cut(io.EOF) }, over, over, "", over},
		"stop":   {func(b *buffer) { b.finish(over); b.stop() }, nil, nil, "", ErrStopped},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBuffer(10)
				b.put([]byte("0123456789"))
				room := make(chan error, 1)
				go func() { room <- b.awaitRoom(context.Background()) }()
				synctest.Wait()
				test.end(b)
				if err := <-room; err != test.roomErr {
					t.Errorf("awaitRoom: %v", err)
				}
				if full, err := b.put([]byte("late")); full || err != test.putErr {
					t.Errorf("put: %v, %v", full, err)
				}
				got := ""
				if test.rest != "" {
					in, err := b.receive([]byte(">"))
					got = strings.TrimPrefix(string(in), ">")
					if err != nil {
						t.Error(err)
					}
				}
				if _, err := b.receive(nil); got != test.rest || err != test.last {
					t.Errorf("receive: %q, then %v", got, err)
				}
			})
		})
	}
}

// TestBufferWakesItsReceiver has bytes, an end and a stop come to a receiver
// that waits.
func TestBufferWakesItsReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, end := range []func(*buffer){
			func(b *buffer) { b.put([]byte("x")) }, func(b *buffer) { b.finish(io.EOF) }, func(b *buffer) { b.stop() },
		} {
			b := newBuffer(10)
			got := make(chan string, 1)
			go func() {
				in, err := b.receive(nil)
				if err != nil {
					in = []byte(err.Error())
				}
				got <- string(in)
			}()
			time.Sleep(time.Second)
			end(b)
			if text := <-got; text != "x" && text != "EOF" && text != ErrStopped.Error() {
				t.Error(text)
			}
		}
	})
}

func TestBufferHoldsNoMemoryWhileEmpty(t *testing.T) {
	b := newBuffer(10)
	b.put([]byte("0123"))
	b.take(4)
	if b.bytes != nil {
		t.Error("still holds memory")
	}
}
