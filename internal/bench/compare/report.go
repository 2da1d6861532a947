package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"signalrd/internal/bench/proc"
	"signalrd/internal/bench/scenario"
)

// Report is what a comparison has found.
type Report struct {
	Machine      proc.Machine  `json:"machine"`
	Time         time.Time     `json:"time"`
	Pinned       bool          `json:"pinned"` // servers to one core, the load to another
	Runs         int           `json:"runs"`
	Interrupted  bool          `json:"interrupted"`
	Servers      []string      `json:"servers"`
	Rows         []Row         `json:"rows"`
	Missing      []string      `json:"missing,omitempty"` // servers that could not be had, and why
	Failures     []Failure     `json:"failures,omitempty"`
	Measurements []Measurement `json:"measurements"`
}

// Measurement is one run of a scenario on a server.
type Measurement struct {
	Server   string           `json:"server"`
	Scenario string           `json:"scenario"`
	Run      int              `json:"run"`
	Result   *scenario.Result `json:"result"`
}

// Failure is one that could not be measured.
type Failure struct {
	Server   string `json:"server"`
	Scenario string `json:"scenario"`
	Run      int    `json:"run"`
	Why      string `json:"why"`
}

// Row is one figure of all servers: the median of the runs. Ratios are the first
// server's to each other one's.
type Row struct {
	Scenario string             `json:"scenario"`
	Figure   string             `json:"figure"`
	Values   map[string]float64 `json:"values"`
	Ratios   map[string]float64 `json:"ratios"`
}

// figure is something that results have; ok is false where one has it not.
type figure struct {
	name string
	of   func(*scenario.Result) (value float64, ok bool)
}

var figures = []figure{
	{"CPU, µs per unit", func(r *scenario.Result) (float64, bool) {
		if r.CPU == nil || r.Scenario == "idle" {
			return 0, false
		}
		return r.CPU.MicrosPerUnit, true
	}},
	{"memory per connection, KB", func(r *scenario.Result) (float64, bool) {
		if r.Memory == nil || r.Scenario != "idle" {
			return 0, false
		}
		return r.Memory.PerConnection / 1024, true
	}},
	{"memory at the end, MB", func(r *scenario.Result) (float64, bool) {
		if r.Memory == nil || r.Scenario != "steady" {
			return 0, false
		}
		return float64(r.Memory.After) / (1 << 20), true
	}},
	{"memory at the end to that at the beginning", func(r *scenario.Result) (float64, bool) {
		if r.Memory == nil || r.Scenario != "steady" || r.Memory.Before == 0 {
			return 0, false
		}
		return float64(r.Memory.After) / float64(r.Memory.Before), true
	}},
	{"units a second", func(r *scenario.Result) (float64, bool) {
		return r.PerSecond, r.Scenario != "idle" && r.Scenario != "steady"
	}},
	{"latency p50, ms", func(r *scenario.Result) (float64, bool) {
		if r.Latency == nil || r.Scenario == "idle" {
			return 0, false
		}
		return r.Latency.P50 / 1000, true
	}},
	{"latency p99, ms", func(r *scenario.Result) (float64, bool) {
		if r.Latency == nil || r.Scenario == "idle" {
			return 0, false
		}
		return r.Latency.P99 / 1000, true
	}},
}

// summarize makes the rows.
func (r *Report) summarize() {
	r.Rows = nil
	var scenarios []string
	for _, m := range r.Measurements {
		if !slices.Contains(scenarios, m.Scenario) {
			scenarios = append(scenarios, m.Scenario)
		}
	}
	for _, name := range scenarios {
		for _, f := range figures {
			if row := r.row(name, f); len(row.Values) > 0 {
				r.Rows = append(r.Rows, row)
			}
		}
	}
}

