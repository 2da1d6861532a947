package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"signalrd/notify"
)

// Notifications collects what the subscriber of notifications counts.
func Notifications(subscriber *notify.Subscriber) prometheus.Collector {
	n := &notifications{subscriber: subscriber}
	n.read = n.collect
	n.define()
	return n
}

type notifications struct {
	reading
	subscriber *notify.Subscriber

	subscribed, accepted, delivered, withoutReceiver, refused *family
}

func (n *notifications) define() {
	n.subscribed = n.gauge("signalrd_notifications_subscribed", "1 while notifications come from Redis, 0 while they do not.")
	n.accepted = n.counter("signalrd_notifications_accepted_total", "Notifications that were taken.")
	n.delivered = n.counter("signalrd_notifications_delivered_total", "Connections that received a notification, added up.")
	n.withoutReceiver = n.counter("signalrd_notifications_without_receiver_total", "Notifications that were taken, but for nobody connected to this server.")
	n.refused = n.counter("signalrd_notifications_refused_total", "Notifications that were not taken.", "reason")
}

func (n *notifications) collect(o out) {
	stats := n.subscriber.Stats()
	o.yes(n.subscribed, n.subscriber.Subscribed())
	o.count(n.accepted, stats.Accepted)
	o.count(n.delivered, stats.Delivered)
	o.count(n.withoutReceiver, stats.WithoutReceiver)
	for reason, count := range byReason(&stats.Refused) {
		o.count(n.refused, count, reason)
	}
}

func byReason(r *notify.Refused) map[string]uint64 {
	return map[string]uint64{
		"too_large":     r.TooLarge,
		"malformed":     r.Malformed,
		"not_an_object": r.NotAnObject,
		"not_a_string":  r.NotAString,
		"no_message":    r.NoMessage,
		"undeliverable": r.Undeliverable,
		"unsigned":      r.Unsigned,
		"incomplete":    r.Incomplete,
		"repeated":      r.Repeated,
		"unknown_key":   r.UnknownKey,
		"bad_signature": r.BadSignature,
		"too_old":       r.TooOld,
		"too_new":       r.TooNew,
		"replayed":      r.Replayed,
	}
}
