package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"signalrd/hubs/protocol"
	load "signalrd/internal/bench/client"
	"signalrd/internal/bench/proc"
	benchwire "signalrd/internal/bench/wire"
	"signalrd/internal/peers"
)

// BenchmarkScrape is what a scrape of the metrics costs a server with many clients who
// are quiet, in processor time; and how long it takes on one that is kept busy by
// broadcasts, of which its share of the processor is a part.
func BenchmarkScrape(b *testing.B) {
	for _, clients := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprintf("%d clients", clients), func(b *testing.B) {
			s, address := startScraped(b)
			occupy(b, s, clients)
			before := processorTime(b, s)
			for b.Loop() {
				scrape(b, address, clients)
			}
			used := processorTime(b, s) - before
			b.ReportMetric(used.Seconds()*1000/float64(b.N), "server-ms/scrape")
			b.ReportMetric(100*used.Seconds()/float64(b.N)/15, "%-of-a-core-each-15s")
		})
	}
	b.Run("busy", func(b *testing.B) {
		const clients, talkers = 500, 4
		s, address := startScraped(b)
		pool := occupy(b, s, clients)
		ctx, stop := context.WithCancel(b.Context())
		var talking sync.WaitGroup
		var said atomic.Int64
		for _, c := range pool.Conns()[:talkers] {
			talking.Go(func() {
				for c.Invoke(ctx, "SendMessage", strings.Repeat("x", 64)) == nil {
					said.Add(1)
				}
			})
		}
		used, began, first := processorTime(b, s), time.Now(), said.Load()
		for b.Loop() {
			scrape(b, address, clients)
		}
		took := time.Since(began).Seconds()
		b.ReportMetric(100*(processorTime(b, s)-used).Seconds()/took, "%-of-a-core-in-all")
		b.ReportMetric(float64(said.Load()-first)*clients/took, "deliveries/s")
		stop()
		talking.Wait()
	})
}

// startScraped starts a server with a Redis, and with metrics.
func startScraped(b *testing.B) (s *server, metrics string) {
	b.Helper()
	at := fmt.Sprint("127.0.0.1:", peers.FreePort(b))
	return startServer(b, "--redis=redis://"+peers.Redis(b).Addr(), "--auth=anonymous", "--metrics-listen="+at), "http://" + at + "/metrics"
}

// occupy connects clients that stay.
func occupy(b *testing.B, s *server, n int) *load.Pool {
	b.Helper()
	hub, err := url.Parse(strings.Replace(s.url, "http://", "ws://", 1))
	if err != nil {
		b.Fatal(err)
	}
	pool, err := load.NewPool(load.Options{Protocol: protocol.JSON, PingInterval: 15 * time.Second}, unmoved{b})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := pool.Close(); err != nil {
			b.Error(err)
		}
	})
	if err := pool.Open(b.Context(), n, func(int) load.Target { return load.Target{URL: hub} }, nil); err != nil {
		b.Fatal(err)
	}
	return pool
}

// unmoved is a client that does nothing.
type unmoved struct{ b *testing.B }

func (unmoved) Marked(*load.Conn, benchwire.Mark, int64) {}
func (u unmoved) Closed(_ *load.Conn, err error)         { u.b.Error(err) }

func processorTime(b *testing.B, s *server) time.Duration {
	b.Helper()
	used, err := proc.CPU(s.command.Process.Pid)
	if err != nil {
		b.Fatal(err)
	}
	return used
}

// scrape reads the metrics of a server with so many clients.
func scrape(b *testing.B, address string, clients int) {
	b.Helper()
	response, err := http.Get(address)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if want := fmt.Sprintf("\nsignalrd_clients{encoding=\"json\",signalr_transport=\"web_sockets\"} %d\n", clients); err != nil || !strings.Contains(string(text), want) {
		b.Fatalf("%s, %v: want %s in %s", response.Status, err, want, text)
	}
}
