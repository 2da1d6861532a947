package metrics_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"signalrd/hubs"
	"signalrd/hubs/chat"
	"signalrd/metrics"
)

// A hub that Prometheus watches.
func ExampleHub() {
	server, err := hubs.NewServer(chat.New, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Shutdown(context.Background())

	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.Hub(server))
	http.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	scrape := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(scrape, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(scrape.Body)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "signalr_server_active_connections{") {
			fmt.Print(line)
		}
	}
	// Output:
	// signalr_server_active_connections{signalr_transport="long_polling"} 0
	// signalr_server_active_connections{signalr_transport="server_sent_events"} 0
	// signalr_server_active_connections{signalr_transport="web_sockets"} 0
}
