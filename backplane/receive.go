package backplane

import "time"

// receive takes one message from the bus. What cannot be understood is
// counted, logged without its content, and skipped.
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
		err = r.receiveResult(payload)
	case leftChannel:
		err = r.receiveForLeft(name, payload)
	}
	if err != nil {
		r.bus.counts.skipped.Add(1)
		r.bus.warn.log(r.logger, "payload skipped", "bytes", len(payload), "err", err)
	}
}

// hear takes what arrived on a channel.
func (b *Bus) hear(channel string, payload []byte) {
	s, kind, order := b.find(channel)
	if s == nil || kind.numbered() && !b.isNew(channel, payload, order) {
		return
	}
	b.counts.received.Add(1)
	s.receiver.receive(kind, s.name, payload)
}

// isNew says whether an invocation is to be delivered: has not been, nor is still to
// come in what another server will make up for.
func (b *Bus) isNew(channel string, payload []byte, order uint64) bool {
	st, stamped := readStamp(payload)
	sent, deliver := time.Time{}, true
	switch {
	case stamped && st.server == b.id:
		sent, deliver = b.spool.arrive(st.seq)
	case stamped:
		deliver = b.others.arrive(st, order)
	case len(payload) > 0 && payload[0] == unstampedHead:
		sent, deliver = b.spool.arrivePlain(channel, payload)
	}
	if deliver {
		b.noteSent(sent)
	}
	return deliver
}

// noteSent notes when this server has sent what is about to be delivered; zero: it has not.
func (b *Bus) noteSent(sent time.Time) {
	if !sent.IsZero() && (b.oldest.IsZero() || sent.Before(b.oldest)) {
		b.oldest = sent
	}
}

// deliver delivers an invocation to this server's connections. The next release has
// them write it.
func (b *Bus) deliver(channel string, payload []byte) {
	if s, kind, _ := b.find(channel); s != nil && kind.numbered() {
		s.receiver.receive(kind, s.name, payload)
	}
}

// deliverNow delivers an invocation, and has it written.
func (b *Bus) deliverNow(channel string, payload []byte) {
	b.deliver(channel, payload)
	b.release(time.Now())
}

// releaseReceived has everything written that has arrived: nothing else is there to be
// delivered just now.
func (b *Bus) releaseReceived() {
	b.release(b.oldest)
	b.oldest = time.Time{}
}

func (b *Bus) release(sent time.Time) {
	for _, hub := range *b.gathering.Load() {
		hub.release(sent)
	}
}

func (r *Redis) release(sent time.Time) {
	r.receiving.Lock()
	defer r.receiving.Unlock()
	r.gathering.release(sent)
}

// deliverAgain delivers what did not come, or may not have come, as it was published.
func (b *Bus) deliverAgain(entries []numbered) {
	b.counts.recovered.Add(uint64(len(entries)))
	for _, e := range entries {
		b.deliver(e.channel, e.payload)
	}
}

// receiveInvocation delivers to this server's connections, which begin to write with
// the next release. Exclusions count on the channels for all and for groups only
// (protocol §11.2).
func (r *Redis) receiveInvocation(to Target, payload []byte) error {
	r.receiving.Lock()
	defer r.receiving.Unlock()
	if err := r.receiveEnvelope(payload); err != nil {
		return err
	}
	switch {
	case to.kind == toConnections && r.received.wantsResult():
		return r.receiveAsk(to.names[0])
	case to.kind == toAll || to.kind == toGroups:
		to.except = r.received.excluded
	}
	r.logStrangers(r.local.gather(to, r.records, &r.gathering).strangers)
	return nil
}

// receiveEnvelope reads an invocation into r.received, and its records for the
// protocols spoken here into r.records.
func (r *Redis) receiveEnvelope(payload []byte) error {
	if err := decodeEnvelope(payload, &r.received); err != nil {
		return err
	}
	clear(r.records)
	for _, labelled := range r.received.records {
		if i := r.local.spoken(labelled.protocol); i >= 0 {
			r.records[i] = labelled.record
		}
	}
	return nil
}

func (r *Redis) logStrangers(n int) {
	if n > 0 {
		r.bus.warn.log(r.logger, "another server sent a message without the protocol of some clients", "clients", n)
	}
}

// receiveForLeft takes what came for a connection just after it left.
func (r *Redis) receiveForLeft(connectionID string, payload []byte) error {
	r.receiving.Lock()
	defer r.receiving.Unlock()
	if err := r.receiveEnvelope(payload); err != nil {
		return err
	}
	if r.received.wantsResult() {
		r.refuse(r.newForeigner(), errNoConnection(connectionID))
	}
	return nil
}
