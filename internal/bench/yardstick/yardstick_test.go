package yardstick_test

import (
	"bufio"
	"context"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/internal/bench/client"
	"signalrd/internal/bench/scenario"
	"signalrd/internal/bench/yardstick"
)

// serve returns the host:port of a server that ends with the test.
func serve(t *testing.T, name string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- yardstick.Serve(ctx, name, "127.0.0.1:0", writer)
		writer.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "serving "))
}

func TestScenariosOnYardsticks(t *testing.T) {
	for _, test := range []struct {
		server, path, scenario string
		protocols              []protocol.Protocol
	}{
		{yardstick.BareName, yardstick.EchoPath, "echo", protocol.All()},
		{yardstick.BareName, yardstick.FanOutPath, "lockstep", protocol.All()},
		{yardstick.BareName, yardstick.FanOutPath, "burst", protocol.All()},
		{yardstick.BareName, yardstick.FanOutPath, "idle", protocol.All()},
		{yardstick.StockName, yardstick.HubPath, "echo", protocol.All()},
		{yardstick.StockName, yardstick.HubPath, "lockstep", protocol.All()},
		{yardstick.StockName, yardstick.HubPath, "connect", protocol.All()},
	} {
		host := serve(t, test.server)
		for _, p := range test.protocols {
			s, err := scenario.Find(test.scenario)
			if err != nil {
				t.Fatal(err)
			}
			result, err := s.Run(t.Context(), scenario.Options{
				URLs:    []*url.URL{{Scheme: "ws", Host: host, Path: test.path}},
				Client:  client.Options{Protocol: p, PingInterval: 10 * time.Millisecond},
				Methods: scenario.Methods{Echo: "Echo", Broadcast: "SendAll"},
				Clients: 5, Messages: 20, Duration: 100 * time.Millisecond, WarmUp: 10 * time.Millisecond, Settle: time.Millisecond,
			})
			if err != nil || result.Units == 0 || result.Faults.Any() {
				t.Errorf("%s on %s with %s: %+v, %v", test.scenario, test.server, p.Name(), result, err)
			}
		}
	}
}

func TestServeWhatDoesNotExist(t *testing.T) {
	if err := yardstick.Serve(t.Context(), "other", "127.0.0.1:0", io.Discard); err == nil {
		t.Error("it serves")
	}
}
