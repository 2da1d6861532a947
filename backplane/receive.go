package backplane

import (
	"slices"

	"github.com/go-kit/log/level"

	"signalrd/hubs/protocol"
)

// receive takes one message from the bus. What cannot be understood is
// logged, without its content, and skipped.
func (r *Redis) receive(kind channelKind, name string, payload []byte) {
	var err error
	switch kind {
	case allChannel:
		err = r.receiveInvocation(Target{kind: toAll}, payload)
	case groupChannel:
		err = r.receiveInvocation(Target{kind: toGroups, names: []string{name}}, payload)
	case userChannel:
		err = r.receiveInvocation(Target{kind: toUsers, names: []string{name}}, payload)
	case connectionChannel:
		err = r.receiveInvocation(Target{kind: toConnections, names: []string{name}}, payload)
	case groupsChannel:
		err = r.receiveCommand(payload)
	case ackChannel:
		err = r.receiveAck(payload)
	case returnChannel:
		// Nobody here asked a client of another server for a result: it is late.
	}
	if err != nil {
		level.Warn(r.logger).Log("msg", "payload skipped", "bytes", len(payload), "err", err)
	}
}

// receiveInvocation delivers to this server's connections. Exclusions count on
// the channels for all and for groups only (protocol §11.2).
func (r *Redis) receiveInvocation(to Target, payload []byte) error {
	if err := decodeEnvelope(payload, &r.received); err != nil {
		return err
	}
	clear(r.records)
	for _, labelled := range r.received.records {
		i := slices.IndexFunc(r.local.protocols, func(p protocol.Protocol) bool { return p.Name() == labelled.protocol })
		if i >= 0 {
			r.records[i] = labelled.record
		}
	}
	if to.kind == toAll || to.kind == toGroups {
		to.except = r.received.excluded
	}
	if d := r.local.deliver(to, r.records); d.strangers > 0 {
		level.Warn(r.logger).Log("msg", "another server sent a message without the protocol of some clients",
			"clients", d.strangers)
	}
	return nil
}
