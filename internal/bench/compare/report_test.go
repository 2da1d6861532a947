package compare

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"signalrd/internal/bench/scenario"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{7}, 7}, {[]float64{9, 1}, 5}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 100, 1, 2}, 3}} {
		if got := median(test.values); got != test.want {
			t.Errorf("%v: %v, want %v", test.values, got, test.want)
		}
	}
}

// measured is a run with the given CPU time and latency.
func measured(server, name string, run int, micros, p99 float64) Measurement {
	return Measurement{server, name, run, &scenario.Result{
		Scenario: name, Units: 10, PerSecond: 100, CPU: &scenario.CPU{MicrosPerUnit: micros}, Latency: &scenario.Latency{P50: 1000, P99: p99},
	}}
}

func TestReport(t *testing.T) {
	r := &Report{Servers: []string{Signalrd, Bare, AspNet}, Runs: 3, Missing: []string{"philippseith: away"}}
	for run, micros := range []float64{10, 30, 12} {
		r.Measurements = append(r.Measurements,
			measured(Signalrd, "echo", run, micros, 5000), measured(Bare, "echo", run, 8, 4000), measured(AspNet, "echo", run, 48, 9000))
	}
	memory := measured(Signalrd, "idle", 1, 1, 1)
	memory.Result.Memory = &scenario.Memory{PerConnection: 8192}
	unfinished := measured(Signalrd, "echo", 4, 1e9, 1)
	unfinished.Result.Interrupted = true
	r.Measurements = append(r.Measurements, memory, unfinished)
	r.summarize()
	for _, want := range []struct {
		scenario, figure, server string
		value                    float64
		ratio                    bool
	}{
		{"echo", "CPU, µs per unit", Signalrd, 12, false},
		{"echo", "CPU, µs per unit", Bare, 1.5, true},
		{"echo", "CPU, µs per unit", AspNet, 0.25, true},
		{"echo", "latency p99, ms", AspNet, 9, false},
		{"idle", "memory per connection, KB", Signalrd, 8, false},
	} {
		found := false
		for _, row := range r.Rows {
			values := row.Values
			if want.ratio {
				values = row.Ratios
			}
			if value, ok := values[want.server]; row.Scenario == want.scenario && row.Figure == want.figure && ok {
				found = true
				if math.Abs(value-want.value) > 1e-9 {
					t.Errorf("%+v: %v", want, value)
				}
			}
		}
		if !found {
			t.Errorf("%+v is missing", want)
		}
	}
	checkShown(t, r, "echo      CPU, µs per unit           12.0      8.00  48.0          1.50 ×  0.25 ×", "idle      memory per connection, KB  8.00      –", "philippseith: away")
	if err := r.Faulty(); err != nil {
		t.Error(err)
	}
}

func TestReportOfFaults(t *testing.T) {
	r := &Report{Servers: []string{Signalrd, Stock}, Runs: 1}
	m := measured(Stock, "burst", 1, 1, 1)
	m.Result.Faults = scenario.Faults{OutOfOrder: 7}
	r.Measurements = append(r.Measurements, m)
	r.summarize()
	if err := r.Faulty(); err != nil {
		t.Errorf("another server's faults are not ours: %v", err)
	}
	checkShown(t, r, "faults: philippseith, burst, run 1: 7 out of order")
	m = measured(Signalrd, "burst", 1, 1, 1)
	m.Result.Faults = scenario.Faults{Lost: 2}
	r.Measurements = append(r.Measurements, m)
	r.Failures = append(r.Failures, Failure{Signalrd, "idle", 1, "it fell over"})
	if err := r.Faulty(); err == nil || !strings.Contains(err.Error(), "2 lost") || !strings.Contains(err.Error(), "it fell over") {
		t.Error(err)
	}
	checkShown(t, r, "failed: signalrd, idle, run 1: it fell over")
}

func checkShown(t *testing.T, r *Report, parts ...string) {
	t.Helper()
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		if !strings.Contains(text.String(), part) {
			t.Errorf("it does not say %q:\n%s", part, &text)
		}
	}
	if data, err := json.Marshal(r); err != nil || !json.Valid(data) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestWhereTheReferenceServerIs(t *testing.T) {
	t.Setenv(ReferenceVariable, "")
	t.Setenv(DotnetVariable, "")
	if _, err := AspNetServer(""); err == nil || !strings.Contains(err.Error(), ReferenceVariable) {
		t.Error(err)
	}
	t.Setenv(DotnetVariable, "/usr/bin/true")
	if _, err := AspNetServer(""); err == nil || !strings.Contains(err.Error(), "/usr/bin/reference-server") {
		t.Error(err)
	}
	t.Setenv(ReferenceVariable, "true")
	server, err := AspNetServer("")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(server.Command("127.0.0.1:1", "127.0.0.1:2"), " ")
	if !strings.HasSuffix(got, "true --urls http://127.0.0.1:1 --redis 127.0.0.1:2 --notify true") {
		t.Error(got)
	}
}
