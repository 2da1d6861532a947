package main

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/go-logr/logr/funcr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// newProvider sends traces where OpenTelemetry's environment variables say. What they
// do not say is as OpenTelemetry has it, but for the service's name: signalrd. It does not wait
// for anybody to be there.
func newProvider(ctx context.Context, logger log.Logger) (*sdk.TracerProvider, error) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		level.Warn(logger).Log("msg", "traces are lost", "err", err)
	}))
	otel.SetLogger(funcr.New(func(_, text string) { level.Debug(logger).Log("msg", text) }, funcr.Options{}))
	exporter, err := newExporter(ctx)
	if err != nil {
		return nil, err
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("signalrd")),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("find out what the traces are of: %w", err)
	}
	return sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about)), nil
}

func newExporter(ctx context.Context) (*otlptrace.Exporter, error) {
	if exporterProtocol() == overGRPC {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

// The protocols by which traces are sent.
const (
	overHTTP = "http/protobuf"
	overGRPC = "grpc"
)

// exporterProtocol is the one that the environment chooses.
func exporterProtocol() string {
	return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), overHTTP)
}

func checkProtocol(protocol string) error {
	if protocol != overHTTP && protocol != overGRPC {
		return fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%s: say %s or %s", protocol, overHTTP, overGRPC)
	}
	return nil
}
