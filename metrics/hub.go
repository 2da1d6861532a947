package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"signalrd/hubs"
	"signalrd/hubs/transport"
)

// Hub collects what a server of hubs counts.
func Hub(server *hubs.Server) prometheus.Collector {
	h := &hub{server: server}
	h.read = h.collect
	h.define()
	return h
}

type hub struct {
	reading
	server *hubs.Server

	active, duration, clients, connected, closed, handshakes, refused *family
	calls, callsRefused                                               *family
	messagesIn, bytesIn, messagesOut, bytesOut, perWrite              *family
	delivery, queue, largest                                          *family
	limits, pending                                                   *family
}

func (h *hub) define() {
	h.active = h.gauge("signalr_server_active_connections", "Connections now, handshake done or not.", "signalr_transport")
	h.duration = h.histogram(seconds, "signalr_server_connection_duration_seconds", "How long the connections lasted that have ended.", "signalr_connection_status", "signalr_transport")

	h.clients = h.gauge("signalrd_clients", "Clients now that have shaken hands.", "signalr_transport", "encoding")
	h.connected = h.counter("signalrd_clients_connected_total", "Clients that have shaken hands.", "signalr_transport", "encoding")
	h.closed = h.counter("signalrd_clients_closed_total", "Connections that have ended whose clients had shaken hands.", "reason")
	h.handshakes = h.counter("signalrd_handshakes_failed_total", "Connections that have ended before their clients had shaken hands.", "reason")
	h.refused = h.counter("signalrd_requests_refused_total", "HTTP requests for the hub that were answered with an error.", "status")

	h.calls = h.histogram(seconds, "signalrd_invocation_duration_seconds", "How long hub methods took that clients have invoked; streams until their end.", "method", "outcome")
	h.callsRefused = h.counter("signalrd_invocations_refused_total", "Invocations by clients that called no hub method.", "method", "reason")

	h.messagesIn = h.counter("signalrd_received_messages_total", "Hub messages of clients, pings included.")
	h.bytesIn = h.counter("signalrd_received_bytes_total", "Bytes of the hub messages of clients.")
	h.messagesOut = h.counter("signalrd_sent_messages_total", "Hub messages to clients, pings included.")
	h.bytesOut = h.counter("signalrd_sent_bytes_total", "Bytes of the hub messages to clients.")
	h.perWrite = h.histogram(one, "signalrd_messages_per_write", "Hub messages that were sent to a client together.")

	h.delivery = h.histogram(seconds, "signalrd_delivery_duration_seconds", "How long it took, for some of the messages, until the client's socket had them: from when this server sent them, or from when they came from another.", "origin")
	h.queue = h.histogram(one, "signalrd_queue_bytes", "Bytes that wait for a client: of all of them, once a second.")
	h.limits = h.counter("signalrd_limits_reached_total", "Times that clients wanted more than a limit lets them.", "limit")
	h.pending = h.gauge("signalrd_pending_connections", "Clients that have negotiated and not come yet.")
	h.largest = h.gauge("signalrd_queue_largest_bytes", "Bytes that wait for the client that most wait for.")
}

// transports are the values of OpenTelemetry's signalr.transport.
var transports = map[transport.Transports]string{
	transport.WebSockets:       "web_sockets",
	transport.ServerSentEvents: "server_sent_events",
	transport.LongPolling:      "long_polling",
}

// noMethod stands for all methods that there are not: clients can name what they
// like.
const noMethod = "_OTHER"

// Where the messages come from that signalrd_delivery_duration_seconds is about.
const (
	thisServer  = "this_server"
	otherServer = "other_server"
)

// usualRefusals are the statuses that are shown also if there were none.
var usualRefusals = []int{400, 401, 403, 404, 405, 409, 426, 429, 500, 503}

func (h *hub) collect(o out) {
	stats := h.server.Stats()
	for _, at := range stats.Transports {
		h.collectTransport(o, at)
	}
	for reason, n := range stats.Closed {
		o.count(h.closed, n, reason.String())
	}
	for reason, n := range stats.Handshakes {
		o.count(h.handshakes, n, reason.String())
	}
	for _, status := range usualRefusals {
		stats.Refused[status] += 0
	}
	for status, n := range stats.Refused {
		o.count(h.refused, n, strconv.Itoa(status))
	}
	o.count(h.callsRefused, stats.UnknownMethods, noMethod, "unknown_method")
	for _, method := range stats.Methods {
		h.collectMethod(o, method)
	}
	h.collectTraffic(o, &stats)
	h.collectLimits(o, &stats.Limits)
}

func (h *hub) collectLimits(o out, stats *transport.Stats) {
	for limit, n := range stats.Reached {
		o.count(h.limits, uint64(n), limit)
	}
	o.value(h.pending, float64(stats.Pending))
}

func (h *hub) collectTransport(o out, at hubs.TransportStats) {
	name := transports[at.Transport]
	o.value(h.active, float64(at.Active), name)
	for status, lasted := range at.Ended {
		if lasted.Total() > 0 {
			o.distribution(h.duration, lasted, status.String(), name)
		}
	}
	for _, p := range at.Protocols {
		o.value(h.clients, float64(p.Open), name, p.Name)
		o.count(h.connected, p.Connected, name, p.Name)
	}
}

// collectMethod leaves out what has not happened: of many methods most do not fail.
func (h *hub) collectMethod(o out, method hubs.MethodStats) {
	for outcome, took := range method.Took {
		if outcome == hubs.Completed || took.Total() > 0 {
			o.distribution(h.calls, took, method.Name, outcome.String())
		}
	}
	for reason, n := range method.Refused {
		if n > 0 {
			o.count(h.callsRefused, n, method.Name, reason.String())
		}
	}
}

func (h *hub) collectTraffic(o out, stats *hubs.Stats) {
	o.count(h.messagesIn, stats.RecordsReceived)
	o.count(h.bytesIn, stats.BytesReceived)
	o.count(h.messagesOut, uint64(stats.Writes.Sum))
	o.count(h.bytesOut, stats.BytesSent)
	o.distribution(h.perWrite, stats.Writes)
	o.distribution(h.delivery, stats.Deliveries, thisServer)
	o.distribution(h.delivery, stats.DeliveriesOfOthers, otherServer)
	o.distribution(h.queue, stats.Queued)
	o.value(h.largest, float64(stats.LargestQueue))
}
