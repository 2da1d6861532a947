package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/coder/websocket"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "00-" + traceID + "-00f067aa0ba902b7-01"
)

// sink is a collector of traces that remembers the spans' names and traces.
type sink struct {
	collector.UnimplementedTraceServiceServer

	mu    sync.Mutex
	spans []string
}

func (s *sink) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range request.GetResourceSpans() {
		service := ""
		for _, a := range r.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range r.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				trace := "its own"
				if hex.EncodeToString(span.GetTraceId()) == traceID {
					trace = "the peer's"
				}
				s.spans = append(s.spans, fmt.Sprintf("%s: %s in %s trace", service, span.GetName(), trace))
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// ServeHTTP is Export over HTTP.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(r.URL, err), http.StatusBadRequest)
		return
	}
	if _, err := s.Export(r.Context(), &request); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (s *sink) overHTTP(t *testing.T) (url string) {
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return web.URL
}

func (s *sink) overGRPC(t *testing.T) (url string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, s)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return "http://" + listener.Addr().String()
}

// What a server that ends has done is with the collector, in the traces of those who
// asked for it.
func TestTraces(t *testing.T) {
	for protocol, listen := range map[string]func(*sink, *testing.T) string{"http/protobuf": (*sink).overHTTP, "grpc": (*sink).overGRPC} {
		t.Run(protocol, func(t *testing.T) {
			var s sink
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", listen(&s, t))
			t.Setenv("OTEL_SERVICE_NAME", "")
			store := miniredis.RunT(t)
			p := startProgram(t, store.Addr(), "--traces")
			c := p.connect(jsonHandshake)
			c.ask("Echo", "", "hi")
			c.ask("Echo", `,"headers":{"traceparent":"`+traceparent+`"}`, "hi")
			store.Publish("notify.users", `{"message":"ready","traceparent":"`+traceparent+`"}`)
			c.hear("ready")
			if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
			p.end()
			want := []string{
				"signalrd: ChatHub/Echo in its own trace",
				"signalrd: ChatHub/Echo in the peer's trace",
				"signalrd: ChatHub/OnConnectedAsync in its own trace",
				"signalrd: ChatHub/OnDisconnectedAsync in its own trace",
				"signalrd: process notify.users in the peer's trace",
			}
			slices.Sort(s.spans)
			if !slices.Equal(s.spans, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(s.spans, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestTracesAreSentInAWayThatThereIs(t *testing.T) {
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		t.Setenv(variable, "carrier-pigeon")
		refuses(t, "--traces: OTEL_EXPORTER_OTLP_PROTOCOL=carrier-pigeon: say http/protobuf or grpc", "--traces")
		t.Setenv(variable, "")
	}
}