func (r *Report) row(name string, f figure) Row {
	row := Row{Scenario: name, Figure: f.name, Values: make(map[string]float64), Ratios: make(map[string]float64)}
	for _, server := range r.Servers {
		var values []float64
		for _, m := range r.Measurements {
			if m.Server != server || m.Scenario != name || m.Result.Interrupted {
				continue
			}
			if value, ok := f.of(m.Result); ok {
				values = append(values, value)
			}
		}
		if len(values) > 0 {
			row.Values[server] = median(values)
		}
	}
	first, ok := row.Values[r.Servers[0]]
	for _, server := range r.Servers[1:] {
		if other := row.Values[server]; ok && other != 0 {
			row.Ratios[server] = first / other
		}
	}
	return row
}

// median is the middle one, or the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Faulty says what the first server did wrong; nil if nothing. What others do
// wrong is in the report.
func (r *Report) Faulty() error {
	var wrong []string
	for _, f := range r.Failures {
		if f.Server == r.Servers[0] {
			wrong = append(wrong, fmt.Sprintf("%s, run %d: %s", f.Scenario, f.Run, f.Why))
		}
	}
	for _, m := range r.Measurements {
		if m.Server == r.Servers[0] && m.Result.Faults.Any() {
			wrong = append(wrong, fmt.Sprintf("%s, run %d: %s", m.Scenario, m.Run, m.Result.Faults.String()))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%s failed:\n  %s", r.Servers[0], strings.Join(wrong, "\n  "))
}

// WriteJSON writes all that is known.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteText writes the table, and what is to be known about it.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d processors, Linux %s, %s\n", r.Machine.Processor, r.Machine.Processors, r.Machine.Kernel, r.Machine.Go)
	fmt.Fprintf(&b, "medians of %d runs", r.Runs)
	if r.Pinned {
		b.WriteString("; servers on one core, the load on another")
	}
	if r.Interrupted {
		b.WriteString("; interrupted")
	}
	b.WriteString("\n\n")
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	r.writeTable(table)
	if err := table.Flush(); err != nil {
		return err
	}
	r.writeRemarks(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeTable(w io.Writer) {
	fmt.Fprintf(w, "scenario\t\t%s", strings.Join(r.Servers, "\t"))
	for _, other := range r.Servers[1:] {
		fmt.Fprintf(w, "\t/ %s", other)
	}
	fmt.Fprintln(w)
	before := ""
	for _, row := range r.Rows {
		name := row.Scenario
		if name == before {
			name = ""
		}
		before = row.Scenario
		fmt.Fprintf(w, "%s\t%s", name, row.Figure)
		for _, server := range r.Servers {
			cell(w, row.Values, server, "%s")
		}
		for _, server := range r.Servers[1:] {
			cell(w, row.Ratios, server, "%s ×")
		}
		fmt.Fprintln(w)
	}
}

// cell writes a value with three digits.
func cell(w io.Writer, values map[string]float64, server, format string) {
	value, ok := values[server]
	if !ok {
		fmt.Fprint(w, "\t–")
		return
	}
	digits := 2
	if value >= 100 {
		digits = 0
	} else if value >= 10 {
		digits = 1
	}
	fmt.Fprintf(w, "\t"+format, fmt.Sprintf("%.*f", digits, value))
}

func (r *Report) writeRemarks(w io.Writer) {
	fmt.Fprintln(w)
	for _, why := range r.Missing {
		fmt.Fprintln(w, "not measured:", why)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(w, "failed: %s, %s, run %d: %s\n", f.Server, f.Scenario, f.Run, f.Why)
	}
	for _, m := range r.Measurements {
		if m.Result.Faults.Any() {
			fmt.Fprintf(w, "faults: %s, %s, run %d: %s\n", m.Server, m.Scenario, m.Run, m.Result.Faults.String())
		}
		for _, note := range m.Result.Notes {
			fmt.Fprintf(w, "note: %s, %s, run %d: %s\n", m.Server, m.Scenario, m.Run, note)
		}
	}
}
