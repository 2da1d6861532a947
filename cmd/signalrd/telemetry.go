package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"signalrd/hubs"
	"signalrd/metrics"
	"signalrd/notify"
	"signalrd/traces"
)

// telemetryFlags say who may look on (docs/metrics.md).
type telemetryFlags struct {
	MetricsListen string `placeholder:"ADDR" help:"Address to serve metrics on, at /metrics, for Prometheus: apart from everything else, such as 127.0.0.1:9464 (default: none)."`
	Traces        bool   `help:"Send traces by OTLP, as the variables OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME and so on say (default: off)."`
}

// wrong reports what makes no sense.
func (f *telemetryFlags) wrong(say say) {
	if f.MetricsListen != "" {
		_, port, err := net.SplitHostPort(f.MetricsListen)
		if _, none := strconv.ParseUint(port, 10, 16); err != nil || none != nil {
			say("--metrics-listen=%s: host:port, such as 127.0.0.1:9464", f.MetricsListen)
		}
	}
	if f.Traces {
		if err := checkProtocol(exporterProtocol()); err != nil {
			say("--traces: %v", err)
		}
	}
}

// telemetry is what looks on: metrics that are asked for, and traces that are sent.
type telemetry struct {
	registry *prometheus.Registry
	listener net.Listener // nil: there are no metrics
	server   *http.Server
	serving  sync.WaitGroup

	provider *sdk.TracerProvider // nil: there are no traces
}

// begin opens what the flags ask for. Metrics are served from watch on.
func (f *telemetryFlags) begin(ctx context.Context, logger log.Logger) (*telemetry, error) {
	t := &telemetry{}
	if f.Traces {
		var err error
		if t.provider, err = newProvider(ctx, log.With(logger, "part", "traces")); err != nil {
			return nil, fmt.Errorf("--traces: %w", err)
		}
	}
	if f.MetricsListen == "" {
		return t, nil
	}
	listener, err := net.Listen("tcp", f.MetricsListen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w (say --metrics-listen=ADDR for another address)", f.MetricsListen, err), t.leave())
	}
	t.listener, t.registry = listener, prometheus.NewRegistry()
	return t, nil
}

// hub is who follows the hub; nil: nobody.
func (t *telemetry) hub(name string) hubs.Tracer {
	if t.provider == nil {
		return nil
	}
	return traces.Hub(name, t.provider)
}

// notifications is who follows notifications; nil: nobody.
func (t *telemetry) notifications(channel string) notify.Tracer {
	if t.provider == nil {
		return nil
	}
	return traces.Notifications(channel, t.provider)
}

// watch serves the metrics of all that there is.
func (t *telemetry) watch(hub *hubs.Server, f *farm, logger log.Logger) {
	if t.listener == nil {
		return
	}
	t.registry.MustRegister(metrics.Hub(hub), collectors.NewGoCollector(), collectors.NewBuildInfoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if f.bus != nil {
		t.registry.MustRegister(metrics.Backplane(f.bus))
	}
	if f.subscriber != nil {
		t.registry.MustRegister(metrics.Notifications(f.subscriber))
	}
	mux := http.NewServeMux()
	t.server = newHTTPServer(mux, log.With(logger, "listener", "metrics"))
	t.server.WriteTimeout = time.Minute
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{ErrorLog: t.server.ErrorLog, MaxRequestsInFlight: 2}))
	t.serving.Go(func() {
		if err := t.server.Serve(t.listener); !errors.Is(err, http.ErrServerClosed) {
			level.Error(logger).Log("msg", "metrics are served no longer", "err", err)
		}
	})
}

// flushing is how long it may take, at the end, to send the traces that there are.
const flushing = 3 * time.Second

// leave ends it, when the traces that there are have been sent.
func (t *telemetry) leave() error {
	var err error
	switch {
	case t.server != nil:
		err = t.server.Close()
		t.serving.Wait()
	case t.listener != nil:
		err = t.listener.Close()
	}
	if t.provider != nil {
		ctx, cancel := context.WithTimeout(context.Background(), flushing)
		defer cancel()
		err = errors.Join(err, t.provider.Shutdown(ctx))
	}
	return err
}
