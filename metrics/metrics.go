// Package metrics shows Prometheus what a hub, the backplane and the notifications count:
//
//	registry := prometheus.NewRegistry()
//	registry.MustRegister(metrics.Hub(server), metrics.Backplane(bus), metrics.Notifications(subscriber))
//	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
//
// The counts are those of their Stats, read when somebody asks; nothing is counted here,
// so that nobody who serves a message knows of Prometheus. docs/metrics.md says what
// each of them means. Names and labels of what OpenTelemetry's conventions for SignalR
// know are theirs.
//
// The values of every label are few: names of methods that the hub has, transports,
// encodings, and fixed sets of reasons.
//
// Programs with several hubs register each with a label of its own, by
// prometheus.WrapRegistererWith.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"signalrd/internal/tally"
)

// reading is a collector that reads everything anew for each scrape. It is safe for
// concurrent use.
type reading struct {
	families []*family
	read     func(out)
}

// Describe implements prometheus.Collector.
func (r *reading) Describe(to chan<- *prometheus.Desc) {
	for _, f := range r.families {
		to <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (r *reading) Collect(to chan<- prometheus.Metric) { r.read(out{to}) }

// family is a metric, with the values of its labels to come.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	unit float64 // of a distribution: what its values are divided by
}

// add defines a metric.
func (r *reading) add(kind prometheus.ValueType, name, help string, labels ...string) *family {
	f := &family{desc: prometheus.NewDesc(name, help, labels, nil), kind: kind}
	r.families = append(r.families, f)
	return f
}

func (r *reading) counter(name, help string, labels ...string) *family {
	return r.add(prometheus.CounterValue, name, help, labels...)
}

func (r *reading) gauge(name, help string, labels ...string) *family {
	return r.add(prometheus.GaugeValue, name, help, labels...)
}

// histogram defines one whose values are counted in parts of the metric's unit.
func (r *reading) histogram(unit float64, name, help string, labels ...string) *family {
	f := r.add(prometheus.UntypedValue, name, help, labels...)
	f.unit = unit
	return f
}

// The units of distributions.
const (
	seconds = float64(time.Second)
	one     = 1.0
)

// out takes values.
type out struct{ to chan<- prometheus.Metric }

func (o out) value(f *family, value float64, labels ...string) {
	o.to <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
}

func (o out) count(f *family, n uint64, labels ...string) { o.value(f, float64(n), labels...) }

func (o out) yes(f *family, yes bool, labels ...string) {
	value := 0.0
	if yes {
		value = 1
	}
	o.value(f, value, labels...)
}

func (o out) distribution(f *family, d tally.Distribution, labels ...string) {
	buckets := make(map[float64]uint64, len(d.Bounds))
	var below uint64
	for i, bound := range d.Bounds {
		below += d.Counts[i]
		buckets[float64(bound)/f.unit] = below
	}
	o.to <- prometheus.MustNewConstHistogram(f.desc, d.Total(), float64(d.Sum)/f.unit, buckets, labels...)
}
