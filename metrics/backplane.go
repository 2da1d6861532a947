package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"signalrd/backplane"
)

// Backplane collects what the way to other servers counts.
func Backplane(bus *backplane.Bus) prometheus.Collector {
	b := &bridge{bus: bus}
	b.read = b.collect
	b.define()
	return b
}

type bridge struct {
	reading
	bus *backplane.Bus

	up, channels, servers, roundTrip, spoolMessages, spoolBytes                       *family
	published, received, skipped, refused, dropped, duplicates, recovered, reconnects *family
}

func (b *bridge) define() {
	b.up = b.gauge("signalrd_backplane_up", "1 while everything goes through Redis, 0 while it does not.")
	b.channels = b.gauge("signalrd_backplane_channels", "Channels of Redis that this server hears.")
	b.servers = b.gauge("signalrd_backplane_servers", "Other signalrd servers that this one knows of.")
	b.roundTrip = b.gauge("signalrd_backplane_probe_round_trip_seconds", "How long the last probe took to come back through Redis, behind all that waited.")
	b.spoolMessages = b.gauge("signalrd_backplane_spool_messages", "Messages for other servers that wait for Redis.")
	b.spoolBytes = b.gauge("signalrd_backplane_spool_bytes", "Bytes of the messages that wait for Redis.")

	b.published = b.counter("signalrd_backplane_published_total", "Messages that Redis has taken, once for each channel.")
	b.received = b.counter("signalrd_backplane_received_total", "Messages from Redis that were handed on.")
	b.skipped = b.counter("signalrd_backplane_skipped_total", "Messages from Redis that could not be understood.")
	b.refused = b.counter("signalrd_backplane_refused_total", "Messages that Redis would not take.")
	b.dropped = b.counter("signalrd_backplane_dropped_total", "Messages lost to other servers: too much waited for Redis, or for too long.")
	b.duplicates = b.counter("signalrd_backplane_duplicates_total", "Messages of other servers that came again, and were dropped.")
	b.recovered = b.counter("signalrd_backplane_recovered_total", "Messages that came late, because a connection to Redis was lost.")
	b.reconnects = b.counter("signalrd_backplane_reconnects_total", "Times that Redis was lost.")
}

func (b *bridge) collect(o out) {
	stats := b.bus.Stats()
	o.yes(b.up, b.bus.Healthy() == nil)
	o.value(b.channels, float64(stats.Channels))
	o.value(b.servers, float64(stats.Servers))
	o.value(b.roundTrip, stats.ProbeRoundTrip.Seconds())
	o.value(b.spoolMessages, float64(stats.SpooledMessages))
	o.value(b.spoolBytes, float64(stats.SpooledBytes))
	o.count(b.published, stats.Published)
	o.count(b.received, stats.Received)
	o.count(b.skipped, stats.Skipped)
	o.count(b.refused, stats.Refused)
	o.count(b.dropped, stats.Dropped)
	o.count(b.duplicates, stats.Duplicates)
	o.count(b.recovered, stats.Recovered)
	o.count(b.reconnects, stats.Reconnects)
}
