package scenario

import (
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Result is what a run has measured.
type Result struct {
	Scenario    string   `json:"scenario"`
	URLs        []string `json:"urls"`
	Protocol    string   `json:"protocol"`
	Clients     int      `json:"clients"`   // connected
	TextBytes   int      `json:"textBytes"` // of each message
	Unit        string   `json:"unit"`      // of what is counted
	Units       int64    `json:"units"`
	Seconds     float64  `json:"seconds"`
	PerSecond   float64  `json:"perSecond"`
	CPU         *CPU     `json:"cpu,omitempty"`     // nil: no process to ask about
	Latency     *Latency `json:"latency,omitempty"` // nil: none was measured
	Memory      *Memory  `json:"memory,omitempty"`
	Faults      Faults   `json:"faults"`
	Interrupted bool     `json:"interrupted"`
	Notes       []string `json:"notes,omitempty"` // what to know before believing the figures
}

// CPU is processor time of the server's processes.
type CPU struct {
	Seconds       float64 `json:"seconds"`
	MicrosPerUnit float64 `json:"microsPerUnit"`
}

// Memory is what is resident of the server's processes, in bytes.
type Memory struct {
	Before        int64    `json:"before"`
	After         int64    `json:"after"`
	PerConnection float64  `json:"perConnection,omitempty"` // what those of the run have added
	Samples       []Sample `json:"samples,omitempty"`
}

// Sample is memory at a time of the run.
type Sample struct {
	Seconds  float64 `json:"seconds"`
	Resident int64   `json:"resident"`
}

var english = message.NewPrinter(language.English)

// WriteText writes the result for people.
func (r *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	english.Fprintf(&b, "%s at %s: %s, %d clients, texts of %d bytes\n", r.Scenario, strings.Join(r.URLs, " and "), r.Protocol, r.Clients, r.TextBytes)
	if r.Interrupted {
		fmt.Fprintln(&b, "  interrupted; up to then:")
	}
	english.Fprintf(&b, "  done      %d %s in %.1f s, %.0f a second\n", r.Units, plural(r.Unit), r.Seconds, r.PerSecond)
	if r.CPU != nil {
		english.Fprintf(&b, "  CPU       %.2f µs for each %s (server; %.1f s in all)\n", r.CPU.MicrosPerUnit, r.Unit, r.CPU.Seconds)
	}
	if l := r.Latency; l != nil {
		fmt.Fprintf(&b, "  latency   p50 %v  p90 %v  p99 %v  p99.9 %v  max %v\n", micros(l.P50), micros(l.P90), micros(l.P99), micros(l.P999), micros(l.Max))
	}
	if m := r.Memory; m != nil {
		english.Fprintf(&b, "  memory    %d KB resident before, %d KB after", m.Before>>10, m.After>>10)
		if m.PerConnection != 0 {
			english.Fprintf(&b, ": %.1f KB for each connection", m.PerConnection/1024)
		}
		b.WriteByte('\n')
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "  note      %s\n", note)
	}
	r.Faults.write(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func plural(unit string) string {
	if stem, isY := strings.CutSuffix(unit, "y"); isY {
		return stem + "ies"
	}
	if strings.HasSuffix(unit, "o") {
		return unit + "es"
	}
	return unit + "s"
}

func micros(n float64) time.Duration {
	return time.Duration(n * float64(time.Microsecond)).Round(time.Microsecond)
}

func (f *Faults) write(b *strings.Builder) {
	if !f.Any() {
		fmt.Fprintln(b, "  checked   everything arrived, once and in order")
		return
	}
	fmt.Fprintf(b, "  FAULTS    %s\n", f)
	for _, example := range f.Examples {
		fmt.Fprintf(b, "            %s\n", example)
	}
}

// String counts the faults.
func (f *Faults) String() string {
	var counts []string
	for _, count := range []struct {
		n    int64
		what string
	}{
		{f.Lost, "lost"}, {f.Doubled, "doubled"}, {f.OutOfOrder, "out of order"}, {f.Misdirected, "misdirected"},
		{f.Disconnected, "disconnected"}, {f.Stalled, "stalled"}, {f.SendsFailed, "not sent"},
	} {
		if count.n > 0 {
			counts = append(counts, english.Sprintf("%d %s", count.n, count.what))
		}
	}
	return strings.Join(counts, ", ")
}
