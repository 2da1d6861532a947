package backplane

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
)

func TestSingle(t *testing.T) {
	for _, test := range []struct {
		options redis.Options
		want    string // its name, or of the error
	}{
		{redis.Options{}, "127.0.0.1:6379"},
		{redis.Options{Addr: "redis.example.com:7000", Username: "u", Password: "secret"}, "redis.example.com:7000"},
		{redis.Options{Addr: "[::1]:6379"}, "[::1]:6379"},
		{redis.Options{Network: "unix", Addr: "/run/redis.sock"}, "/run/redis.sock"},
		{redis.Options{Addr: "redis.example.com"}, `"redis.example.com" is not host:port`},
		{redis.Options{Addr: "::1"}, `"::1" is not host:port`},
	} {
		at, err := Single(&test.options)
		switch {
		case err != nil && !strings.HasPrefix(err.Error(), test.want):
			t.Errorf("%q: %v", test.options.Addr, err)
		case err == nil && at.String() != test.want:
			t.Errorf("%q is %s, want %s", test.options.Addr, at, test.want)
		}
	}
}

// A connection that is lost, or was never made, is not replaced behind anybody's
// back.
func TestAConnectionIsMadeOnce(t *testing.T) {
	redis := peers.Redis(t)
	ctx := context.Background()
	at := singleAt(t, redis.Addr())
	for _, use := range []connectionUse{listening, publishing} {
		client := at.connection(use, time.Second)
		defer client.Close()
		if err := client.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		redis.Stop()
		if err := client.Ping(ctx).Err(); err == nil {
			t.Error("a Redis that is stopped answers")
		}
		early := at.connection(use, time.Second)
		defer early.Close()
		if err := early.Ping(ctx).Err(); err == nil || errors.Is(err, errConnectionLost) {
			t.Errorf("the first reason: %v", err)
		}
		redis.Start()
		if err := client.Ping(ctx).Err(); !errors.Is(err, errConnectionLost) {
			t.Errorf("after the loss: %v", err)
		}
		if err := early.Ping(ctx).Err(); !errors.Is(err, errConnectionLost) {
			t.Errorf("after failing to connect: %v", err)
		}
	}
}
